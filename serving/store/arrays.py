"""Many rows into a table of PostgreSQL by one statement: each further one is another way to the server and back."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Table, Text, bindparam, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Insert

from serving.store.schema import EPOCH, Moment


def insert_from_arrays(table: Table, columns: Sequence[str]) -> Insert:
    """The statement that takes ``arrays``; ``columns`` are moments or text. Rows are numbered in the order given."""
    kinds = (BigInteger if isinstance(table.c[name].type, Moment) else Text for name in columns)
    given = func.unnest(*(bindparam(name, type_=ARRAY(kind)) for name, kind in zip(columns, kinds, strict=True)))
    told = given.table_valued(*columns, with_ordinality="place", name="told").render_derived()
    rows = select(*(told.c[name] for name in columns)).order_by(told.c.place)
    return postgresql.insert(table).from_select(list(columns), rows)


def arrays(table: Table, columns: Sequence[str], rows: Sequence[Any]) -> dict[str, list[Any]]:
    """The values of each column, from ``rows`` that have them as attributes."""
    told = {name: [getattr(row, name) for row in rows] for name in columns}
    for name in columns:
        if isinstance(table.c[name].type, Moment):
            told[name] = [(at - EPOCH) // timedelta(microseconds=1) for at in told[name]]
    return told
