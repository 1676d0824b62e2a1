"""A model of cancellation on made shops in which old and paused subscriptions end more often."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from features.subscriptions import read_running_subscriptions
from regulars.errors import ArtifactError, DataError, MissingData
from regulars.models.cancellation import AgeShares, CancellationModel
from regulars.pyfunc import _load_pyfunc
from regulars.settings import Settings
from tests.builders import at, lake_tables, shop_orders
from training.cancellation import train_cancellation
from training.churn import train_churn
from training.metrics import ece
from training.results import Trained
from training.scoring import score_customers

END = at("2024-06-01")
START = datetime(2023, 3, 1)
QUICK = {"most_snapshots": 8}


def chance_in_28_days(age: float, *, paused: bool) -> float:
    return 0.35 if paused else 0.12 if age > 180 else 0.03


def subscriptions(count: int, *, seed: int = 3, until: datetime = datetime(2024, 9, 1)) -> list[dict[str, Any]]:
    """Day by day each may be paused, and ends with a chance that its age and pause say; one in ten customers has two."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        started = START + timedelta(days=float(rng.uniform(0, 440)))
        pauses_after = float(rng.exponential(500))
        row = {"subscription_id": f"s{number}", "customer_id": f"c{number - (number % 10 == 0)}", "started_at": started}
        for age in range(int((until - started).days)):
            paused = age > pauses_after
            if paused:
                row["paused_at"] = started + timedelta(days=pauses_after)
            if rng.random() < 1 - (1 - chance_in_28_days(age, paused=paused)) ** (1 / 28):
                row["cancelled_at"] = started + timedelta(days=age + 0.5)
                break
        rows.append(row)
    return rows


def orders(count: int) -> list[dict[str, Any]]:
    """Of every second customer, one order before the end and one after it."""
    line = {"product_id": "tea", "quantity": 1.0, "unit_price": 5.0}
    days = (datetime(2024, 2, 1), datetime(2024, 8, 1))
    return [
        line | {"order_id": f"{number}-{place}", "customer_id": f"c{number}", "ordered_at": when}
        for number in range(0, count, 2)
        for place, when in enumerate(days)
    ]


def tables_of(folder: Path, rows: list[dict[str, Any]], **more: list[dict[str, Any]]) -> dict[str, ibis.Table]:
    return lake_tables(ibis.duckdb.connect(), folder, subscriptions=rows, **more)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ibis.Table]:
    return tables_of(tmp_path_factory.mktemp("shop"), subscriptions(2_500), orders=orders(2_500))


@pytest.fixture(scope="module")
def trained(shop: dict[str, ibis.Table]) -> Trained:
    return train_cancellation(shop, as_of=END, params=QUICK)


def test_it_beats_what_does_not_know_of_pauses(trained: Trained) -> None:
    assert trained.model.method == "trees_and_linear"
    assert trained.settings["horizon_days"] == 28
    assert not trained.notes
    wide = trained.table.pivot(index="model", columns="metric", values="value")
    ours = wide.loc["regulars"]
    for baseline in ("prevalence", "share by age", "logistic regression on age and renewal"):
        assert ours["log_loss"] < wide.loc[baseline, "log_loss"]
        assert ours["auc"] > wide.loc[baseline, "auc"] + 0.03
    assert ours["ece"] < 0.03


def test_what_it_says_now_is_near_the_chances_that_the_shop_was_made_with(
    shop: dict[str, ibis.Table], trained: Trained
) -> None:
    rows = read_running_subscriptions(shop, as_of=END)
    said = trained.model.predict(rows)["cancellation_probability"].to_numpy()
    pairs = zip(rows["subscription_age_days"] + 14, rows["subscription_is_paused"] == 1, strict=True)
    paused_soon = 0.5 * (1 - np.exp(-28 / 500)) * 0.3  # half of such a horizon, by as much more
    true = np.array([chance_in_28_days(age, paused=paused) + (not paused) * paused_soon for age, paused in pairs])
    assert np.abs(said - true).mean() < 0.03
    assert ece(true, said) < 0.02
    assert np.corrcoef(said, true)[0, 1] > 0.8


def test_nothing_known_later_has_influence(shop: dict[str, ibis.Table], trained: Trained, tmp_path: Path) -> None:
    """The same shop exported at the moment itself: what came after it is not there."""
    end = END.replace(tzinfo=None)
    known = [
        {name: value for name, value in row.items() if not isinstance(value, datetime) or value < end}
        for row in subscriptions(2_500)
        if row["started_at"] < end
    ]
    bought = [row for row in orders(2_500) if row["ordered_at"] < end]
    again = train_cancellation(tables_of(tmp_path, known, orders=bought), as_of=END, params=QUICK)
    pd.testing.assert_frame_equal(again.table, trained.table)
    rows = read_running_subscriptions(shop, as_of=END)
    pd.testing.assert_frame_equal(again.model.predict(rows), trained.model.predict(rows))


def test_saved_and_loaded_it_answers_the_same(shop: dict[str, ibis.Table], trained: Trained, tmp_path: Path) -> None:
    trained.model.save(tmp_path)
    rows = read_running_subscriptions(shop, as_of=END)
    loaded = CancellationModel.load(tmp_path)
    pd.testing.assert_frame_equal(loaded.predict(rows), trained.model.predict(rows))
    assert len(loaded.predict(rows.head(0))) == 0
    for_mlflow = _load_pyfunc(str(tmp_path)).predict(rows).set_index("subscription_id")
    assert for_mlflow["cancellation_probability"].tolist() == loaded.predict(rows)["cancellation_probability"].tolist()
    with pytest.raises(DataError, match="subscription_is_paused is missing"):
        loaded.predict(rows.drop(columns="subscription_is_paused"))
    (tmp_path / "trees.txt").write_text("tree")
    with pytest.raises(ArtifactError, match="altered"):
        CancellationModel.load(tmp_path)


def test_a_small_shop_without_orders_is_answered_by_age(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, subscriptions(60))
    trained = train_cancellation(tables, as_of=END)
    model = trained.model
    assert model.method == "share_by_age"
    assert "share that was cancelled of subscriptions of that age" in trained.notes[0]
    said = model.predict(read_running_subscriptions(tables, as_of=END))["cancellation_probability"]
    assert len(said) > 20
    assert said.between(0.001, 0.5).all()
    assert set(said) <= set(model.by_age.shares)
    (tmp_path / "saved").mkdir()
    model.save(tmp_path / "saved")
    assert CancellationModel.load(tmp_path / "saved").by_age == model.by_age


def test_without_a_past_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(MissingData, match="regulars import subscriptions"):
        train_cancellation({}, as_of=END)
    row = {"subscription_id": "1", "customer_id": "ann", "started_at": datetime(2024, 5, 30)}
    tables = tables_of(tmp_path, [row])
    for moment in (END, at("2020-01-01")):
        with pytest.raises(MissingData, match="give a later --as-of"):
            train_cancellation(tables, as_of=moment)
    with pytest.raises(DataError, match="no setting leaves"):
        train_cancellation(tables, as_of=END, params={"leaves": 3})


def test_renewals_of_an_export_made_later_do_not_tell_who_stayed(tmp_path: Path) -> None:
    """Today's renewal in yesterday's rows: those who stayed renew after the end, those who left had renewed before."""
    rows = subscriptions(1_200, until=END.replace(tzinfo=None))
    renewed = [
        row | {"renews_at": row.get("cancelled_at", END.replace(tzinfo=None)) + timedelta(days=15)} for row in rows
    ]
    trained = [
        train_cancellation(tables_of(tmp_path, given), as_of=END, params={"trees": 20, "most_snapshots": 5})
        for given in (rows, renewed)
    ]
    pd.testing.assert_frame_equal(trained[0].table, trained[1].table)


def test_scores_carry_the_highest_chance_of_a_customers_running_subscriptions(tmp_path: Path) -> None:
    begun = [("c1", 10), ("c1", 100), ("c2", 100), ("c3", 100), ("nobody", 1)]
    rows = [
        {
            "subscription_id": str(place),
            "customer_id": who,
            "started_at": END.replace(tzinfo=None) - timedelta(days=age),
        }
        for place, (who, age) in enumerate(begun)
    ]
    rows[3]["cancelled_at"] = END.replace(tzinfo=None) - timedelta(days=1)
    lines = shop_orders(customers=20, days=200, end=END, seed=2).to_dict("records")
    tables = tables_of(tmp_path, rows, orders=lines)
    churn = train_churn(tables, as_of=END, horizon_days=28).model
    settings = Settings(tmp_path, tmp_path / "lake", "sqlite://", "sqlite://")
    model = CancellationModel(
        pair=None,
        by_age=AgeShares((0.5, 0.4, 0.3, 0.2, 0.1)),
        feature_names=("subscription_age_days",),
        horizon_days=28,
        as_of=END.isoformat(),
    )
    scores = score_customers(tables, churn, as_of=END, settings=settings, cancellation=model)
    told = scores.set_index("customer_id")["cancellation_probability"]
    assert told.dropna().to_dict() == {"c1": 0.5, "c2": 0.3}
    assert len(told) > 5
    assert "cancellation_probability" not in score_customers(tables, churn, as_of=END, settings=settings)
