"""Decisions: every one made is kept; at most one holds per subject, placement and channel."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from serving.store.database import Store
from serving.store.schema import decision_outcomes, decisions, held_decisions


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
        return {str(offer): int(count) for offer, count in connection.execute(wanted.group_by(decisions.c.offer_id))}


@dataclass(frozen=True)
class OutcomeRow:
    """What followed a decision; ``revenue`` in the shop's currency."""

    decision_id: str
    kind: str
    occurred_at: datetime
    revenue: float | None


def add_outcome(store: Store, row: OutcomeRow) -> bool:
    """Whether the decision exists; the same outcome (kind and moment) is kept once."""
    dialect = sqlite if store.is_sqlite else postgresql
    added = dialect.insert(decision_outcomes).values(row.__dict__).on_conflict_do_nothing()
    with store.writing() as connection:
        if (
            connection.execute(
                select(decisions.c.decision_id).where(decisions.c.decision_id == row.decision_id)
            ).first()
            is None
        ):
            return False
        connection.execute(added)
    return True


def outcomes_of(store: Store, decision_id: str) -> list[OutcomeRow]:
    """What followed a decision, oldest first."""
    wanted = select(decision_outcomes).where(decision_outcomes.c.decision_id == decision_id)
    with store.reading() as connection:
        return [OutcomeRow(*row) for row in connection.execute(wanted.order_by(decision_outcomes.c.occurred_at))]
