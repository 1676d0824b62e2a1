"""Recommendations given: to whom and what; what a next page may not show again."""

import json
import logging
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from itertools import islice
from threading import Lock
from typing import Any

from sqlalchemy import BigInteger, Connection, Row, bindparam, delete, func, insert, select, type_coerce
from sqlalchemy.dialects import postgresql, sqlite

from serving.store.database import Store
from serving.store.prepared import Prepared, rows_inside
from serving.store.recordset import insert_from_recordset, recordset
from serving.store.schema import EPOCH, shown_counts, shown_recommendations
from serving.store.writer import GroupWriter, Overloaded

KEPT = timedelta(days=30)
QUARTER = timedelta(minutes=15)
MOST_WAITING = 100_000
MOST_AT_ONCE = 5_000
WRITTEN_WITHIN_S = 10.0
AGAIN_AFTER_S = 1.0
SQLITE_EVERY_S, POSTGRESQL_EVERY_S = 0.1, 0.02
ON_ITS_WAY_S = (0.0, 0.03, 0.1)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShownRow:
    """One recommendation on its way into the store; see the table ``shown_recommendations``."""

    recommendation_id: str
    customer_id: str | None
    anonymous_id: str | None
    session_id: str | None
    policy: str
    slots: str
    summary: str
    product_ids: str
    created_at: datetime


class ShownLog:
    """What one worker showed, written by the worker's writer beside the requests, which do not wait for it.

    Whoever holds it lets it ``flush`` ``every_s`` seconds, so that few writes hold many: on PostgreSQL often, so that every worker
    knows a recommendation soon; on SQLite, which has one worker and writes for one at a time, not as often. The worker itself
    knows it before that, from memory. A kill loses what was not written. Where the database takes nothing, it is tried again once a
    second, and 100,000 recommendations wait, then the oldest are dropped: ``dropped`` counts them.
    """

    def __init__(self, store: Store, writer: GroupWriter) -> None:
        self._store, self._writer = store, writer
        self.every_s = SQLITE_EVERY_S if store.is_sqlite else POSTGRESQL_EVERY_S
        self._waiting: dict[str, ShownRow] = {}
        self._taken: dict[str, ShownRow] = {}
        self._write: Future[Any] | None = None
        self._again_at = 0.0  # of the monotonic clock
        self._lock = Lock()
        self.dropped = 0

    def add(self, row: ShownRow) -> None:
        """Keep what was shown."""
        with self._lock:
            self._waiting[row.recommendation_id] = row
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
                self.dropped += 1

    def before(self, recommendation_id: str) -> tuple[str, ...] | None:
        """All products up to and with that recommendation; None where it is not known (any more)."""
        for pause in (0.0,) if self._store.is_sqlite else ON_ITS_WAY_S:  # another worker may be writing it just now
            time.sleep(pause)
            known = self._waiting.get(recommendation_id) or self._taken.get(recommendation_id)
            found = self._written(recommendation_id) if known is None else known.product_ids
            if found is not None:
                return tuple(json.loads(found))
        return None

    def flush(self) -> "Future[Any] | None":
        """Let the writer begin with what waits, where it has not begun; what is under way, None where nothing is."""
        return self._write if time.monotonic() < self._again_at else self._begin()

    def _begin(self) -> "Future[Any] | None":
        with self._lock:
            if self._write is not None or not self._waiting:
                return self._write
            taken = dict(islice(self._waiting.items(), MOST_AT_ONCE))
            rows = list(taken.values())
            try:
                write = self._writer.submit(lambda connection: add_shown(connection, rows))
            except Overloaded:
                return None
            self._taken, self._write = taken, write
            self._waiting = dict(islice(self._waiting.items(), len(taken), None))
        write.add_done_callback(self._done)
        return write

    def settle(self) -> None:
        """Return once everything that was added is written.

        Raises:
            Exception: what the database said, or TimeoutError after 10 seconds.
        """
        while (write := self._begin()) is not None:
            write.result(WRITTEN_WITHIN_S)

    def _done(self, write: "Future[Any]") -> None:
        failed = write.exception()
        with self._lock:
            if failed is not None:
                self._waiting = self._taken | self._waiting
                self._again_at = time.monotonic() + AGAIN_AFTER_S
            self._taken, self._write = {}, None
        if failed is not None:
            log.error("what was shown could not be written, trying again: %s", failed)

    def _written(self, recommendation_id: str) -> str | None:
        wanted = select(shown_recommendations.c.product_ids)
        wanted = wanted.where(shown_recommendations.c.recommendation_id == recommendation_id)
        with self._store.reading() as connection:
            return connection.execute(wanted).scalar()


def shown_after(store: Store, at: datetime, recommendation_id: str, *, limit: int) -> list[Row[Any]]:
    """The next recommendations behind that one, given at ``at``: by moment, those of one moment by id."""
    column = shown_recommendations.c
    behind = (column.created_at == at) & (column.recommendation_id > recommendation_id)
    wanted = select(shown_recommendations).where((column.created_at > at) | behind)
    wanted = wanted.order_by(column.created_at, column.recommendation_id).limit(limit)
    with store.reading() as connection:
        return list(connection.execute(wanted).all())


def add_shown(connection: Connection, rows: Sequence[ShownRow]) -> None:
    """Write what was shown, inside a transaction."""
    if connection.dialect.name == "postgresql":
        rows_inside(connection, (_ALL, recordset(shown_recommendations, _COLUMNS, rows)))
    else:
        one, driver = _ONE.for_driver(connection.dialect), connection.connection.driver_connection
        assert driver is not None
        driver.executemany(one.text, (one.parameters(row.__dict__) for row in rows))


_COLUMNS = tuple(field.name for field in fields(ShownRow))
_ALL = Prepared(insert_from_recordset(shown_recommendations, _COLUMNS))
_ONE = Prepared(insert(shown_recommendations).values({name: bindparam(name) for name in _COLUMNS}))


@dataclass(frozen=True)
class Views:
    """Slots and products that a placement showed in the quarter of an hour from ``at`` on."""

    at: datetime
    placement: str
    views: int
    products: int


def views_between(connection: Connection, start: datetime, end: datetime) -> list[Views]:
    """What was shown in [start, end), which must begin and end with a quarter of an hour."""
    column = shown_counts.c
    kept = select(column.quarter, column.placement, column.views, column.products)
    kept = kept.where(column.quarter >= _quarter(start), column.quarter < _quarter(end))
    inside = (shown_recommendations.c.created_at >= start) & (shown_recommendations.c.created_at < end)
    return [*_views(connection.execute(kept)), *_views(_counted(connection, inside))]


def remove_shown(store: Store, *, before: datetime) -> None:
    """Remove what was shown before ``before``, rounded down to a quarter of an hour, and keep how much it was."""
    before = EPOCH + _quarter(before) * QUARTER
    old = shown_recommendations.c.created_at < before
    dialect = sqlite if store.is_sqlite else postgresql
    added = dialect.insert(shown_counts)
    added = added.on_conflict_do_update(
        index_elements=["quarter", "placement"],
        set_={name: shown_counts.c[name] + added.excluded[name] for name in ("views", "products")},
    )
    with store.writing() as connection:
        counts = [
            {"quarter": quarter, "placement": placement, "views": views, "products": products}
            for quarter, placement, views, products in _counted(connection, old)
        ]
        if counts:
            connection.execute(added, counts)
        connection.execute(delete(shown_recommendations).where(old))


def _quarter(at: datetime) -> int:
    return (at - EPOCH) // QUARTER


def _counted(connection: Connection, wanted: Any) -> list[tuple[int, str, int, int]]:
    """(quarter, placement, slots, products) of the shown rows that are ``wanted``."""
    microseconds = type_coerce(shown_recommendations.c.created_at, BigInteger)
    quarter = microseconds // (QUARTER // timedelta(microseconds=1))
    summary = shown_recommendations.c.summary
    grouped = select(quarter, summary, func.count()).where(wanted, summary != "").group_by(quarter, summary)
    found: dict[tuple[int, str], list[int]] = {}
    for at, text, times in connection.execute(grouped):
        for slot in text.split(","):
            placement, _, products = slot.partition(":")
            counts = found.setdefault((at, placement), [0, 0])
            counts[0] += times
            counts[1] += times * int(products)
    return [(at, placement, views, products) for (at, placement), (views, products) in found.items()]


def _views(counts: Iterable[Any]) -> list[Views]:
    return [Views(EPOCH + quarter * QUARTER, placement, *numbers) for quarter, placement, *numbers in counts]
