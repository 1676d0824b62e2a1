"""Gamma-Gamma and the value model by known arithmetic."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from regulars.errors import DataError
from regulars.models.buy_till_you_die import BuyTillYouDie
from regulars.models.gamma_gamma import GammaGamma, fit_gamma_gamma
from regulars.models.value import Steady, ValueModel

NAMES = ("count_order_days", "days_first_to_last", "age_days", "money_total", "gap_mean_days")


def model() -> ValueModel:
    steady = Steady(BuyTillYouDie(0.243, 30.9, 0.793, 2.426), GammaGamma(6.25, 3.74, 15.44), 1.5)
    return ValueModel(
        steady=steady,
        order_trees=None,
        spend_trees=None,
        levels=(1.0, 1.0),
        pace=1.0,
        pace_year=1.0,
        feature_names=NAMES,
        horizon_days=28,
        lookback_days=365,
        as_of="2024-06-01T00:00:00+00:00",
    )


def customers() -> pd.DataFrame:
    return pd.DataFrame(
        [[3, 200, 270, 60.0, 100], [1, 0, 270, 20.0, np.nan]], columns=list(NAMES), index=["ann", "bob"]
    )


def test_few_order_days_are_pulled_to_the_shops_mean() -> None:
    """By hand: p (gamma + x m) / (p x + q - 1)."""
    found = GammaGamma(6.25, 3.74, 15.44).expected_spend(np.array([0.0, 2.0]), np.array([0.0, 50.0]))
    assert found[0] == pytest.approx(6.25 * 15.44 / 2.74)
    assert found[1] == pytest.approx(6.25 * (15.44 + 100) / (12.5 + 2.74))


def test_parameters_of_made_spending_are_found_again() -> None:
    rng = np.random.default_rng(0)
    rate = rng.gamma(4.0, 1 / 15.0, 8_000)
    count = rng.integers(1, 8, 8_000).astype(float)
    mean = rng.gamma(6.0 * count) / (rate * count)
    found = fit_gamma_gamma(count, mean)
    assert found.p * found.gamma / (found.q - 1) == pytest.approx(6.0 * 15.0 / 3.0, rel=0.05)
    assert found.q == pytest.approx(4.0, rel=0.15)


def test_value_is_orders_times_spend() -> None:
    predicted, steady = model().predict(customers()), model().steady
    days, spend = steady.order_days(customers(), 28), steady.spend(customers())
    assert predicted["predicted_value"].to_numpy() == pytest.approx(days * spend)
    assert predicted["predicted_orders"].to_numpy() == pytest.approx(days * 1.5)
    assert (predicted["predicted_value_365d"] > predicted["predicted_value"]).all()
    assert predicted.loc["ann", "days_between_orders"] == 100
    assert predicted.notna().all().all()


def test_the_next_order_is_due_when_its_share_of_customers_has_come() -> None:
    predicted = model().predict(customers())
    days = predicted.loc["ann", "next_order_days"]
    assert ((30.9 + 270) / (30.9 + 270 + days)) ** (0.243 + 2) == pytest.approx(0.5)
    assert (predicted["next_order_days_low"] < predicted["next_order_days"]).all()
    assert (predicted["next_order_days"] < predicted["next_order_days_high"]).all()


def test_saved_and_loaded_it_answers_the_same(tmp_path: Path) -> None:
    model().save(tmp_path)
    pd.testing.assert_frame_equal(ValueModel.load(tmp_path).predict(customers()), model().predict(customers()))


def test_a_missing_feature_is_named() -> None:
    with pytest.raises(DataError, match="money_total is missing"):
        model().predict(customers().drop(columns="money_total"))
