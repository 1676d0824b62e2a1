"""Running subscriptions as features: known arithmetic, and nothing that was known later."""

from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest

from features.subscriptions import FEATURES, cancellation_features, read_running_subscriptions, running_subscriptions
from regulars.errors import MissingData
from tests.builders import at, lake_tables

AS_OF = at("2024-06-01")


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


def row(name: str, customer: str, started: str, **times: str) -> dict[str, Any]:
    named = {"subscription_id": name, "customer_id": customer, "started_at": day(started)}
    return named | {column: day(text) for column, text in times.items()}


ROWS = [
    row("a1", "ann", "2024-05-02", renews_at="2024-06-11", received_at="2024-05-12"),
    row("a2", "ann", "2024-01-01", paused_at="2024-05-27", renews_at="2024-06-05"),
    row("a3", "ann", "2024-01-01", cancelled_at="2024-05-22"),
    row("b1", "bob", "2024-05-31", paused_at="2024-06-02", cancelled_at="2024-06-03"),
    row("c1", "cy", "2024-06-01"),
    row("d1", "dan", "2024-05-01", renews_at="2024-05-31", received_at="2024-05-01"),
]


def test_each_subscription_is_described_as_it_was_known(tmp_path: Path) -> None:
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, subscriptions=ROWS)
    found = running_subscriptions(tables, as_of=AS_OF).execute().set_index("subscription_id")[list(FEATURES)]
    none = float("nan")
    expected = {
        "a1": [30, 10, 0, none, 1, 1, 1, 10],
        "a2": [152, none, 1, 5, 1, 0, 1, 10],  # its row does not say when its renewal was known
        "b1": [1, none, 0, none, 0, 0, 0, none],  # paused and cancelled later than the moment
        "d1": [31, none, 0, none, 0, 0, 0, none],  # the renewal is over
    }
    wanted = pd.DataFrame.from_dict(expected, orient="index", columns=list(FEATURES)).rename_axis("subscription_id")
    pd.testing.assert_frame_equal(found, wanted.astype(float))


def test_a_version_received_later_is_not_known(tmp_path: Path) -> None:
    rows = [
        row("a1", "ann", "2024-05-02", renews_at="2024-06-02", received_at="2024-05-02"),
        row("a1", "ann", "2024-05-02", renews_at="2024-07-02", received_at="2024-06-02", paused_at="2024-05-20"),
    ]
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, subscriptions=rows)
    found = running_subscriptions(tables, as_of=AS_OF).execute().iloc[0]
    assert found["subscription_days_to_renewal"] == 1
    assert found["subscription_is_paused"] == 0


def test_who_never_ordered_is_there_without_features_of_a_customer(tmp_path: Path) -> None:
    line = {"order_id": "1", "customer_id": "ann", "product_id": "tea", "quantity": 1.0, "unit_price": 5.0}
    orders = [line | {"ordered_at": day("2024-05-01")}]
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, subscriptions=ROWS, orders=orders)
    found = read_running_subscriptions(tables, as_of=AS_OF).set_index("subscription_id")
    assert set(found.columns) == {"customer_id", *cancellation_features(tables)}
    assert found["count_orders"].fillna(0).to_dict() == {"a1": 1, "a2": 1, "b1": 0, "d1": 0}
    assert found.loc["b1", "subscription_age_days"] == 1
    earlier = read_running_subscriptions(tables, as_of=at("2024-02-01"))  # before any order
    assert earlier["subscription_id"].tolist() == ["a2", "a3"]
    assert earlier["count_orders"].isna().all()


def test_a_shop_without_subscriptions_is_told_so() -> None:
    with pytest.raises(MissingData, match="regulars import subscriptions"):
        running_subscriptions({}, as_of=AS_OF)
