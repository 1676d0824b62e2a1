"""Decisions: every one made is kept; at most one holds per subject, placement and channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from serving.store.database import Store
from serving.store.schema import decision_outcomes, decisions, held_decisions, offer_counts


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


@dataclass(frozen=True)
class Limits:
    """How often the offer of a decision may be made, to everybody and to its subject; None: as often as wanted."""

    in_all: int | None = None
    per_subject: int | None = None


@dataclass(frozen=True)
class Before:
    """What was decided before: ``to_one``: the subject's offers (offer_id, channel, created_at), oldest first.

    ``to_all``: how often each offer was made to anybody. ``holds``: the offer that the subject holds now, anywhere.
    """

    to_one: Sequence[tuple[str, str, datetime]]
    to_all: Mapping[str, int]
    holds: str | None


def hold(store: Store, made: DecisionRow, *, limits: Limits | None = None) -> bool:
    """Whether ``made`` holds from now on; else nothing is kept of it.

    It does not where another decision holds there, where the subject holds an offer elsewhere and this would be a second,
    or where its offer was made as often as ``limits`` allow.
    """
    with store.writing() as connection:
        _alone(connection, store, made)
        if made.offer_id is not None and not _allowed(connection, made, limits or Limits()):
            return False
        dialect = sqlite if store.is_sqlite else postgresql
        taken = dialect.insert(held_decisions).values(
            subject=made.subject,
            placement=made.placement,
            channel=made.channel,
            decision_id=made.decision_id,
            offer_id=made.offer_id,
            expires_at=made.expires_at,
        )
        taken = taken.on_conflict_do_update(
            index_elements=["subject", "placement", "channel"],
            set_={name: taken.excluded[name] for name in ("decision_id", "offer_id", "expires_at")},
            where=held_decisions.c.expires_at <= made.created_at,
        )
        if connection.execute(taken.returning(held_decisions.c.decision_id)).first() is None:
            return False
        connection.execute(insert(decisions), made.__dict__)
        if made.offer_id is not None:
            once = dialect.insert(offer_counts).values(offer_id=made.offer_id, made=1)
            once = once.on_conflict_do_update(index_elements=["offer_id"], set_={"made": offer_counts.c.made + 1})
            connection.execute(once)
    return True


def _alone(connection: Connection, store: Store, made: DecisionRow) -> None:
    """Wait until nobody else decides on this subject or this offer; SQLite has one writer anyway."""
    if store.is_sqlite:
        return
    for name in (f"subject:{made.subject}", *([f"offer:{made.offer_id}"] if made.offer_id is not None else [])):
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))


def _allowed(connection: Connection, made: DecisionRow, limits: Limits) -> bool:
    held = held_decisions
    elsewhere = select(held.c.offer_id).where(
        held.c.subject == made.subject, held.c.offer_id.is_not(None), held.c.expires_at > made.created_at
    )
    if connection.execute(elsewhere).first() is not None:
        return False
    if limits.per_subject is not None:
        mine = select(func.count()).where(decisions.c.subject == made.subject, decisions.c.offer_id == made.offer_id)
        if connection.execute(mine).scalar_one() >= limits.per_subject:
            return False
    if limits.in_all is not None:
        all_made = select(offer_counts.c.made).where(offer_counts.c.offer_id == made.offer_id)
        return (connection.execute(all_made).scalar() or 0) < limits.in_all
    return True


def made_before(store: Store, *, subject: str, at: datetime) -> Before:
    """What was decided before ``at`` that limits what may be decided now."""
    mine = select(decisions.c.offer_id, decisions.c.channel, decisions.c.created_at)
    mine = mine.where(decisions.c.subject == subject, decisions.c.offer_id.is_not(None))
    held = held_decisions
    holding = select(held.c.offer_id).where(
        held.c.subject == subject, held.c.offer_id.is_not(None), held.c.expires_at > at
    )
    with store.reading() as connection:
        to_one = connection.execute(mine.order_by(decisions.c.created_at)).all()
        to_all = connection.execute(select(offer_counts.c.offer_id, offer_counts.c.made)).all()
        holds = connection.execute(holding).scalar()
    return Before([(row[0], row[1], row[2]) for row in to_one], {row[0]: int(row[1]) for row in to_all}, holds)


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
