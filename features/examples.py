"""Tiny lakes in memory, for the runnable examples of the documentation."""

from collections.abc import Iterable

import ibis
import pandas as pd

from regulars.as_of import ORDER, RECEIVED, with_validity
from regulars.tables import TABLES

_TYPES = {"number": "float64", "integer": "int64", "boolean": "boolean", "time": "timestamp"}


def order_lines(rows: Iterable[tuple[str, str | None, str, str, float, float]]) -> dict[str, ibis.Table]:
    """A lake of orders only, from (order_id, customer_id, product_id, ordered_at, quantity, unit_price)."""
    names = ("order_id", "customer_id", "product_id", "ordered_at", "quantity", "unit_price")
    return {"orders": lake_rows("orders", [dict(zip(names, row, strict=True)) for row in rows])}


def lake_rows(table: str, rows: Iterable[dict[str, object]]) -> ibis.Table:
    """``rows`` as the lake would give them: every declared column, typed, with the span each row is known."""
    declared = TABLES[table]
    frame = pd.DataFrame(list(rows))
    if "line_id" in declared.names and "line_id" not in frame:
        frame["line_id"] = [str(line) for line in range(len(frame))]
    schema = {c.name: _TYPES.get(c.type, "string") for c in declared.columns} | {
        RECEIVED: "timestamp",
        ORDER: "int64",
    }
    frame[ORDER] = range(len(frame))
    frame = frame.reindex(columns=list(schema))
    for name, kind in schema.items():
        if kind == "timestamp":
            frame[name] = pd.to_datetime(frame[name]).astype("datetime64[us]")
        elif kind == "float64":
            frame[name] = frame[name].astype(float)
        elif kind == "int64":
            frame[name] = frame[name].astype("Int64")
        else:
            frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    return with_validity(ibis.memtable(frame, schema=schema), declared)
