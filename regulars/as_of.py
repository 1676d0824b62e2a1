"""What was known at a moment, as an expression that runs on every engine.

A stored row carries ``received_at`` (when it became known) and ``import_order``. Two columns are derived from them once
and make every later look at the past a plain filter:

- ``known_from``: the later of the row's own time and ``received_at``; null means always
- ``superseded_at``: the first moment at which another version of the same key is known that wins over this one

A row is known at T when ``known_from < T`` and not ``superseded_at < T``.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

import ibis

from regulars.tables import TABLES, Table

RECEIVED = "received_at"
ORDER = "import_order"
KNOWN = "known_from"
SUPERSEDED = "superseded_at"
ALWAYS = datetime(1, 1, 1)  # the lake's times are UTC without zone

Tables = Mapping[str, ibis.Table]


def moment(as_of: datetime) -> datetime:
    """``as_of`` as the lake writes times: UTC, without zone.

    Raises:
        ValueError: where ``as_of`` has no time zone.

    >>> from datetime import datetime, timezone, timedelta
    >>> moment(datetime(2024, 3, 1, 1, tzinfo=timezone(timedelta(hours=1))))
    datetime.datetime(2024, 3, 1, 0, 0)
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of must name its time zone, got {as_of.isoformat()}")
    return as_of.astimezone(UTC).replace(tzinfo=None)


def own_time(rows: ibis.Table, table: Table) -> ibis.expr.types.TimestampValue:
    """The time of each row itself: the earliest of its time columns, null where it has none."""
    times = [rows[name] for name in table.time]
    if not times:
        return ibis.null("timestamp")
    earliest = times[0]
    for time in times[1:]:
        earliest = ibis.ifelse(earliest.isnull() | (time < earliest), time, earliest)
    return earliest


def with_validity(rows: ibis.Table, table: Table, *, unique: bool = False) -> ibis.Table:
    """``rows`` with ``known_from`` and ``superseded_at``.

    ``unique`` says that no key occurs twice, so that nothing can be superseded.
    """
    rows = rows.mutate(**{KNOWN: ibis.greatest(rows[RECEIVED], own_time(rows, table))})  # of one and null, the one
    if unique:
        return rows.mutate(**{SUPERSEDED: ibis.null("timestamp")})
    rows = rows.mutate(_received=ibis.coalesce(rows[RECEIVED], own_time(rows, table), ALWAYS))
    winners = ibis.window(group_by=list(table.key), order_by=[rows["_received"], rows[ORDER]], rows=(1, None))
    known_or_always = ibis.coalesce(rows[KNOWN], ALWAYS)
    return rows.mutate(**{SUPERSEDED: known_or_always.min().over(winners)}).drop("_received")


def giving_way(rows: ibis.Table, to: ibis.Table, *, by: str) -> ibis.Table:
    """``rows`` superseded, too, from the moment at which ``to`` has any row of the same ``by``; both with validity."""
    taken = to.group_by(by).agg(taken_from=ibis.coalesce(to[KNOWN], ALWAYS).min())
    joined = rows.left_join(taken, by, rname="other_{name}")
    known = joined.mutate(**{SUPERSEDED: ibis.least(joined[SUPERSEDED], joined.taken_from)})  # of one and null, the one
    return known.select(rows.columns)


def known_at(rows: ibis.Table, table: Table, *, as_of: datetime) -> ibis.Table:
    """The declared columns of ``rows`` as they were known just before ``as_of``.

    One row per key. Outcome times at or after ``as_of`` are null together with what they bring. Products without
    ``created_at`` are all there: ``known_tables`` leaves out those that nobody had bought or looked at.
    """
    at = ibis.literal(moment(as_of), "timestamp")
    own = own_time(rows, table)
    dated = own < at if _is_dated(table) else own.isnull() | (own < at)
    known = rows.filter(
        dated,
        rows[RECEIVED].isnull() | (rows[RECEIVED] < at),
        rows[SUPERSEDED].isnull() | (rows[SUPERSEDED] >= at),
    )
    hidden: dict[str, ibis.Value] = {}
    for time, brought in table.outcomes.items():
        happened = known[time] < at
        for name in (time, *brought):
            hidden[name] = ibis.ifelse(happened, known[name], ibis.null(known[name].type()))
    return known.mutate(**hidden).select(*[name for name in table.names if name in known.columns])


def _is_dated(table: Table) -> bool:
    """Whether every row has a time of its own."""
    return len(table.time) == 1 and table.column(table.time[0]).required


def known_tables(tables: Tables, *, as_of: datetime) -> dict[str, ibis.Table]:
    """Every table as it was known just before ``as_of``; what a shop does not have is absent here too."""
    known = {name: known_at(rows, TABLES[name], as_of=as_of) for name, rows in tables.items()}
    if "products" in known:
        known["products"] = _existing(known)
    return known


def _existing(known: Mapping[str, ibis.Table]) -> ibis.Table:
    """Products that exist: created, or where that is not known, ordered or seen in an event."""
    products = known["products"]
    seen = [known[name].select("product_id") for name in ("orders", "events") if name in known]
    if not seen:
        return products.filter(products.created_at.notnull())
    ids = ibis.union(*seen, distinct=True) if len(seen) > 1 else seen[0].distinct()
    ids = ids.filter(ids.product_id.notnull()).select(seen_id=ids.product_id)
    joined = products.left_join(ids, products.product_id == ids.seen_id)
    return joined.filter(joined.created_at.notnull() | joined.seen_id.notnull()).drop("seen_id")
