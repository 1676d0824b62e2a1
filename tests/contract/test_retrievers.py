"""What every retriever promises, on a shop whose right answer is known."""

import numpy as np
import pytest

from regulars.ids import IdMap
from regulars.models.history import NOTHING, History, Known, known_history
from regulars.models.retrievers.categories import Categories
from regulars.models.retrievers.factors import Factors
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.popular import Popular
from regulars.models.retrievers.repeat import Repeat
from tests.builders import tiny_retrieval

NOW = 1_700_000_000
DAY = 86_400
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
Retriever = Repeat | Popular | Factors | Neighbours | Categories

TINY = tiny_retrieval(IDS)
RETRIEVERS: dict[str, Retriever] = {
    "repeat": TINY.repeat,
    "popular": TINY.popular,
    "factors": TINY.factors,
    "baskets": TINY.baskets,
    "visitors": TINY.visitors,
    "categories": TINY.categories,
}
every = pytest.mark.parametrize("retriever", RETRIEVERS.values(), ids=RETRIEVERS)


def known(*products: str) -> Known:
    at = np.array([NOW - DAY * (len(products) - place) for place in range(len(products))])
    return known_history(History(products, at, ["purchase"] * len(products)), IDS, moment=NOW)


@every
@pytest.mark.parametrize("n", [1, 3, 100])
def test_never_more_than_asked_never_twice_never_what_is_not_there(retriever: Retriever, n: int) -> None:
    rows = retriever.candidates(known("tea", "pot", "tea"), n)
    assert len(rows) <= n
    assert len(set(rows.tolist())) == len(rows)
    assert all(0 <= row < len(IDS) for row in rows)


@every
def test_best_first(retriever: Retriever) -> None:
    history = known("tea", "pot", "cup", "tea")
    rows = retriever.candidates(history, 6)
    scores = retriever.scores(history, rows)
    if not isinstance(retriever, Categories):  # its scores are of the category, its order also of the product
        assert (np.diff(scores) <= 1e-6).all()


@every
def test_an_empty_history_is_no_error(retriever: Retriever) -> None:
    nothing = known_history(NOTHING, IDS, moment=NOW)
    rows = retriever.candidates(nothing, 3)
    assert len(rows) == (3 if isinstance(retriever, Popular) else 0)
    assert np.isfinite(retriever.scores(nothing, np.arange(len(IDS)))).all()


@every
def test_the_same_answer_each_time(retriever: Retriever) -> None:
    history = known("axe", "saw")
    assert retriever.candidates(history, 4).tolist() == retriever.candidates(history, 4).tolist()


def test_repeat_counts_recent_purchases_most() -> None:
    at = np.array([NOW - 300 * DAY, NOW - 299 * DAY, NOW - DAY])
    history = known_history(History(("tea", "tea", "pot"), at, ("purchase",) * 3), IDS, moment=NOW)
    assert IDS.ids(Repeat(60.0).candidates(history, 2)) == ["pot", "tea"]
    assert Repeat(60.0).scores(history, IDS.rows(["pot"]))[0] == pytest.approx(0.5 ** (1 / 60))


def test_repeat_leaves_out_what_was_only_looked_at() -> None:
    history = known_history(History(("tea",), np.array([NOW - DAY]), ("view",)), IDS, moment=NOW)
    assert not len(Repeat().candidates(history, 5))


def test_neighbours_find_what_goes_together() -> None:
    assert set(IDS.ids(TINY.baskets.candidates(known("tea"), 2))) == {"pot", "cup"}
    assert set(IDS.ids(TINY.baskets.candidates(known("axe"), 2))) == {"saw", "nail"}
    assert TINY.baskets.source(IDS.rows(["axe", "tea"]), np.ones(2), IDS.row("pot")) == IDS.row("tea")


def test_a_folded_in_visitor_is_the_one_that_least_squares_gives() -> None:
    """Hu, Koren & Volinsky's equation 4 solved by hand: x = (Y'CY + lI)^-1 Y'Cp."""
    history = known("tea", "pot")
    factors = TINY.factors
    vectors = factors.vectors.astype(float)
    confidence, liked = np.ones(len(IDS)), np.zeros(len(IDS))
    confidence[history.products] = 1 + factors.alpha * np.log1p(history.weights)
    liked[history.products] = 1
    left = vectors.T @ np.diag(confidence) @ vectors + factors.regularization * np.eye(vectors.shape[1])
    assert factors.fold_in(history) == pytest.approx(np.linalg.solve(left, vectors.T @ (confidence * liked)))


def test_categories_propose_what_was_never_touched() -> None:
    assert IDS.row("cup") in TINY.categories.candidates(known("tea"), 3)
    assert IDS.row("axe") not in TINY.categories.candidates(known("tea"), 3)
