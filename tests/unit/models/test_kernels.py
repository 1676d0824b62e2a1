"""Compiled sums beside plain ones."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.models.retrievers.kernels import SUMS, add_neighbours, add_spans, collected, looked_up

SEEDS = st.integers(0, 10_000)


def plain(rows: np.ndarray, scores: np.ndarray, count: int) -> tuple[list[int], np.ndarray]:
    sums = np.bincount(rows, weights=scores, minlength=count)
    found = np.flatnonzero(sums > 0)
    return found.tolist(), sums[found]


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_neighbours_of_several_products_are_summed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, near = int(rng.integers(1, 300)), int(rng.integers(1, 6))
    rows = rng.integers(-1, count, (count, near)).astype(np.int32)
    values = rng.random((count, near)).astype(np.float32)
    products, weights = rng.integers(0, count, 20), rng.random(20)
    sums, touched = SUMS.of(count)
    add_neighbours(rows, values, products, weights, sums, touched)
    found, scores = collected(sums, touched)
    kept = rows[products] >= 0
    wanted = plain(rows[products][kept], (values[products] * weights[:, None])[kept], count)
    assert found.tolist() == wanted[0]
    np.testing.assert_allclose(scores, wanted[1])
    assert not sums.any()
    assert not touched.any()


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_spans_are_summed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    starts = np.append(0, np.cumsum(rng.integers(0, 5, 10)))
    rows = rng.integers(0, 200, starts[-1]).astype(np.int32)
    values = rng.random(starts[-1]).astype(np.float32)
    chosen, weights = rng.integers(0, 10, 4), rng.random(4)
    sums, touched = SUMS.of(200)
    add_spans(rows, values, starts, chosen, weights, sums, touched)
    found, scores = collected(sums, touched)
    places = np.concatenate([np.arange(starts[one], starts[one + 1]) for one in chosen])
    weight = np.repeat(weights, starts[chosen + 1] - starts[chosen])
    wanted = plain(rows[places], values[places] * weight, 200)
    assert found.tolist() == wanted[0]
    np.testing.assert_allclose(scores, wanted[1])


def test_scores_are_looked_up_and_absent_ones_are_zero() -> None:
    found, scores = np.array([2, 5, 9]), np.array([1.0, 2.0, 3.0])
    assert looked_up(found, scores, np.array([9, 2, 3, 99, 0])).tolist() == [3.0, 1.0, 0.0, 0.0, 0.0]
    assert looked_up(found[:0], scores[:0], np.array([1])).tolist() == [0.0]
