"""Versions and baselines on one holdout."""

import ibis
import pandas as pd
import pytest

from regulars.errors import DataError
from tests.builders import at, lake_tables, shop_orders
from training.churn import train_churn
from training.comparison import compare_churn, compare_recommenders, default_holdout
from training.recommender import train_recommender

START, END = at("2024-05-03"), at("2024-05-31")
SMALL = {"members": 1, "trees": 30, "most_snapshots": 6}


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ibis.Table]:
    orders = shop_orders(customers=200, days=400, end=at("2024-06-01"), seed=7).to_dict("records")
    countries = [{"customer_id": f"c{number}", "country": "DE" if number % 2 else "FR"} for number in range(200)]
    return lake_tables(ibis.duckdb.connect(), tmp_path_factory.mktemp("shop"), orders=orders, customers=countries)


@pytest.fixture(scope="module")
def churn_models(tables: dict[str, ibis.Table]) -> dict[str, object]:
    def fit(as_of: str, trees: int) -> object:
        return train_churn(tables, as_of=at(as_of), horizon_days=28, params=SMALL | {"trees": trees}).model

    return {"1": fit("2024-05-01", 30), "2": fit("2024-05-01", 31), "3": fit("2024-05-10", 30)}


def test_a_model_against_itself_differs_by_nothing_and_baselines_stand_beside_it(
    tables: dict, churn_models: dict
) -> None:
    models = {"1": churn_models["1"], "2": churn_models["1"]}
    compared = compare_churn(tables, models, champion="1", start=START, end=END)
    twin = compared.table[compared.table["model"] == "2"]
    assert (twin[["difference", "difference_low", "difference_high"]] == 0).all().all()
    assert {"LightGBM", "BG/NBD", "RFM logistic regression", "recency", "prevalence"} <= set(compared.table["model"])
    verdict = compared.verdict("2")
    assert (verdict["champion"], verdict["gain"], verdict["worse"]) == ("1", 0, [])


def test_who_saw_the_holdout_is_refused(tables: dict, churn_models: dict) -> None:
    compared = compare_churn(tables, churn_models, champion="1", start=START, end=END)
    assert list(compared.refused) == ["3"]
    assert "saw data up to 2024-05-10" in compared.refused["3"]
    assert "3" not in set(compared.table["model"])
    with pytest.raises(DataError, match="no version can be judged"):
        compare_churn(tables, {"3": churn_models["3"]}, champion=None, start=START, end=END)
    with pytest.raises(DataError, match="predicts 28 days, the holdout is 14"):
        compare_churn(tables, {"1": churn_models["1"]}, champion=None, start=START, end=at("2024-05-17"))


@pytest.mark.parametrize("by", ["frequency", "value", "country"])
def test_segments_hold_everybody_once(tables: dict, churn_models: dict, by: str) -> None:
    compared = compare_churn(tables, {"1": churn_models["1"]}, champion="1", start=START, end=END, by=by)
    whole = compared.table[compared.table["segment"] == "all"]
    assert compared.table["segment"].nunique() > 2
    assert len(compared.table) == len(whole) * compared.table["segment"].nunique()
    assert sum(point["customers"] for point in compared.curves["1"]["calibration"]) > 100
    calibrated = compared.table[(compared.table["metric"] == "ece") & (compared.table["model"] == "1")]
    assert set(calibrated["segment"]) == set(compared.table["segment"])  # each segment has a calibration of its own
    assert calibrated["value"].between(0, 1).all()
    assert calibrated["value"].nunique() == len(calibrated)


def test_recommenders(tables: dict) -> None:
    small = {"trees": 20, "min_data_in_leaf": 20}
    models = {
        str(number): train_recommender(tables, as_of=at(as_of), params=small).model
        for number, as_of in ((1, "2024-04-20"), (2, "2024-05-01"), (3, "2024-05-20"))
    }
    compared = compare_recommenders(tables, models, champion="2", start=START, end=END)
    assert list(compared.refused) == ["3"]
    ndcg = compared.table[compared.table["metric"] == "ndcg@20"].set_index("model")
    assert {"1", "2", "personal top", "popular"} <= set(ndcg.index)
    assert ndcg.loc["2", "value"] > ndcg.loc["popular", "value"]
    assert ndcg.loc["popular", "difference_high"] < 0
    assert pd.notna(compared.verdict("1")["gain_low"])


def test_the_default_holdout_is_the_newest_whole_horizon(tables: dict) -> None:
    start, end = default_holdout(tables, horizon_days=28)
    assert (end - start).days == 28
    assert at("2024-05-25") <= end <= at("2024-06-01")
