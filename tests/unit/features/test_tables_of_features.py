"""Labels, interactions, products and the shop's rhythm."""

from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import pytest

from features.interactions import interactions
from features.labels import churn_labels
from features.products import product_features
from features.shop import shop_rhythm
from regulars.engine import connect
from regulars.errors import MissingData
from tests.builders import at, lake_tables

AS_OF = at("2024-06-01")


@pytest.fixture(scope="module")
def duck() -> ibis.BaseBackend:
    return connect("duckdb")


def line(customer: str | None, day: str, product: str = "tea", price: float = 2.0, **more: Any) -> dict[str, Any]:
    return {
        "order_id": f"{customer}-{day}",
        "customer_id": customer,
        "product_id": product,
        "ordered_at": datetime.fromisoformat(day),
        "quantity": 1.0,
        "unit_price": price,
    } | more


def event(number: int, day: str, **more: Any) -> dict[str, Any]:
    return {
        "event_id": f"e{number}",
        "occurred_at": datetime.fromisoformat(day),
        "name": "Product Viewed",
    } | more


def test_labels_cover_the_lookback_and_the_half_open_horizon(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    rows = [
        line("old", "2023-01-01"),
        line("gone", "2024-05-20"),
        line("back", "2024-05-20"),
        line("back", "2024-06-10 23:59:59"),
        line("late", "2024-05-20"),
        line("late", "2024-06-11"),
        line("new", "2024-06-05"),
    ]
    tables = lake_tables(duck, tmp_path, orders=rows)
    found = churn_labels(tables, as_of=AS_OF, horizon_days=10, lookback_days=365).execute()
    assert dict(zip(found["customer_id"], found["churned"].tolist(), strict=True)) == {
        "gone": 1,
        "back": 0,
        "late": 1,
    }


def test_labels_that_are_not_known_yet_are_refused(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, orders=[line("ann", "2024-05-20")])
    with pytest.raises(MissingData, match="shorter --horizon"):
        churn_labels(tables, as_of=AS_OF, horizon_days=10, lookback_days=365)
    with pytest.raises(MissingData, match="known only until 2024-06-05"):
        churn_labels(tables, as_of=AS_OF, horizon_days=10, lookback_days=365, label_as_of=at("2024-06-05"))


def test_an_anonymous_visit_belongs_to_who_was_identified_first(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    events = [
        event(1, "2024-05-01", anonymous_id="v", product_id="tea"),
        event(2, "2024-05-02", anonymous_id="v", customer_id="ann", name="Cart Viewed"),
        event(3, "2024-05-03", anonymous_id="v", customer_id="bob", name="Cart Viewed"),
        event(4, "2024-05-04", anonymous_id="v", product_id="cup", name="add_to_cart"),
        event(5, "2024-03-01", anonymous_id="v", product_id="pot"),
    ]
    found = interactions(lake_tables(duck, tmp_path, events=events), as_of=AS_OF).execute().sort_values("occurred_at")
    assert found[["visitor_id", "product_id", "kind"]].to_numpy().tolist() == [
        ["anonymous:v", "pot", "view"],
        ["ann", "tea", "view"],
        ["ann", "cup", "cart"],
    ]


def test_an_identification_received_later_is_not_known(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    events = [
        event(1, "2024-05-01", anonymous_id="v", product_id="tea"),
        event(2, "2024-05-02", anonymous_id="v", customer_id="ann", received_at=datetime(2024, 6, 2)),
    ]
    found = interactions(lake_tables(duck, tmp_path, events=events), as_of=AS_OF).execute()
    assert found["visitor_id"].tolist() == ["anonymous:v"]


def test_products_take_the_catalogues_price_else_the_last_one_paid(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(
        duck,
        tmp_path,
        orders=[
            line("ann", "2024-05-01", "tea", 2.0),
            line("bob", "2024-05-02", "tea", 3.0),
            line(None, "2024-05-03", "cup"),
        ],
        products=[
            {"product_id": "tea", "name": "Tea"},
            {"product_id": "cup", "price": 9.0, "available": False},
            {"product_id": "never sold"},
            {"product_id": "announced", "created_at": datetime(2024, 5, 31)},
            {"product_id": "not yet", "created_at": datetime(2024, 6, 1)},
        ],
    )
    found = product_features(tables, as_of=AS_OF).execute().sort_values("product_id").set_index("product_id")
    assert list(found.index) == ["announced", "cup", "tea"]
    assert found.loc[["cup", "tea"], "price"].tolist() == [9.0, 3.0]
    assert found["available"].tolist() == [True, False, True]
    assert found["count_customers"].tolist() == [0, 0, 2]


def test_the_horizon_follows_the_shops_rhythm(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    weekly = [line("ann", f"2024-{month:02}-{day:02}") for month in range(1, 6) for day in (1, 8, 15, 22)]
    found = shop_rhythm(lake_tables(duck, tmp_path, orders=weekly), as_of=AS_OF)
    assert (found.median_gap_days, found.default_horizon_days, found.default_lookback_days) == (7.0, 28, 365)
    yearly = [line("ann", f"{year}-05-01") for year in range(2015, 2025)]
    assert shop_rhythm(lake_tables(duck, tmp_path, orders=yearly), as_of=AS_OF).default_horizon_days == 90
    assert "no order within 28 days" in found.explanation


def test_a_shop_without_known_orders_has_no_rhythm(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="later --as-of"):
        shop_rhythm(lake_tables(duck, tmp_path, orders=[line("ann", "2024-07-01")]), as_of=AS_OF)
