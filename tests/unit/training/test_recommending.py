"""Batch recommendations come in frames, whatever is read at once."""

from pathlib import Path

import ibis
import pandas as pd
import pytest

from regulars.ids import IdMap
from regulars.models.recommender import Recommender
from tests.builders import at, lake_tables, tiny_retrieval
from training import recommending

PRODUCTS = ["tea", "pot", "cup", "axe", "saw", "nail"]
NOW = at("2024-06-01")


def order(customer: str | None, product: str, number: int) -> dict[str, object]:
    return {
        "order_id": f"o{number}",
        "customer_id": customer,
        "product_id": product,
        "ordered_at": at("2024-05-01"),
        "quantity": 1,
        "unit_price": 2.0,
    }


@pytest.mark.parametrize("at_once", [1, 2, 100])
def test_slices_of_customers_are_answered_as_all_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    rows = [order(f"c{number % 5}", PRODUCTS[number % 6], number) for number in range(30)] + [order(None, "tea", 99)]
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, orders=rows)
    model = Recommender(tiny_retrieval(IdMap(PRODUCTS)), None, about={})
    whole = pd.concat(recommending.recommend_customers(tables, model, as_of=NOW, n=3))
    monkeypatch.setattr(recommending, "READ_AT_ONCE", at_once)
    frames = list(recommending.recommend_customers(tables, model, as_of=NOW, n=3))
    assert len(frames) == -(-5 // at_once)
    assert pd.concat(frames).values.tolist() == whole.values.tolist()
    assert sorted(whole["customer_id"].unique()) == [f"c{number}" for number in range(5)]
    asked = pd.concat(recommending.recommend_customers(tables, model, as_of=NOW, n=3, customers=["c3", "who", "c3"]))
    assert list(asked["customer_id"].unique()) == ["c3", "who"]
    assert (asked.groupby("customer_id").size() == 3).all()
