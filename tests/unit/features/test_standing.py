"""Who customers are: stages, segments, tiers and categories by stated rules."""

from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest

from features.build import read_customer_features
from features.standing import STAGES, customer_standing, stage_with_risk
from tests.builders import at, lake_tables

AS_OF = at("2024-06-01")
TIERS = (("bronze", 0.0), ("silver", 30.0), ("gold", 100.0))


def order(customer: str, day: str, product: str = "tea", price: float = 10.0) -> dict[str, Any]:
    named = {"order_id": f"{customer}-{day}-{product}", "customer_id": customer, "product_id": product}
    return named | {"ordered_at": datetime.fromisoformat(day), "quantity": 1.0, "unit_price": price}


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    orders = [order("first", "2024-05-30", "cup", 100.0), order("gone", "2022-01-01"), order("late", "2024-06-02")]
    orders += [order("back", "2022-03-01"), order("back", "2024-05-01", "cup")]
    orders += [order("loyal", f"2024-0{month}-10") for month in (1, 2, 3, 4)]
    orders += [order("some", day) for day in ("2024-03-01", "2024-04-01")]
    tables = lake_tables(
        ibis.duckdb.connect(),
        tmp_path_factory.mktemp("rows"),
        orders=orders,
        products=[{"product_id": "tea", "category": "Food > Tea"}, {"product_id": "cup", "category": "Cups"}],
        customers=[{"customer_id": who, "created_at": datetime(2024, 1, 1)} for who in ("known", "loyal")],
        events=[
            {"event_id": who, "customer_id": who, "name": "Product Viewed", "occurred_at": datetime(2024, 5, 1)}
            for who in ("seen", "known")
        ],
    )
    features = read_customer_features(tables, as_of=AS_OF)
    return customer_standing(tables, features, as_of=AS_OF, lookback_days=365, loyal_orders=4, tiers=TIERS)


def test_stages(standing: pd.DataFrame) -> None:
    assert standing["stage"].to_dict() == {
        "back": "won_back",
        "first": "first_order",
        "gone": "lapsed",
        "known": "lead",
        "loyal": "loyal",
        "seen": "visitor",
        "some": "active",
    }
    assert set(standing["stage"]) | {stage_with_risk("loyal", "high")} == set(STAGES)


def test_segments_by_hand(standing: pd.DataFrame) -> None:
    """Newest first: first, back, loyal, some, gone; by orders: loyal 4, back and some 2, first and gone 1.

    Equals share the fifth in which the middle of their places lies, the upper one on its border.
    """
    assert standing["rfm"].dropna().to_dict() == {
        "back": "443",
        "first": "525",
        "gone": "121",
        "loyal": "354",
        "some": "243",
    }
    assert standing.loc["loyal", "segment"] == "loyal"
    assert standing.loc["gone", "segment"] == "hibernating"
    assert standing.loc["first", "segment"] == "potential_loyal"
    assert standing.loc["known", "segment"] is None


def test_tiers_by_the_money_of_a_year_and_what_is_missing_to_the_next(standing: pd.DataFrame) -> None:
    said = standing[["tier", "next_tier", "money_to_next_tier"]]
    assert said.loc["first"].tolist() == ["gold", None, None]
    assert said.loc["loyal"].tolist() == ["silver", "gold", 60.0]
    assert said.loc["gone"].tolist() == ["bronze", "silver", 30.0]
    assert said.loc["seen"].tolist() == [None, None, None]


def test_the_preferred_category_is_that_of_most_lines(standing: pd.DataFrame) -> None:
    assert standing["preferred_category"].dropna().to_dict() == {
        "back": "Cups",
        "first": "Cups",
        "gone": "Food > Tea",
        "loyal": "Food > Tea",
        "some": "Food > Tea",
    }


def test_all_is_known_of_a_shop_with_orders_only(tmp_path: Path) -> None:
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, orders=[order("ann", "2024-05-01")])
    features = read_customer_features(tables, as_of=AS_OF)
    found = customer_standing(tables, features, as_of=AS_OF, lookback_days=365, loyal_orders=4, tiers=TIERS)
    assert found.loc["ann", ["stage", "rfm", "preferred_category"]].tolist() == ["first_order", "333", None]
