"""Many rows into a table of PostgreSQL by one statement: each further one is another way to the server and back.

They go there as JSON: the driver takes seven times as long to write arrays of text.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import JSON, BigInteger, Table, Text, bindparam, cast, column, func, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import Insert

from serving.store.schema import EPOCH, Moment

PLACE = "place"


def insert_from_recordset(table: Table, columns: Sequence[str]) -> Insert:
    """The statement that takes a ``recordset``; ``columns`` are moments or text. Rows are numbered in the order given."""
    kinds = {name: BigInteger if isinstance(table.c[name].type, Moment) else Text for name in columns}
    given = func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    told = given.table_valued(*(column(name, kind) for name, kind in {**kinds, PLACE: BigInteger}.items()), name="told")
    told = told.render_derived(with_types=True)
    rows = select(*(told.c[name] for name in columns)).order_by(told.c[PLACE])
    return postgresql.insert(table).from_select(list(columns), rows)


def recordset(table: Table, columns: Sequence[str], rows: Sequence[Any]) -> dict[str, str]:
    """What the statement takes, from ``rows`` that have the columns as attributes."""
    moments = [name for name in columns if isinstance(table.c[name].type, Moment)]
    told = []
    for place, row in enumerate(rows):
        one = {name: getattr(row, name) for name in columns}
        one |= {name: (one[name] - EPOCH) // timedelta(microseconds=1) for name in moments}
        told.append({**one, PLACE: place})
    return {"rows": orjson.dumps(told).decode()}
