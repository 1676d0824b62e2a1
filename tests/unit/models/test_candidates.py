"""What masks allow, beside plain NumPy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.models.retrievers.candidate_kernels import (
    FEW_OF,
    TRIED,
    _highest_allowed,
    _mark_best,
    _marked,
    count_allowed,
    popular_of,
    rows_allowed,
)
from regulars.models.retrievers.popular import Popular

COUNT = 80 * FEW_OF + 3


@pytest.fixture(scope="module")
def popular() -> Popular:
    wanted = (
        np.random.default_rng(0).integers(0, 50, COUNT).astype(np.float32)
    )  # many of equal popularity, some of none
    return Popular(np.repeat(wanted[:, None], 4, axis=1))


@pytest.mark.parametrize("allowed_of", [0, 1, 7, 79, 80, 81, 500, COUNT])
@pytest.mark.parametrize("most", [1, 30, 500])
def test_the_most_popular_of_the_allowed_are_the_first_in_order(popular: Popular, allowed_of: int, most: int) -> None:
    allowed = np.zeros(COUNT, bool)
    allowed[np.random.default_rng(allowed_of).choice(COUNT, allowed_of, replace=False)] = True
    wanted = popular.order[allowed[popular.order]][:most]
    assert popular_of(popular.arrays, allowed, most).tolist() == wanted.tolist()


def test_a_catalogue_is_not_tried_in_order_only() -> None:
    assert COUNT > TRIED


@pytest.mark.parametrize("count", [0, 5, 8, 64, 999])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.7, 1.0])
def test_allowed_rows_are_counted_and_listed(count: int, share: float) -> None:
    allowed = np.random.default_rng(count).random(count) < share
    rows = np.flatnonzero(allowed)
    assert count_allowed(allowed) == len(rows)
    assert rows_allowed(allowed, len(rows)).tolist() == rows.tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_the_highest_of_the_allowed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.flatnonzero(rng.random(3_000) < rng.random())
    scores = rng.choice(
        [rng.random(len(found)), rng.integers(1, 4, len(found)).astype(float)]
    )  # few values, so many ties
    allowed, n = rng.random(3_000) < rng.choice([0.001, 0.1, 0.6, 1.0]), int(rng.integers(1, 60))
    kept = allowed[found]
    order = np.lexsort((found[kept], -scores[kept]))[:n]
    assert _highest_allowed((found, scores), allowed, n).tolist() == found[kept][order].tolist()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_the_best_and_the_best_of_the_allowed_are_marked(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.flatnonzero(rng.random(3_000) < rng.choice([0.01, 0.5]))
    scores = rng.integers(1, 40, len(found)).astype(float)
    allowed = rng.random(3_000) < rng.choice([0.0, 0.1, 0.5, 0.9, 1.0])
    most, most_allowed = (int(rng.integers(1, 80)) for _ in range(2))
    bits = np.zeros(3_000 // 64 + 1, np.uint64)
    _mark_best((found, scores), most, allowed, most_allowed, bits)
    order = np.lexsort((found, -scores))
    wanted = {*found[order][:most].tolist(), *found[order][allowed[found[order]]][:most_allowed].tolist()}
    assert set(_marked(bits).tolist()) == wanted
