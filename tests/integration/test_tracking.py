"""Runs and versions, in a real MLflow store."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from regulars.errors import DataError, ModelMissing
from regulars.models.artifact import open_artifact, seal_artifact
from regulars.settings import Settings
from tests.builders import at
from training.results import COLUMNS, Trained
from training.tracking import Tracking, Version


@dataclass(frozen=True)
class Constant:
    """A model that is one number."""

    value: float

    def save(self, folder: Path) -> None:
        (folder / "value.json").write_text(str(self.value))
        seal_artifact(folder, kind="constant", format_version=1, about={})


@pytest.fixture
def tracking(tmp_path: Path) -> Tracking:
    settings = Settings(tmp_path, tmp_path / "lake", "", f"sqlite:///{tmp_path}/mlflow.db")
    return Tracking(settings)


def register(tracking: Tracking, day: str, *, horizon: int = 28, value: float = 0.5) -> Version:
    table = pd.DataFrame([("ours", "auc", 0.8, 0.7, 0.9, "a split")], columns=list(COLUMNS))
    trained = Trained(Constant(value), {"horizon_days": horizon}, {"auc": 0.8}, table, notes=("a note",))
    return tracking.register("churn", trained, as_of=at(day), data_hash="abc")


def test_the_first_version_is_champion_and_the_next_challenger(tracking: Tracking) -> None:
    first, second = register(tracking, "2024-01-01"), register(tracking, "2024-02-01")
    assert (first.number, first.aliases) == (1, ("champion",))
    assert (second.number, second.aliases) == (2, ("challenger",))
    champion = tracking.champion("churn")
    assert champion is not None
    assert champion.number == 1
    assert [version.number for version in tracking.versions("churn")] == [2, 1]


def test_batch_answers_take_the_newest_version_of_that_time_with_the_champions_settings(
    tracking: Tracking,
) -> None:
    register(tracking, "2024-02-01")
    register(tracking, "2024-01-01")
    register(tracking, "2024-03-01")
    register(tracking, "2024-03-15", horizon=60)
    assert tracking.version_for("churn", as_of=at("2024-04-01")).number == 3
    assert tracking.version_for("churn", as_of=at("2024-02-15")).number == 1
    assert tracking.version_for("churn", as_of=at("2024-01-31")).number == 2
    assert tracking.version_for("churn", as_of=at("2024-04-01"), number=4).number == 4


def test_where_no_version_answers_the_way_out_is_named(tracking: Tracking) -> None:
    with pytest.raises(ModelMissing, match="regulars train churn --as-of 2024-01-01"):
        tracking.version_for("churn", as_of=at("2024-01-01"))
    register(tracking, "2024-02-01")
    with pytest.raises(ModelMissing, match="or before"):
        tracking.version_for("churn", as_of=at("2024-01-01"))
    with pytest.raises(ModelMissing, match="saw data up to 2024-02-01"):
        tracking.version_for("churn", as_of=at("2024-01-01"), number=1)
    with pytest.raises(ModelMissing, match="no version 7"):
        tracking.version_for("churn", as_of=at("2024-03-01"), number=7)


def test_a_version_can_be_fetched_and_shown_again(tracking: Tracking, tmp_path: Path) -> None:
    version = register(tracking, "2024-02-01", value=0.25)
    folder = tracking.fetch(version, tmp_path)
    open_artifact(folder, kind="constant", format_version=1)
    assert (folder / "value.json").read_text() == "0.25"
    assert tracking.table(version).splitlines() == [",".join(COLUMNS), "ours,auc,0.8,0.7,0.9,a split"]
    assert tracking.notes(version) == ["a note"]


def verdict(champion: int, low: float, *, worse: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "champion": str(champion),
        "metric": "log_loss",
        "gain": low + 0.1,
        "gain_low": low,
        "gain_high": low + 0.2,
        "worse": list(worse),
    }


def test_only_what_was_compared_and_won_is_promoted(tracking: Tracking) -> None:
    first, second = register(tracking, "2024-01-01"), register(tracking, "2024-02-01")
    with pytest.raises(DataError, match="never compared"):
        tracking.promote("churn", 2, by="ann")
    tracking.keep_comparison(second, verdict(1, -0.01))
    with pytest.raises(DataError, match="not shown to be better"):
        tracking.promote("churn", 2, by="ann")
    tracking.keep_comparison(second, verdict(1, 0.01, worse=("ece",)))
    with pytest.raises(DataError, match="worse in ece"):
        tracking.promote("churn", 2, by="ann")
    tracking.keep_comparison(second, verdict(1, 0.01))
    assert tracking.promote("churn", 2, by="ann").aliases == ("champion",)
    assert tracking.history(second) == [{"promoted_by": "ann"}]
    assert next(v for v in tracking.versions("churn") if v.number == first.number).aliases == ("previous",)
    with pytest.raises(DataError, match="champion already"):
        tracking.promote("churn", 2, by="ann")
    with pytest.raises(ModelMissing, match="no version 9"):
        tracking.promote("churn", 9, by="ann")


def test_a_forced_promotion_records_who_and_why_and_can_be_taken_back(tracking: Tracking) -> None:
    register(tracking, "2024-01-01")
    with pytest.raises(ModelMissing, match="no earlier champion"):
        tracking.rollback("churn", by="ann")
    second = register(tracking, "2024-02-01")
    tracking.promote("churn", 2, by="ann", forced_because="new shop")
    kept = tracking.history(second)[0]
    assert (kept["promoted_by"], kept["because"]) == ("ann", "new shop")
    assert "never compared" in kept["against"]
    assert tracking.rollback("churn", by="bob").number == 1
    assert tracking.rollback("churn", by="bob").number == 2
    assert tracking.history(second)[-1] == {"rolled_back_by": "bob"}
