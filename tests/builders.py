"""Small made shops: rows of any table, written as Parquet and read as the lake would give them, on any engine."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from regulars.as_of import ORDER, RECEIVED, with_validity
from regulars.engine import read_files
from regulars.ids import IdMap
from regulars.models.retrieval import Catalogue, Retrieval
from regulars.models.retrievers.content import Content
from regulars.models.retrievers.countries import Countries
from regulars.models.retrievers.embedding import Embedding
from regulars.models.retrievers.factors import Factors
from regulars.models.retrievers.followers import Followers
from regulars.models.retrievers.lookalikes import Lookalikes
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.popular import Popular
from regulars.models.retrievers.sessions import Sessions
from regulars.models.retrievers.transitions import LATEST_PRODUCTS, SHARPNESS, Transitions
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
        whole.append(dict.fromkeys(schema.names) | made | {ORDER: place} | dict(row))
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
                lines.append((order, f"c{number}", f"p{product}", start + timedelta(days=day), 1.0, 1.0 + product))
            day += rng.exponential(gap)
    columns = ["order_id", "customer_id", "product_id", "ordered_at", "quantity", "unit_price"]
    return pd.DataFrame(lines, columns=columns)


def tiny_retrieval(ids: IdMap) -> Retrieval:
    """Retrievers over six products in two groups of three: within a group they go together, the first ones sell most."""
    group = np.array([0, 0, 0, 1, 1, 1])
    near = np.array([[other for other in range(6) if group[other] == group[row] and other != row] for row in range(6)])
    similarity = np.tile(np.array([1.0, 0.5], np.float32), (6, 1))
    together = Neighbours(near.astype(np.int32), similarity)
    counts = np.arange(6, 0, -1, dtype=np.float32)
    catalogue = Catalogue(
        category=group.astype(np.int32),
        parent=np.zeros(6, np.int32),
        brand=np.full(6, -1, np.int32),
        price=np.arange(1, 7, dtype=np.float32),
        first_seen_at=np.full(6, 1_600_000_000, np.int64),
        count_customers=np.arange(6, 0, -1, dtype=np.int32),
        repeat_rate=np.full(6, 0.2, np.float32),
        gap_days=np.full(6, 14.0, np.float32),
        family=np.full(6, -1, np.int32),
        held_back=np.zeros(6, dtype=bool),
    )
    vectors = np.column_stack([group == 0, group == 1]) + np.arange(6)[:, None] / 100
    pairs = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5]])
    sessions = Sessions(
        products=pairs.ravel().astype(np.int32),
        starts=np.arange(0, 13, 2),
        postings=np.array([1, 0, 2, 0, 2, 1, 4, 3, 5, 3, 5, 4], np.int32),
        posting_starts=np.arange(0, 13, 2),
        rarity=np.full(6, np.log(3), np.float32),
    )
    lookalikes = Lookalikes(
        rows=np.arange(6, dtype=np.int32),
        values=np.array([0.8, 0.6, 0.2, 0.8, 0.6, 0.2], np.float32),
        starts=np.array([0, 3, 6]),
        postings=group.astype(np.int32),
        posting_values=(np.array([0.8, 0.6, 0.2] * 2) / np.sqrt(1.04)).astype(np.float32),
        posting_starts=np.arange(7),
    )
    content = Content(
        words=group.astype(np.int32),
        weights=np.ones(6, np.float32),
        starts=np.arange(7),
        fresh=np.array([2, 5], np.int32),
    )
    return Retrieval(
        ids=ids,
        catalogue=catalogue,
        popular=Popular(np.column_stack([counts] * 4)),
        factors=Factors(vectors.astype(np.float32), 0.05, 20.0),
        baskets=together,
        visitors=together,
        linear=together,
        followers=Followers(together),
        next_step=together,
        step_before=together,
        two_steps=together,
        embedding=Embedding(
            (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
            near.astype(np.int32),
            similarity,
        ),
        transitions=tiny_transitions(group),
        onward=Followers(together, 0.4),
        sessions=sessions,
        lookalikes=lookalikes,
        content=content,
        countries=Countries(("DE",), np.array([[3, 4, -1]], np.int32)),
    )


def tiny_transitions(group: NDArray[np.int64]) -> Transitions:
    """Of products in two groups: vectors are those of the group, and everything is liked alike."""
    vectors = np.column_stack([group == 0, group == 1]).astype(np.float32)
    weights = np.exp(SHARPNESS * (vectors @ vectors.T).astype(float))
    weights *= ~np.eye(len(group), dtype=bool)
    chance = weights / weights.sum(axis=1, keepdims=True)
    rows = np.argsort(-chance, axis=1, kind="stable")[:, :-1]
    return Transitions(
        vectors,
        np.zeros(len(group), np.float32),
        np.log(weights.sum(axis=1)).astype(np.float32),
        np.power(0.5, np.arange(LATEST_PRODUCTS)).astype(np.float32),
        rows.astype(np.int32),
        np.take_along_axis(chance, rows, axis=1).astype(np.float32),
    )


def profile_row(customer_id: str, probability: float | None, **more: Any) -> dict[str, Any]:
    """A row of the store's table ``profiles``; nobody may be written to unless ``more`` says so."""
    channels = ("email", "sms", "push", "ads")
    scored = {"churn_low": 0.0, "churn_high": 1.0, "risk": "high"} if probability is not None else {}
    empty = dict.fromkeys(
        ("churn_low", "churn_high", "risk", "predicted_value", "segment", "tier", "name", "email", "phone", "locale")
    )
    return {
        "customer_id": customer_id,
        "churn_probability": probability,
        **empty,
        **scored,
        **dict.fromkeys(("timezone", "country", *(f"consent_{channel}" for channel in channels))),
        **{f"reachable_{channel}": False for channel in channels},
        "unsubscribed": "[]",
        "reasons": "[]",
        "profile": "{}",
        **more,
    }


def random_retrieval(ids: IdMap) -> Retrieval:
    """The tiny shop, its neighbours drawn by chance, another kind each."""
    rng, tiny = np.random.default_rng(3), tiny_retrieval(ids)

    def near() -> Neighbours:
        return Neighbours(rng.integers(-1, 6, (6, 3)).astype(np.int32), rng.random((6, 3)).astype(np.float32))

    names = ("baskets", "visitors", "linear", "next_step", "step_before", "two_steps")
    akin, after = near(), near()
    return replace(
        tiny,
        **{name: near() for name in names},
        followers=Followers(near()),
        onward=Followers(near(), 0.4),
        embedding=Embedding(tiny.embedding.vectors, akin.rows, akin.similarity),
        transitions=replace(tiny.transitions, rows=after.rows, chance=after.similarity),
    )
