"""Shops that are no pleasure to learn from: each gets a useful answer or one clear line, and never a missing number."""

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from features.build import customer_features
from regulars.errors import RegularsError
from regulars.settings import Settings
from tests.builders import at, lake_tables, shop_orders
from training.churn import train_churn
from training.scoring import score_customers
from training.value import train_value

END = at("2024-06-01")
QUICK = {"trees": 20, "most_snapshots": 4}


def order(customer: int, day: pd.Timestamp, number: int = 0, **more: object) -> dict[str, object]:
    named = {"order_id": f"{customer}-{day:%Y%m%d}-{number}", "customer_id": f"c{customer}", "product_id": "tea"}
    return named | {"ordered_at": day.to_pydatetime(), "quantity": 1.0, "unit_price": 5.0} | more


def before_end(days: float) -> pd.Timestamp:
    return pd.Timestamp("2024-06-01") - pd.Timedelta(days=days)


def fifty_customers() -> list[dict[str, object]]:
    return shop_orders(customers=50, days=300, end=END, seed=2).to_dict("records")


def one_month() -> list[dict[str, object]]:
    return shop_orders(customers=200, days=30, end=END, seed=3).to_dict("records")


def no_repeat_buyers() -> list[dict[str, object]]:
    return [order(number, before_end(1 + number)) for number in range(200)]


def all_active() -> list[dict[str, object]]:
    return [order(number, before_end(day + number / 100)) for number in range(60) for day in range(1, 300, 7)]


def all_lapsed() -> list[dict[str, object]]:
    return [order(number, before_end(250 + number % 40 + day)) for number in range(60) for day in (0, 20)]


def free_of_charge() -> list[dict[str, object]]:
    return [row | {"unit_price": 0.0} for row in fifty_customers()]


def money_back() -> list[dict[str, object]]:
    """As if lines with negative prices had come past the intake."""
    return [row | {"unit_price": -1.0 if place % 3 else 2.0} for place, row in enumerate(fifty_customers())]


def clock_ahead() -> list[dict[str, object]]:
    """Orders dated into the future, some decades ahead: they are not known yet."""
    late = [order(number, before_end(-days)) for number, days in enumerate((1, 400, 20_000))]
    return [*fifty_customers(), *late]


def one_robot() -> list[dict[str, object]]:
    robot = [order(999, before_end(1 + number % 200), number) for number in range(10_000)]
    return [*fifty_customers(), *robot]


def one_customer() -> list[dict[str, object]]:
    return [order(1, before_end(3))]


def settings(folder: Path) -> Settings:
    return Settings(folder, folder / "lake", f"sqlite:///{folder}/shop.db", f"sqlite:///{folder}/mlflow.db")


SHOPS = (
    fifty_customers,
    one_month,
    no_repeat_buyers,
    all_active,
    all_lapsed,
    free_of_charge,
    money_back,
    clock_ahead,
    one_robot,
    one_customer,
)


@pytest.mark.parametrize("made", SHOPS, ids=lambda made: made.__name__)
def test_every_customer_gets_a_whole_answer(made: object, tmp_path: Path) -> None:
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, orders=made())
    churn = train_churn(tables, as_of=END, horizon_days=28, params=QUICK | {"members": 2}).model
    value = train_value(tables, as_of=END, horizon_days=28, params=QUICK).model
    scores = score_customers(tables, churn, as_of=END, settings=settings(tmp_path), value=value)
    features = customer_features(tables, as_of=END).execute()
    assert set(scores["customer_id"]) == set(features["customer_id"])
    assert len(scores) >= 1
    answered = scores.drop(
        columns=["gap_mean_days", "reasons", "next_tier", "money_to_next_tier", "preferred_category"]
    )
    assert answered.notna().all().all()
    numbers = answered.select_dtypes("number")
    assert np.isfinite(numbers.to_numpy()).all()
    assert scores["churn_probability"].between(0, 1).all()
    assert (scores["churn_low"] <= scores["churn_probability"]).all()
    assert (scores["churn_probability"] <= scores["churn_high"]).all()
    assert (scores["predicted_orders"] >= 0).all()
    assert (scores["predicted_value"] >= 0).all()
    assert (scores["next_order_low"] <= scores["next_order_at"]).all()
    assert not scores["reasons"].str.contains("nan|inf", case=False).any()


def test_a_shop_without_customers_is_told_so(tmp_path: Path) -> None:
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, orders=[order(1, before_end(-5))])
    for train in (train_churn, train_value):
        with pytest.raises(RegularsError, match="give a later --as-of"):
            train(tables, as_of=END)


def test_what_answers_a_small_shop_is_said(tmp_path: Path) -> None:
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, orders=fifty_customers()[:60])
    trained = train_churn(tables, as_of=END, horizon_days=28)
    assert "buy-till-you-die model alone" in trained.notes[-1]
    scores = score_customers(tables, trained.model, as_of=END, settings=settings(tmp_path))
    assert set(scores["method"]) == {"buy_till_you_die"}
    assert (scores["churn_high"] > scores["churn_low"]).all()
