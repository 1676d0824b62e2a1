"""A churn model learnt on made shops."""

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from features.build import customer_features
from regulars.errors import ArtifactError, DataError, MissingData
from regulars.models.churn import ChurnModel
from tests.builders import at, lake_tables, shop_orders
from training.churn import train_churn
from training.churn_parts import blend_weights
from training.metrics import auc

END = at("2024-06-01")
SMALL = {"members": 2, "trees": 40, "most_snapshots": 8}
BASELINES = {"prevalence", "recency", "RFM logistic regression", "BG/NBD", "LightGBM", "regulars"}


@pytest.fixture(scope="module")
def orders() -> list[dict[str, object]]:
    return shop_orders(customers=300, days=450, end=at("2024-07-01"), seed=5).to_dict("records")


def shop(folder: Path, rows: list[dict[str, object]]) -> dict[str, ibis.Table]:
    folder.mkdir(exist_ok=True)
    return lake_tables(ibis.duckdb.connect(), folder, orders=rows)


def eligible(tables: dict[str, ibis.Table], days: int = 365) -> pd.DataFrame:
    features = customer_features(tables, as_of=END).execute().sort_values("customer_id").set_index("customer_id")
    return features[features["days_since_last_order"] <= days]


@pytest.fixture(scope="module")
def trained(orders: list, tmp_path_factory: pytest.TempPathFactory) -> tuple[object, dict[str, ibis.Table]]:
    tables = shop(tmp_path_factory.mktemp("shop"), orders)
    return train_churn(tables, as_of=END, horizon_days=28, params=SMALL), tables


def test_it_stands_beside_its_baselines(trained: tuple) -> None:
    result, _ = trained
    aucs = result.table[result.table["metric"] == "auc"].set_index("model")["value"]
    assert set(aucs.index) == BASELINES
    assert aucs["prevalence"] == 0.5
    assert aucs["regulars"] > 0.6
    assert (result.table["low"] <= result.table["high"]).all()
    assert "learnt on" in result.table["split"].iloc[0]


def test_probabilities_rank_who_really_leaves_later(trained: tuple, orders: list) -> None:
    result, tables = trained
    features = eligible(tables)
    predicted = result.model.predict(features)
    later = {
        row["customer_id"]
        for row in orders
        if END.replace(tzinfo=None) <= row["ordered_at"] < pd.Timestamp("2024-06-29")
    }
    churned = np.array([customer not in later for customer in features.index], dtype=float)
    assert auc(churned, predicted["churn_probability"].to_numpy()) > 0.7
    assert predicted["churn_probability"].mean() == pytest.approx(churned.mean(), abs=0.1)
    assert (predicted["churn_low"] <= predicted["churn_probability"]).all()
    assert (predicted["churn_probability"] <= predicted["churn_high"]).all()


def test_reasons_name_different_things_in_words(trained: tuple) -> None:
    result, tables = trained
    features = eligible(tables).head(20)
    for reasons in result.model.reasons(features):
        assert 1 <= len(reasons) <= 3
        assert len({reason.code for reason in reasons}) == len(reasons)
        assert all(reason.text and -1 <= reason.effect <= 1 for reason in reasons)
        assert [abs(r.effect) for r in reasons] == sorted((abs(r.effect) for r in reasons), reverse=True)


def test_what_is_not_known_yet_has_no_influence(trained: tuple, orders: list, tmp_path: Path) -> None:
    result, tables = trained
    cut = [row for row in orders if row["ordered_at"] < END.replace(tzinfo=None)]
    assert len(cut) < len(orders)
    again = train_churn(shop(tmp_path / "cut", cut[::-1]), as_of=END, horizon_days=28, params=SMALL)
    pd.testing.assert_frame_equal(again.table, result.table)
    features = eligible(tables)
    pd.testing.assert_frame_equal(again.model.predict(features), result.model.predict(features))


def test_saved_and_loaded_it_answers_the_same(trained: tuple, tmp_path: Path) -> None:
    result, tables = trained
    result.model.save(tmp_path)
    features = eligible(tables)
    loaded = ChurnModel.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.predict(features), result.model.predict(features))
    assert loaded.reasons(features.head(3)) == result.model.reasons(features.head(3))
    (tmp_path / "trees-0.txt").write_text("tree")
    with pytest.raises(ArtifactError, match=r"trees-0\.txt was altered"):
        ChurnModel.load(tmp_path)


def test_a_missing_feature_is_named(trained: tuple) -> None:
    result, tables = trained
    with pytest.raises(DataError, match="days_since_last_order is missing"):
        result.model.predict(eligible(tables).drop(columns="days_since_last_order"))


def test_a_tiny_shop_is_answered_by_buy_till_you_die_alone(tmp_path: Path) -> None:
    rows = shop_orders(customers=8, days=120, end=END, seed=1).to_dict("records")
    result = train_churn(shop(tmp_path / "tiny", rows), as_of=END)
    assert "buy-till-you-die model alone" in result.notes[-1]
    assert result.model.predict(eligible(shop(tmp_path / "tiny", rows)))["churn_probability"].between(0, 1).all()


def test_the_horizon_follows_from_the_shops_rhythm(orders: list, tmp_path: Path) -> None:
    result = train_churn(shop(tmp_path / "shop", orders), as_of=END, params=SMALL)
    assert result.settings["horizon_days"] in (7, 14, 28, 60, 90)
    assert result.settings["lookback_days"] == 365
    assert "churned means no order within" in result.notes[0]


def test_wrong_input_is_said(trained: tuple) -> None:
    _, tables = trained
    with pytest.raises(MissingData, match="later --as-of"):
        train_churn(tables, as_of=at("1999-01-01"))
    with pytest.raises(DataError, match="no setting wings"):
        train_churn(tables, as_of=END, params={"wings": 2})


def test_a_blend_trusts_what_is_right() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=4_000)
    churned = (rng.random(4_000) < 1 / (1 + np.exp(-truth))).astype(float)
    noise = rng.normal(size=(4_000, 2))
    blend = blend_weights([(np.column_stack([truth, noise]), churned)])
    assert blend.weights[0] > 0.7
    assert max(blend.weights[1:]) < 0.15
