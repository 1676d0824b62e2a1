"""What the service decided, as assignments and outcomes of the lake."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import ibis

from features.assignments import assigned_rows
from regulars.lake import Lake
from serving.services.compaction import Compacted, compact
from serving.store import open_store
from serving.store.database import Store
from serving.store.decisions import DecisionRow, OutcomeRow, add_outcome, hold
from serving.store.events import set_compacted
from tests.builders import at

NOW = at("2024-05-01")


def written(number: int, who: str, offer: str | None, propensity: float) -> DecisionRow:
    made_at = NOW + timedelta(hours=number)
    answer = json.dumps({"policy_version": "offers-3"})
    return DecisionRow(
        f"dec_{number}", who, "home", "", offer, answer, made_at, made_at + timedelta(days=1), propensity
    )


def decide(store: Store, number: int, who: str, offer: str | None, propensity: float) -> None:
    assert hold(store, written(number, who, offer, propensity))


def moved(store: Store, folder: Path) -> Compacted:
    return compact(store, Lake(folder / "lake"), timezone="UTC", refused_folder=folder / "refused")


def test_decisions_that_were_drawn_become_assignments_and_what_followed_their_outcomes(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    decide(store, 0, "ann", "ten", 0.9)
    decide(store, 1, "bob", None, 0.1)
    decide(store, 2, "cy", None, 1.0)  # the rules alone left nothing to draw
    decide(store, 3, "anonymous:x", "ten", 0.9)
    for number in (0, 2):
        add_outcome(store, OutcomeRow(f"dec_{number}", "converted", NOW + timedelta(days=2), 30.0, NOW))
    assert moved(store, tmp_path).decisions == 3  # two decisions and one outcome
    tables = Lake(tmp_path / "lake").tables(ibis.duckdb.connect())
    rows = assigned_rows(tables, as_of=at("2024-08-01"), horizon_days=28, outcome="converted")
    assert rows[["customer_id", "offer_id", "propensity", "outcome"]].values.tolist() == [
        ["ann", "ten", 0.9, 1.0],
        ["bob", "", 0.1, 0.0],
    ]
    assert set(rows["policy_version"]) == {"offers-3"}
    assert moved(store, tmp_path).decisions == 0
    decide(store, 4, "dee", "ten", 0.9)
    assert moved(store, tmp_path).decisions == 1
    before = Lake(tmp_path / "lake").manifest()
    set_compacted(store, 0, "compacted_decisions")  # as if killed before it was noted
    moved(store, tmp_path)
    assert Lake(tmp_path / "lake").manifest() == before
    store.close()


def test_a_decision_that_was_written_late_is_not_missed(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    decide(store, 1, "ann", "ten", 0.9)
    moved(store, tmp_path)
    hold(store, replace(written(0, "bob", "ten", 0.9), created_at=NOW + timedelta(minutes=56)))
    assert moved(store, tmp_path).decisions == 0  # none that is newer
    rows = Lake(tmp_path / "lake").tables(ibis.duckdb.connect())["assignments"].execute()
    assert set(rows["customer_id"]) == {"ann", "bob"}
    store.close()
