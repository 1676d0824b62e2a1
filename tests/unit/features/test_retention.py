"""Retention figures against arithmetic by hand."""

from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest

from features.retention import retention
from regulars.as_of import Tables
from regulars.errors import MissingData
from tests.builders import at, lake_tables

AS_OF = at("2024-04-01")


def order(customer: str, day: str, price: float, channel: str = "web") -> dict[str, Any]:
    named = {"order_id": f"{customer}-{day}", "customer_id": customer, "product_id": "tea", "quantity": 2.0}
    return named | {"ordered_at": datetime.fromisoformat(day), "unit_price": price / 2, "channel": channel}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """Four customers in January, one of whom comes again in February and two in March, beside a new one; one after the moment."""
    orders = [order(who, "2024-01-10", 10.0) for who in ("ann", "bob", "cy", "dan")]
    orders += [
        order("ann", "2024-02-10", 30.0, "shop"),
        order("ann", "2024-03-20", 20.0),
        order("bob", "2024-03-05", 40.0),
    ]
    orders += [order("eve", "2024-03-06", 60.0, "shop"), order("late", "2024-04-02", 99.0)]
    scores = {"ann": 10.0, "bob": 9.0, "cy": 7.0, "eve": 3.0}
    return lake_tables(
        ibis.duckdb.connect(),
        tmp_path_factory.mktemp("rows"),
        orders=orders,
        surveys=[
            {"customer_id": who, "answered_at": datetime(2024, 3, 8), "score": score} for who, score in scores.items()
        ],
        customers=[{"customer_id": who, "country": "DE"} for who in ("ann", "bob", "eve")],
    )


def row(found: pd.DataFrame, group: str) -> dict[str, Any]:
    return found.set_index("group").loc[group].to_dict()


def test_by_month(tables: Tables) -> None:
    """Active means an order in the last 31 days: January's four at its end, one in February, three in March."""
    found = retention(tables, as_of=AS_OF, by="month", active_days=31)
    assert found["group"].tolist() == ["2024-01", "2024-02", "2024-03"]
    february, march = row(found, "2024-02"), row(found, "2024-03")
    assert [february[name] for name in ("customers_at_start", "customers_at_end", "customers_new")] == [4, 1, 0]
    assert (february["retention_rate"], february["churn_rate"]) == (25.0, 75.0)
    assert [march[name] for name in ("customers_at_start", "customers_at_end", "customers_new")] == [1, 3, 2]
    assert march["retention_rate"] == 100.0
    assert (march["customers"], march["orders"], march["average_order_value"]) == (3, 3, 40.0)
    assert march["repeat_purchase_rate"] == pytest.approx(200 / 3)
    assert march["lifetime_value"] == pytest.approx((60 + 50 + 10 + 10 + 60) / 5)
    assert march["nps"] == 100 * (2 / 4 - 1 / 4)
    first = row(found, "2024-01")
    assert pd.isna(first["retention_rate"])
    assert pd.isna(first["nps"])
    assert (first["repeat_purchase_rate"], first["lifetime_value"]) == (0.0, 10.0)


def test_by_cohort(tables: Tables) -> None:
    found = retention(tables, as_of=AS_OF, by="cohort", active_days=31)
    january = row(found, "2024-01")
    assert (january["customers_at_start"], january["customers_at_end"], january["customers_new"]) == (4, 2, 0)
    assert (january["retention_rate"], january["repeat_purchase_rate"]) == (50.0, 50.0)
    assert january["average_order_value"] == pytest.approx(130 / 7)
    assert january["lifetime_value"] == pytest.approx(130 / 4)
    assert row(found, "2024-03")["customers"] == 1


def test_by_country_and_channel(tables: Tables) -> None:
    countries = retention(tables, as_of=AS_OF, by="country", active_days=31)
    germany = row(countries, "DE")
    assert (germany["customers"], germany["customers_at_end"], germany["nps"]) == (3, 3, pytest.approx(100 / 3))
    assert row(countries, "not known")["customers"] == 2
    channels = retention(tables, as_of=AS_OF, by="channel", active_days=31)
    assert dict(zip(channels["group"], channels["customers"], strict=True)) == {"shop": 1, "web": 4}


def test_without_orders_it_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="regulars import orders"):
        retention({}, as_of=AS_OF)
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, orders=[order("ann", "2024-05-01", 1.0)])
    with pytest.raises(MissingData, match="later --as-of"):
        retention(tables, as_of=AS_OF)
