"""Decisions: every one made is kept; at most one holds per subject, placement and channel."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from serving.store.database import Store
from serving.store.schema import decisions, held_decisions


@dataclass(frozen=True)
class DecisionRow:
    """One decision as it is kept; ``answer`` is the JSON body that was given."""

    decision_id: str
    subject: str
    placement: str
    channel: str
    offer_id: str | None
    answer: str
    created_at: datetime
    expires_at: datetime
    propensity: float


def held_answer(store: Store, *, subject: str, placement: str, channel: str, at: datetime) -> str | None:
    """The answer of the decision that holds at ``at``, or None."""
    held = held_decisions
    wanted = (
        select(decisions.c.answer)
        .join(held, held.c.decision_id == decisions.c.decision_id)
        .where(held.c.subject == subject, held.c.placement == placement, held.c.channel == channel)
        .where(held.c.expires_at > at)
    )
    with store.reading() as connection:
        return connection.execute(wanted).scalar()


def hold(store: Store, made: DecisionRow) -> bool:
    """Whether ``made`` holds from now on; False where another one does already, and then nothing is kept of ``made``."""
    dialect = sqlite if store.is_sqlite else postgresql
    taken = dialect.insert(held_decisions).values(
        subject=made.subject,
        placement=made.placement,
        channel=made.channel,
        decision_id=made.decision_id,
        expires_at=made.expires_at,
    )
    taken = taken.on_conflict_do_update(
        index_elements=["subject", "placement", "channel"],
        set_={"decision_id": taken.excluded.decision_id, "expires_at": taken.excluded.expires_at},
        where=held_decisions.c.expires_at <= made.created_at,
    )
    with store.writing() as connection:
        if connection.execute(taken.returning(held_decisions.c.decision_id)).first() is None:
            return False
        connection.execute(insert(decisions), made.__dict__)
    return True


def offers_made(store: Store, *, subject: str | None = None) -> Mapping[str, int]:
    """How often each offer was made, to ``subject`` or to everybody."""
    wanted = select(decisions.c.offer_id, func.count()).where(decisions.c.offer_id.is_not(None))
    if subject is not None:
        wanted = wanted.where(decisions.c.subject == subject)
    with store.reading() as connection:
        return {
            str(offer): int(count)
            for offer, count in connection.execute(wanted.group_by(decisions.c.offer_id))
        }
