"""Scores of a shop that is read a slice of customers at a time, and who a large shop's models learn from."""

import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from features.build import customer_features_by_slice
from features.sources.files import import_file
from features.sources.simulated import import_simulated
from regulars.engine import connect
from regulars.lake import Lake
from regulars.settings import Settings
from regulars.slices import LakeTables
from regulars.tables import TABLES
from tests.builders import at
from training.cancellation import train_cancellation
from training.churn import train_churn
from training.learners import learners
from training.scoring import score_customers
from training.value import train_value

AS_OF = at("2023-10-01")
QUICK = {"trees": 20, "most_snapshots": 2}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A simulated shop in four slices of customers."""
    folder = tmp_path_factory.mktemp("large")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("regulars.slices.ROWS_PER_SLICE", 900)
        lake = Lake(folder / "lake")
        refused, truth = folder / "refused", folder / "truth.parquet"
        import_simulated(lake, customers=250, seed=5, name="mail_order", refused_folder=refused, truth_file=truth)
        _subscribe(lake, folder)
        yield lake


def _subscribe(lake: Lake, folder: Path) -> None:
    """Every second customer has subscribed, every fifth of these has cancelled."""
    customers = sorted(set(lake.tables(connect("duckdb"))["orders"].customer_id.execute()))[::2]
    rows = pd.DataFrame({"subscription_id": customers, "customer_id": customers, "started_at": "2023-02-01"})
    rows["cancelled_at"] = ["2023-08-20" if place % 5 == 0 else None for place in range(len(rows))]
    rows.to_csv(folder / "subscriptions.csv", index=False)
    given = {"mapping": {}, "timezone": "UTC", "refused_folder": folder / "refused"}
    import_file(lake, TABLES["subscriptions"], folder / "subscriptions.csv", **given)


def test_slices_say_what_the_whole_says(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sliced = lake.tables(connect("duckdb"))
    churn = train_churn(sliced, as_of=AS_OF, horizon_days=28, params=QUICK | {"members": 2}).model
    value = train_value(sliced, as_of=AS_OF, horizon_days=28, params=QUICK).model
    ending = train_cancellation(sliced, as_of=AS_OF, params=QUICK).model
    models = {"value": value, "cancellation": ending}
    settings = Settings(tmp_path, tmp_path / "lake", "sqlite://", "sqlite://")
    found = score_customers(sliced, churn, as_of=AS_OF, settings=settings, **models)
    monkeypatch.setattr("regulars.slices.ROWS_PER_SLICE", 1_000_000)
    whole = score_customers(lake.tables(connect("duckdb")), churn, as_of=AS_OF, settings=settings, **models)
    assert len(found) > 100
    assert found["cancellation_probability"].notna().sum() > 20
    assert found["customer_id"].is_monotonic_increasing
    pd.testing.assert_frame_equal(found.drop(columns="reasons"), whole.drop(columns="reasons"), rtol=1e-9)
    for mine, other in zip(map(json.loads, found["reasons"]), map(json.loads, whole["reasons"]), strict=True):
        assert [(reason["code"], reason["text"]) for reason in mine] == [(r["code"], r["text"]) for r in other]


def test_a_large_shops_models_learn_from_some_customers_chosen_by_id_alone(lake: Lake) -> None:
    tables = lake.tables(connect("duckdb"))
    everybody = set(tables["orders"].customer_id.execute())
    some, note = learners(tables, as_of=at("2024-06-01"), most=100)
    assert isinstance(some, LakeTables)
    kept = set(some["orders"].customer_id.execute())
    assert note == f"Learnt from one in 4 of {len(everybody):,} customers."
    assert kept < everybody
    assert len(everybody) / 8 < len(kept) < len(everybody) / 2
    assert set(some["customers"].customer_id.execute()) >= kept
    features = set(pd.concat(customer_features_by_slice(some, as_of=at("2024-06-01")))["customer_id"])
    assert features == kept
    assert learners(tables, as_of=AS_OF, most=len(everybody))[0] is tables
