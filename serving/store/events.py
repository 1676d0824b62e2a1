"""Rows of the tables ``events`` and ``identities``."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    CompoundSelect,
    Connection,
    Row,
    Select,
    and_,
    bindparam,
    delete,
    desc,
    func,
    insert,
    not_,
    or_,
    select,
    true,
    type_coerce,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ColumnElement

from serving.store.database import Store
from serving.store.prepared import Asked, Found, Prepared, rows_inside, rows_of_each
from serving.store.recordset import insert_from_recordset, recordset
from serving.store.schema import events, identities, nameless, state, with_products

COMPACTED = "compacted_events"
JOINED_WITHIN = timedelta(days=30)
AT_ONCE = 2_500
NUMBERING = "numbering"  # in a connection's notes: the transaction that holds the lock
ONE_AT_A_TIME = 7_201_944  # of PostgreSQL's advisory locks: the one under which events are numbered


# microseconds since 1970, and the products with what was done, as in the column ``touched``
Touched = Sequence[tuple[int, str]]


@dataclass(frozen=True)
class EventRow:
    """One event on its way into the store; see the table ``events``."""

    origin: str
    message_id: str
    received_at: datetime
    occurred_at: datetime
    name: str
    customer_id: str | None
    anonymous_id: str | None
    session_id: str | None
    touched: str | None
    body: str


@dataclass(frozen=True)
class Covered:
    """Which events a generation holds: received before its moment, and in the lake when it was published."""

    as_of: datetime
    seq: int


def add_events(connection: Connection, rows: Sequence[EventRow]) -> list[bool]:
    """For each row whether it is new; one whose message_id came before, from the same origin, is left out.

    Inside a transaction. Numbers are given in the order of commits, so that whoever reads up to a number misses nothing.
    """
    write = _written_at_once if connection.dialect.name == "postgresql" else _written_one_by_one
    added = [new for start in range(0, len(rows), AT_ONCE) for new in write(connection, rows[start : start + AT_ONCE])]
    _identify(connection, [row for row, is_new in zip(rows, added, strict=True) if is_new])
    return added


def _written_at_once(connection: Connection, rows: Sequence[EventRow]) -> list[bool]:
    *_, found = rows_inside(connection, *_numbering(connection), (_ALL, recordset(events, _COLUMNS, rows)))
    fresh = set(found)
    added = []
    for row in rows:
        added.append((row.origin, row.message_id) in fresh)
        fresh.discard((row.origin, row.message_id))
    return added


def _written_one_by_one(connection: Connection, rows: Sequence[EventRow]) -> list[bool]:
    one, driver = _ONE.for_driver(connection.dialect), connection.connection.driver_connection
    assert driver is not None
    return [driver.execute(one.text, one.parameters(row.__dict__)).rowcount == 1 for row in rows]


_COLUMNS = tuple(field.name for field in fields(EventRow))
_ALL = Prepared(
    insert_from_recordset(events, _COLUMNS).on_conflict_do_nothing().returning(events.c.origin, events.c.message_id)
)
_ONE = Prepared(sqlite.insert(events).values({name: bindparam(name) for name in _COLUMNS}).on_conflict_do_nothing())


def one_at_a_time(connection: Connection) -> None:
    """In PostgreSQL wait, once in a transaction, until nobody else numbers rows; SQLite has one writer anyway."""
    if asked := _numbering(connection):
        rows_inside(connection, *asked)


def _numbering(connection: Connection) -> list[Asked]:
    """What ``one_at_a_time`` has to ask, which is then taken for asked."""
    if connection.dialect.name != "postgresql" or connection.info.get(NUMBERING) is connection.get_transaction():
        return []
    connection.info[NUMBERING] = connection.get_transaction()
    return [(_LOCK, {"lock": ONE_AT_A_TIME})]


_LOCK = Prepared(select(func.pg_advisory_xact_lock(bindparam("lock", type_=BigInteger))))


def _identify(connection: Connection, rows: Sequence[EventRow]) -> None:
    """Keep whom each anonymous_id turned out to be, where that is not known yet."""
    found = [
        {key: getattr(row, column) for key, column in _IDENTITY.items()}
        for row in rows
        if row.customer_id is not None and row.anonymous_id is not None
    ]
    if not found:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    connection.execute(dialect.insert(identities).on_conflict_do_nothing(), found)


_IDENTITY = {"anonymous_id": "anonymous_id", "customer_id": "customer_id", "identified_at": "occurred_at"}


# as numbers, since most are read only to see that they are the same as before
_MICROSECONDS = type_coerce(events.c.occurred_at, BigInteger).label("occurred_at")
_TOUCHED = select(events.c.seq, _MICROSECONDS, events.c.touched).where(with_products)
_NEAR = func.abs(
    type_coerce(events.c.occurred_at, BigInteger) - type_coerce(identities.c.identified_at, BigInteger)
) <= JOINED_WITHIN // timedelta(microseconds=1)
# SQLite, which knows nothing of its tables, may else take an index of all that somebody did.
_INDEX = "INDEXED BY touched_by_{}"
_OWN = _TOUCHED.where(events.c.customer_id == bindparam("customer_id")).with_hint(
    events, _INDEX.format("customer"), "sqlite"
)
_JOINED = (
    _TOUCHED.join(identities, identities.c.anonymous_id == events.c.anonymous_id)
    .where(identities.c.customer_id == bindparam("customer_id"), nameless, _NEAR)
    .with_hint(events, _INDEX.format("visitor"), "sqlite")
)
_NEWEST = _TOUCHED.where(nameless).order_by(events.c.seq.desc()).limit(bindparam("newest"))
_BY_VISITOR, _BY_SESSION = (
    Prepared(_NEWEST.where(column == bindparam("visitor")).with_hint(events, _INDEX.format(name), "sqlite"))
    for column, name in ((events.c.anonymous_id, "visitor"), (events.c.session_id, "session"))
)


def by_customer(customer_id: str, *, covered: Covered, limit: int) -> Asked:
    """What finds the newest events with products of a customer, and of the visitors who turned out to be them, newest first;
    without those that a generation holds, ``covered``. To be read by ``touched_in``."""
    told = {"customer_id": customer_id, "held_seq": covered.seq, "held_before": covered.as_of, "newest": limit}
    return _OF_CUSTOMER, told


def by_visitor(*, anonymous_id: str | None, session_id: str | None, limit: int) -> Asked:
    """The same of a visitor without a name, by anonymous_id, else by session; never what a named customer did."""
    query = _BY_VISITOR if anonymous_id else _BY_SESSION
    return query, {"visitor": anonymous_id or session_id, "newest": limit}


def touched_in(found: Found) -> Touched:
    """What was touched by each event that was found."""
    return [(occurred_at, touched) for _, occurred_at, touched in found]


def touched_by_customer(store: Store, customer_id: str, *, covered: Covered, limit: int) -> Touched:
    """What ``by_customer`` finds."""
    return touched_in(rows_of_each(store, by_customer(customer_id, covered=covered, limit=limit))[0])


def touched_by_visitor(store: Store, *, anonymous_id: str | None, session_id: str | None, limit: int) -> Touched:
    """What ``by_visitor`` finds."""
    asked = by_visitor(anonymous_id=anonymous_id, session_id=session_id, limit=limit)
    return touched_in(rows_of_each(store, asked)[0])


def held_by(covered: Covered) -> ColumnElement[bool]:
    """The condition of events that a generation holds."""
    at = covered.as_of
    return and_(events.c.seq <= covered.seq, events.c.received_at < at, events.c.occurred_at < at)


def _not_held() -> ColumnElement[bool]:
    before = bindparam("held_before", type_=events.c.received_at.type)
    return not_(
        and_(events.c.seq <= bindparam("held_seq"), events.c.received_at < before, events.c.occurred_at < before)
    )


def _newest_of(*parts: Select[Any]) -> CompoundSelect[Any]:
    return union_all(*parts).order_by(desc("seq")).limit(bindparam("newest"))


def _of_each_visitor() -> Select[Any]:
    """``_JOINED`` visitor by visitor: PostgreSQL may else look through all nameless events, as long as it takes them for few."""
    theirs = _NEWEST.where(events.c.anonymous_id == identities.c.anonymous_id, _NEAR, _not_held())
    found = theirs.correlate(identities).lateral("theirs")
    whole = select(found.c.seq, found.c.occurred_at, found.c.touched).select_from(identities.join(found, true()))
    return whole.where(identities.c.customer_id == bindparam("customer_id"))


_OF_CUSTOMER = Prepared(
    _newest_of(_OWN.where(_not_held()), _JOINED.where(_not_held())),
    postgresql=_newest_of(_OWN.where(_not_held()), _of_each_visitor()),
)


def compacted(store: Store, name: str = COMPACTED) -> int:
    """The number up to which rows are in the lake."""
    with store.reading() as connection:
        value = connection.execute(select(state.c.value).where(state.c.name == name)).scalar()
    return int(value or 0)


def waiting_for_the_lake(store: Store) -> tuple[int, datetime | None]:
    """How many events are not in the lake yet, and when the oldest of them was received."""
    behind = events.c.seq > compacted(store)
    with store.reading() as connection:
        row = connection.execute(select(func.count(), func.min(events.c.received_at)).where(behind)).one()
    return int(row[0]), row[1]


def set_compacted(store: Store, seq: int, name: str = COMPACTED) -> None:
    with store.writing() as connection:
        connection.execute(delete(state).where(state.c.name == name))
        connection.execute(insert(state).values(name=name, value=str(seq)))


def events_after(store: Store, seq: int, *, limit: int) -> list[Row[Any]]:
    """The next events behind ``seq``, by number."""
    wanted = select(events).where(events.c.seq > seq).order_by(events.c.seq).limit(limit)
    with store.reading() as connection:
        return list(connection.execute(wanted).all())


def remove_held(store: Store, covered: Covered, *, visitors_before: datetime) -> int:
    """Remove the events that a generation holds; those of visitors without a name only from before a moment."""
    named = or_(events.c.customer_id.is_not(None), events.c.received_at < visitors_before)
    with store.writing() as connection:
        return connection.execute(delete(events).where(held_by(covered), named)).rowcount
