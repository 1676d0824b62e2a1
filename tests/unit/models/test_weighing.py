"""A weighing in one call is what its parts give one after the other."""

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from regulars.ids import IdMap
from regulars.models.compiled import compiled
from regulars.models.history import NOTHING, History, Known, known_history
from regulars.models.kept import keep
from regulars.models.pairs import NAMES
from regulars.models.ranker import Ranker
from regulars.models.weighing import Weigher
from tests.builders import random_retrieval
from tests.parts import candidates, pair_features

NOW, DAY = 1_700_000_000, 86_400
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
RETRIEVAL = random_retrieval(IDS)
LONG = History(
    ["tea", "axe", "pot", "tea", "saw", "cup", "axe"],
    NOW - np.array([90, 60, 60, 30, 2, 1, 0]) * DAY - np.arange(7, 0, -1) * 60,
    ["purchase", "purchase", "purchase", "view", "cart", "view", "other"],
)
LOOKING = History(["tea", "axe", "pot"], NOW - np.array([900, 600, 10]), ["view", "cart", "view"])


@compiled
def sum_of(kept: Any) -> float:
    return kept.told[0].sum() + kept.told[1]


histories = pytest.mark.parametrize("history", [LONG, LOOKING, NOTHING], ids=["long", "looking", "nothing"])


def known(history: History) -> Known:
    return known_history(history, IDS, moment=NOW)


@pytest.fixture(scope="module", params=[8, 40], ids=["plain trees", "trees of many leaves"])
def ranker(request: pytest.FixtureRequest) -> Ranker:
    rng = np.random.default_rng(0)
    features = np.vstack(
        [pair_features(RETRIEVAL, known(one), np.arange(6), moment=NOW) for one in (LONG, LOOKING)] * 40
    )
    features = features + rng.normal(size=features.shape)
    params = {"verbosity": -1, "num_leaves": request.param, "min_data_in_leaf": 1, "num_threads": 1}
    booster = lgb.train(params, lgb.Dataset(features, rng.normal(size=len(features))), 5)
    return Ranker([booster.model_to_string()] * 2)


@histories
@pytest.mark.parametrize("repeat", ["auto", "never"])
@pytest.mark.parametrize("allowed", [None, ["cup", "nail"]])
def test_scores_are_those_of_the_parts(
    history: History, repeat: str, allowed: list[str] | None, ranker: Ranker
) -> None:
    mask = None if allowed is None else IDS.mask(allowed)
    rows, scores = Weigher(RETRIEVAL).scored(known(history), ranker, moment=NOW, repeat=repeat, allowed=mask)
    assert rows.tolist() == candidates(RETRIEVAL, known(history), repeat=repeat, allowed=mask).tolist()
    features = pair_features(RETRIEVAL, known(history), rows, moment=NOW)
    assert scores.tolist() == ranker.predict(features).tolist()


@histories
def test_features_are_those_of_all_candidates_and_of_what_is_to_be_among_them(history: History) -> None:
    one, also = known(history), IDS.rows(["pot", "nail"])  # who looks at the pot is not proposed it
    rows, features = Weigher(RETRIEVAL).featured(one, moment=NOW, also=also)
    assert rows.tolist() == np.union1d(candidates(RETRIEVAL, one), also).tolist()
    np.testing.assert_array_equal(features, pair_features(RETRIEVAL, one, rows, moment=NOW))


def test_without_a_ranker_own_purchases_come_before_what_is_popular() -> None:
    rows, scores = Weigher(RETRIEVAL).scored(known(LONG), None, moment=NOW)
    told = dict(zip(NAMES, pair_features(RETRIEVAL, known(LONG), rows, moment=NOW).T.astype(float), strict=True))
    wanted = told["bought_faded_90d"] + 0.1 * told["near_baskets"] + 1e-4 * told["popular_120d"]
    assert scores == pytest.approx(wanted)


def test_what_is_kept_is_read_where_it_lies() -> None:
    array = np.arange(3.0)
    kept = keep((array, 7))
    array[1] = 5.0
    assert sum_of(kept) == 14.0
