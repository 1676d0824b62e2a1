"""What lies closest to a visitor's vector is what looking at every vector in full finds."""

import numpy as np
import pytest

from regulars.models.retrievers.factors import Factors
from regulars.models.retrievers.fold_kernels import folded_in
from regulars.models.retrievers.reached import best

N, WIDTH = 3_000, 24


@pytest.fixture(scope="module")
def factors() -> Factors:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(N, WIDTH)) * rng.gamma(1.0, 1.0, size=(N, 1))
    vectors[::7] = 0.0
    return Factors(vectors.astype(np.float32), 0.05, 20.0)


def in_full(factors: Factors, wanted: np.ndarray, n: int, kept: np.ndarray | None = None) -> list[int]:
    scores = factors.vectors.astype(float) @ wanted
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > 0]
    return (order if kept is None else order[kept[order]])[:n].tolist()


@pytest.mark.parametrize("n", [1, 40, 80, N])
@pytest.mark.parametrize("seed", range(5))
def test_the_best_are_those_of_all_vectors(factors: Factors, n: int, seed: int) -> None:
    wanted = np.random.default_rng(seed).normal(size=WIDTH)
    found, scores = factors.near_to(wanted, n)
    assert best((found, scores), n).tolist() == in_full(factors, wanted, n)
    assert scores == pytest.approx(factors.vectors[found].astype(float) @ wanted, rel=1e-4, abs=1e-4)
    assert (np.diff(found) > 0).all()


def test_few_are_computed_in_full(factors: Factors) -> None:
    wanted = np.random.default_rng(9).normal(size=WIDTH)
    assert 40 <= len(factors.near_to(wanted, 40)[0]) < 80


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 1.0])
def test_the_best_of_the_allowed_are_among_them(factors: Factors, share: float) -> None:
    rng = np.random.default_rng(3)
    kept, wanted = rng.random(N) < share, rng.normal(size=WIDTH)
    found, scores = factors.near_to(wanted, 40, allowed=kept, n_allowed=30)
    assert best((found, scores), 40).tolist() == in_full(factors, wanted, 40)
    assert best((found[kept[found]], scores[kept[found]]), 30).tolist() == in_full(factors, wanted, 30, kept)


def test_nothing_is_near_to_nothing() -> None:
    empty = Factors(np.zeros((5, 3), np.float32), 0.05, 20.0)
    assert empty.near_to(np.ones(3), 4)[0].tolist() == []
    assert Factors(np.ones((5, 3), np.float32), 0.05, 20.0).near_to(np.zeros(3), 4)[0].tolist() == []
    assert Factors(np.ones((5, 3), np.float32), 0.05, 20.0).near_to(-np.ones(3), 4)[0].tolist() == []


@pytest.mark.parametrize("count", [0, 1, 3, 4, 99])
def test_a_visitors_vector_solves_the_normal_equations(factors: Factors, count: int) -> None:
    rng = np.random.default_rng(count)
    products, confidence = np.sort(rng.choice(N, count, replace=False)), 1 + 9 * rng.random(count)
    own = factors.vectors[products].astype(float)
    left = factors.gram + (own * (confidence - 1)[:, None]).T @ own
    found = folded_in(factors.vectors, factors.gram, products, confidence)
    np.testing.assert_allclose(left @ found, own.T @ confidence, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("width", [1, 7, 8, 13, 64])
def test_any_number_of_factors_is_solved_for(width: int) -> None:
    rng = np.random.default_rng(width)
    vectors, confidence = rng.normal(size=(40, width)).astype(np.float32), 1 + 9 * rng.random(40)
    gram, own = np.eye(width) + 0.1, vectors.astype(float)
    found = folded_in(vectors, gram, np.arange(40), confidence)
    left = gram + (own * (confidence - 1)[:, None]).T @ own
    np.testing.assert_allclose(found, np.linalg.solve(left, own.T @ confidence), rtol=1e-9)
