"""Small made shops: rows of any table, written as Parquet and read as the lake would give them, on any engine."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from regulars.as_of import ORDER, RECEIVED, with_validity
from regulars.engine import read_files
from regulars.tables import TABLES

ARROW = {"number": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "time": pa.timestamp("us")}
Rows = Sequence[Mapping[str, Any]]


def at(text: str) -> datetime:
    """A moment in UTC from ISO text."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def lake_tables(engine: ibis.BaseBackend, folder: Path, **rows: Rows) -> dict[str, ibis.Table]:
    """Table name -> its rows with every declared column; an order line without line_id is named by its place."""
    return {name: _table(engine, folder, name, list(given)) for name, given in rows.items()}


def _table(engine: ibis.BaseBackend, folder: Path, name: str, rows: list[Mapping[str, Any]]) -> ibis.Table:
    table = TABLES[name]
    fields = [pa.field(c.name, ARROW.get(c.type, pa.string())) for c in table.columns]
    schema = pa.schema([*fields, pa.field(RECEIVED, pa.timestamp("us")), pa.field(ORDER, pa.int64())])
    whole = []
    for place, row in enumerate(rows):
        made = {"line_id": str(place)} if table.default_key == "line_id" else {}
        whole.append({name: None for name in schema.names} | made | {ORDER: place} | dict(row))
    path = folder / f"{name}-{len(list(folder.iterdir()))}.parquet"
    pq.write_table(pa.Table.from_pylist(whole, schema=schema), path)
    return with_validity(read_files(engine, [str(path)], name=name), table)


def shop_orders(*, customers: int, days: int, end: datetime, seed: int, products: int = 60) -> pd.DataFrame:
    """Order lines of a made shop in the ``days`` before ``end``.

    Every customer has an own rate and a set of favourite products, and leaves at some moment or never.
    """
    rng = np.random.default_rng(seed)
    start = end.replace(tzinfo=None) - timedelta(days=days)
    lines = []
    for number in range(customers):
        gap = rng.gamma(2.0, 6.0) + 2
        left = rng.exponential(days * 0.9)
        favourites = rng.choice(products, size=6, replace=False)
        day = rng.uniform(0, days / 3)
        while day < min(days, left + days / 4):
            order = f"o{number}-{len(lines)}"
            for product in set(rng.choice(favourites, size=2)) | {int(rng.zipf(1.6)) % products}:
                lines.append(
                    (order, f"c{number}", f"p{product}", start + timedelta(days=day), 1.0, 1.0 + product)
                )
            day += rng.exponential(gap)
    columns = ["order_id", "customer_id", "product_id", "ordered_at", "quantity", "unit_price"]
    return pd.DataFrame(lines, columns=columns)
