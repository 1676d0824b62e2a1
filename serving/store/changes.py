"""Rows of the table ``changes``: what the shop says of products, customers and offers between two publishings."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from serving.store.database import Store
from serving.store.events import Covered, one_at_a_time
from serving.store.generations import pointed
from serving.store.schema import CHANNELS, changes, profiles

COMPACTED = "compacted_changes"


@dataclass(frozen=True)
class ChangeRow:
    """One row that was sent; ``body`` is the JSON of the fields that were given."""

    table_name: str
    row_key: str
    received_at: datetime
    body: str


def add_changes(connection: Connection, rows: Sequence[ChangeRow]) -> int:
    """The number of rows added, inside a transaction; numbers are given in the order of commits."""
    one_at_a_time(connection)
    connection.execute(insert(changes), [row.__dict__ for row in rows])
    return len(rows)


def withdraw_consents(connection: Connection, customer_id: str, channels: Sequence[str]) -> None:
    """From now on nobody of the answering generation's lists may be written to there."""
    told = {f"consent_{channel}": False for channel in channels if channel in CHANNELS}
    told |= {f"reachable_{channel}": False for channel in channels if channel in CHANNELS}
    mine = (profiles.c.generation == pointed()) & (profiles.c.customer_id == customer_id)
    if told:
        connection.execute(update(profiles).where(mine).values(**told))


def changes_after(store: Store, seq: int, *, limit: int, table: str | None = None) -> list[Row[Any]]:
    """The next changes behind ``seq``, by number; of one table where it is named."""
    wanted = select(changes).where(changes.c.seq > seq).order_by(changes.c.seq).limit(limit)
    if table is not None:
        wanted = wanted.where(changes.c.table_name == table)
    with store.reading() as connection:
        return list(connection.execute(wanted).all())


def changes_not_in(store: Store, covered: Covered, *, table: str) -> list[Row[Any]]:
    """The changes of a table that a generation does not hold, by number."""
    held = (changes.c.seq <= covered.seq) & (changes.c.received_at < covered.as_of)
    wanted = select(changes).where(changes.c.table_name == table, ~held).order_by(changes.c.seq)
    with store.reading() as connection:
        return list(connection.execute(wanted).all())


def remove_held_changes(store: Store, covered: Covered) -> int:
    """Remove the changes that a generation holds."""
    held = (changes.c.seq <= covered.seq) & (changes.c.received_at < covered.as_of)
    with store.writing() as connection:
        return connection.execute(delete(changes).where(held)).rowcount
