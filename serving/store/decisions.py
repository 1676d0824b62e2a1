"""Decisions: every one made is kept; at most one holds per subject, placement and channel."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Integer,
    Row,
    Table,
    Text,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite

from serving.store.database import Store
from serving.store.prepared import Asked, Prepared, rows_of_each, written_at_once
from serving.store.schema import decision_outcomes, decisions, held_decisions, offer_counts

Place = tuple[Any, ...]


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


@dataclass(frozen=True)
class Limits:
    """How often the offer of a decision may be made, to everybody and to its subject; None: as often as wanted."""

    in_all: int | None = None
    per_subject: int | None = None


@dataclass(frozen=True)
class Before:
    """What was decided before. ``answer``: of the decision that holds where it is asked, else None.

    ``to_one``: the subject's offers (offer_id, channel, created_at), oldest first. ``to_all``: how often each offer was
    made to anybody. ``holds``: the offer that the subject holds now, anywhere. These are told only where no answer holds.
    """

    answer: str | None
    to_one: Sequence[tuple[str, str, datetime]] = ()
    to_all: Mapping[str, int] = field(default_factory=dict)
    holds: str | None = None


def hold(store: Store, made: DecisionRow, *, limits: Limits | None = None) -> bool:
    """Whether ``made`` holds from now on; else nothing is kept of it.

    It does not where another decision holds there, where the subject holds an offer elsewhere and this would be a second,
    or where its offer was made as often as ``limits`` allow. Nobody waits for the disk: see ``Store.driver_unsynced``.
    """
    limits = limits or Limits()
    told = made.__dict__ | {"at": made.created_at, "most_in_all": limits.in_all, "most_of_subject": limits.per_subject}
    keep = _KEEP["sqlite" if store.is_sqlite else "postgresql"]
    held = [keep.held, _KEPT] if made.offer_id is None else [keep.held_offer, _KEPT, keep.count]
    before = _alone(store, made)
    rows = written_at_once(store, *before, *((statement, told) for statement in held))
    return bool(rows[len(before)])


def _alone(store: Store, made: DecisionRow) -> list[Asked]:
    """What waits until nobody else decides on this subject or this offer; SQLite has one writer anyway."""
    if store.is_sqlite:
        return []
    names = [f"subject:{made.subject}", *([f"offer:{made.offer_id}"] if made.offer_id is not None else [])]
    return [(_LOCKS[len(names)], {f"name{place}": name for place, name in enumerate(names)})]


def _lock(place: int) -> Any:
    return func.pg_advisory_xact_lock(func.hashtextextended(bindparam(f"name{place}", type_=Text), 0))


_LOCKS = {count: Prepared(select(*map(_lock, range(count)))) for count in (1, 2)}  # taken in this order, by everybody
_MINE = Prepared(
    select(decisions.c.offer_id, decisions.c.channel, decisions.c.created_at)
    .where(decisions.c.subject == bindparam("subject"), decisions.c.offer_id.is_not(None))
    .order_by(decisions.c.created_at)
)
_COUNTS = Prepared(select(offer_counts.c.offer_id, offer_counts.c.made))
_AT = bindparam("at", type_=held_decisions.c.expires_at.type)
_HERE = (held_decisions.c.placement == bindparam("placement")) & (held_decisions.c.channel == bindparam("channel"))
_OF_SUBJECT = held_decisions.c.subject == bindparam("subject")
_HELD_OFFER = select(held_decisions.c.offer_id).where(
    _OF_SUBJECT,
    held_decisions.c.offer_id.is_not(None),
    held_decisions.c.expires_at > _AT,
)
_HELD = Prepared(
    select(held_decisions.c.offer_id, decisions.c.answer)
    .outerjoin(decisions, (decisions.c.decision_id == held_decisions.c.decision_id) & _HERE)
    .where(_OF_SUBJECT, held_decisions.c.expires_at > _AT)
)
_TIMES_MADE = select(func.count()).where(
    decisions.c.subject == bindparam("subject"), decisions.c.offer_id == bindparam("offer_id")
)
_TIMES_IN_ALL = select(offer_counts.c.made).where(offer_counts.c.offer_id == bindparam("offer_id"))


def _below(counted: ColumnElement[Any], most: str) -> ColumnElement[bool]:
    """Whether what was counted is below a limit, where there is one."""
    limit = bindparam(most, type_=Integer)
    return limit.is_(None) | (counted < limit)


_ALLOWED = (
    ~_HELD_OFFER.exists()
    & _below(_TIMES_MADE.scalar_subquery(), "most_of_subject")
    & _below(func.coalesce(_TIMES_IN_ALL.scalar_subquery(), 0), "most_in_all")
)
_HOLDS = exists().where(held_decisions.c.decision_id == bindparam("decision_id"), _HERE, _OF_SUBJECT)


def _given(table: Table) -> list[BindParameter[Any]]:
    """A parameter for each column of ``table``, of its name and type."""
    return [bindparam(column.name, type_=column.type) for column in table.c]


_KEPT = Prepared(insert(decisions).from_select(list(decisions.c), select(*_given(decisions)).where(_HOLDS)))


@dataclass(frozen=True)
class _Keep:
    """What each database says in its own way. ``held``: gives no row where another decision holds; ``held_offer``: nor where
    the offer of a decision is not allowed; ``count``: only where the decision holds.
    """

    held: Prepared
    held_offer: Prepared
    count: Prepared


def _keep(dialect: Any) -> _Keep:
    def held(where: ColumnElement[bool]) -> Prepared:
        made = dialect.insert(held_decisions)
        made = made.from_select(list(held_decisions.c), select(*_given(held_decisions)).where(where))
        made = made.on_conflict_do_update(
            index_elements=list(held_decisions.primary_key),
            set_={name: made.excluded[name] for name in ("decision_id", "offer_id", "expires_at")},
            where=held_decisions.c.expires_at <= _AT,
        )
        return Prepared(made.returning(held_decisions.c.decision_id))

    one = select(bindparam("offer_id", type_=offer_counts.c.offer_id.type), literal(1)).where(_HOLDS)
    count = dialect.insert(offer_counts).from_select(list(offer_counts.c), one)
    count = count.on_conflict_do_update(index_elements=["offer_id"], set_={"made": offer_counts.c.made + 1})
    return _Keep(held(true()), held(_ALLOWED), Prepared(count))


_KEEP = {"sqlite": _keep(sqlite), "postgresql": _keep(postgresql)}


def decided_before(store: Store, *, subject: str, placement: str, channel: str, at: datetime) -> Before:
    """What was decided before ``at`` that answers, or limits what may be decided now."""
    where = {"subject": subject, "placement": placement, "channel": channel, "at": at}
    held, mine, counts = rows_of_each(store, (_HELD, where), (_MINE, {"subject": subject}), (_COUNTS, {}))
    answer = next((answer for _, answer in held if answer is not None), None)
    if answer is not None:
        return Before(answer)
    holds = next((offer_id for offer_id, _ in held if offer_id is not None), None)
    return Before(None, [(row[0], row[1], row[2]) for row in mine], dict(map(tuple, counts)), holds)


def offers_made(store: Store) -> dict[str, int]:
    """How often each offer was made to anybody."""
    return dict(map(tuple, _COUNTS.rows(store)))


@dataclass(frozen=True)
class OutcomeRow:
    """What followed a decision; ``revenue`` in the shop's currency."""

    decision_id: str
    kind: str
    occurred_at: datetime
    revenue: float | None
    received_at: datetime


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


def drawn_after(store: Store, place: Place, *, limit: int) -> list[Row[Any]]:
    """The next decisions about customers that could have come out otherwise, behind ``place`` (created_at, decision_id)."""
    order = (decisions.c.created_at, decisions.c.decision_id)
    wanted = select(decisions).where(_behind(order, place), *_DRAWN).order_by(*order)
    with store.reading() as connection:
        return list(connection.execute(wanted.limit(limit)).all())


def followed_after(store: Store, place: Place, *, limit: int) -> list[Row[Any]]:
    """What followed such decisions, the first told first, behind ``place`` (received_at, decision_id, kind, occurred_at)."""
    order = tuple(decision_outcomes.c[name] for name in ("received_at", "decision_id", "kind", "occurred_at"))
    wanted = select(decision_outcomes).join(decisions, decisions.c.decision_id == decision_outcomes.c.decision_id)
    wanted = wanted.where(_behind(order, place), *_DRAWN).order_by(*order)
    with store.reading() as connection:
        return list(connection.execute(wanted.limit(limit)).all())


def _behind(order: Sequence[ColumnElement[Any]], place: Place) -> ColumnElement[bool]:
    """Rows that come later than ``place`` in an order by several columns; a place of fewer values: from it on."""
    told = list(zip(order, place, strict=False))
    later = [
        and_(*(column == value for column, value in told[:at]), told[at][0] > told[at][1]) for at in range(len(told))
    ]
    from_there = [] if len(told) == len(order) else [and_(*(column == value for column, value in told))]
    return or_(*later, *from_there)


_DRAWN = (decisions.c.propensity < 1, decisions.c.subject.not_like("anonymous:%"))
