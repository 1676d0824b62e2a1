"""Offers of known effect: what is said to be true is what happened, and the sets differ as they say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from features.sources.simulated import write_simulated
from features.sources.simulated_offers import SETS, offer_trial, simulated_customers, write_offers
from regulars.errors import DataError

AT = pd.Timestamp("2024-03-01")


@pytest.mark.parametrize("name", SETS)
def test_outcomes_follow_the_truth(name: str) -> None:
    people = simulated_customers(20_000, seed=1)
    trial = offer_trial(people, name=name, at=AT, seed=1)
    truth = trial.truth.set_index("customer_id")
    ordered = trial.assignments["assignment_id"].isin(trial.outcomes["assignment_id"]).to_numpy()
    arms = trial.assignments["offer_id"].fillna("none").to_numpy()
    assert trial.assignments.groupby(arms)["propensity"].nunique().eq(1).all()
    for offer in trial.offers["offer_id"]:
        gained = ordered[arms == offer].mean() - ordered[arms == "none"].mean()
        assert gained == pytest.approx(truth[offer].mean(), abs=0.025)
    related = np.corrcoef(1 - truth["without"], truth["tenth_off"])[0, 1]
    assert {"agree": related > 0.7, "unrelated": abs(related) < 0.2, "opposed": related < -0.7}[name]


def test_a_simulated_shop_gains_a_trial(tmp_path: Path) -> None:
    write_simulated(tmp_path, customers=200, seed=0)
    write_offers(tmp_path, name="agree", seed=0)
    read = {table: pd.read_parquet(tmp_path / table) for table in ("offers", "assignments", "customers", "truth")}
    assert 150 < len(read["assignments"]) <= 200
    assert "price_interest" in read["customers"]["attributes"].iloc[0]
    assert read["truth"]["without"].notna().sum() == len(read["assignments"])


def test_another_name_is_refused() -> None:
    with pytest.raises(DataError, match="agree, unrelated, opposed"):
        offer_trial(simulated_customers(10, seed=0), name="moon", at=AT, seed=0)
