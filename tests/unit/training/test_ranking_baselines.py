"""Baselines of recommendations are tuned on an earlier snapshot as the model is."""

from dataclasses import replace
from pathlib import Path

import ibis
import pytest

from tests.builders import at, lake_tables, shop_orders
from training.lessons import Snapshot
from training.ranking_baselines import BASELINES, Lists
from training.recommender import snapshot_at
from training.retrieving import fit_factors


@pytest.fixture(scope="module")
def snapshot(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    orders = shop_orders(customers=120, days=300, end=at("2024-06-01"), seed=5).to_dict("records")
    tables = lake_tables(ibis.duckdb.connect(), Path(tmp_path_factory.mktemp("shop")), orders=orders)
    return snapshot_at(tables, at("2024-04-01"), at("2024-05-01"), seed=0)


def test_another_setting_of_als_is_a_model_of_its_own(snapshot: Snapshot) -> None:
    baseline, examples = BASELINES["implicit ALS"], snapshot.examples[:20]
    usual, other = baseline.settings[:2]
    refitted = fit_factors(snapshot.visits, len(snapshot.retrieval.ids), alpha=other, seed=0)
    told = baseline.lists(snapshot, examples, other, 10, 0)
    assert told == [refitted.candidates(example.known, 10).tolist() for example in examples]
    own = baseline.lists(snapshot, examples, usual, 10, 0)
    assert own == [snapshot.retrieval.factors.candidates(example.known, 10).tolist() for example in examples]


def test_the_setting_that_did_best_on_an_earlier_snapshot_is_taken(snapshot: Snapshot) -> None:
    """A method that says the truth where its setting is 2."""

    def lists(of: Snapshot, examples: object, setting: float, n: int, seed: int) -> Lists:
        return [list(map(int, example.targets))[: n if setting == 2 else 0] for example in of.examples]

    baseline = replace(BASELINES["implicit ALS"], lists=lists, settings=(1.0, 2.0, 3.0))
    assert baseline.tuned(snapshot, seed=0) == 2.0
    assert baseline.tuned(None, seed=0) == 1.0
