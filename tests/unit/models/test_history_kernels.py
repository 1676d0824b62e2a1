"""What is read off a history, beside the plain way."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.models.history_kernels import bought_on, distinct, latest_first, visit_start, visited

SEEDS = st.integers(0, 10_000)


def made(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of few products, and their ages in days, oldest first, many of them equal."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 60))
    return rng.integers(0, 12, count), np.sort(rng.integers(0, 20, count) / 48)[::-1].copy()


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_distinct_products_and_their_weights(seed: int) -> None:
    rows, _ = made(seed)
    faded = np.random.default_rng(seed).random(len(rows))
    products, place, weights = distinct(rows, faded)
    wanted, inverse = np.unique(rows, return_inverse=True)
    assert (products.tolist(), place.tolist()) == (wanted.tolist(), inverse.tolist())
    assert weights.tolist() == np.bincount(inverse, weights=faded, minlength=len(wanted)).tolist()
    assert latest_first(products, place).tolist() == list(dict.fromkeys(rows[::-1].tolist()))


@settings(max_examples=50, deadline=None)
@given(SEEDS)
def test_the_latest_visit(seed: int) -> None:
    rows, days = made(seed)
    breaks = np.flatnonzero(days[:-1] - days[1:] > 1 / 24)
    start = breaks[-1] + 1 if len(breaks) else 0
    assert visit_start(days, 1 / 24) == start
    found, later = visited(rows, days, start)
    backwards, ages = rows[start:][::-1], days[start:][::-1]
    first = np.sort(np.unique(backwards, return_index=True)[1])
    assert found.tolist() == backwards[first].tolist()
    assert later.tolist() == np.searchsorted(np.unique(ages), ages[first]).tolist()


def test_on_how_many_days_a_product_was_bought() -> None:
    rows, days = np.array([3, 3, 5, 3, 3]), np.array([40.9, 40.1, 30.0, 20.5, 1.5])
    bought = np.array([True, True, True, True, False])
    assert bought_on(rows, days, bought, 3) == (True, 2, 20.0)
    assert bought_on(rows, days, bought, 4) == (False, 0, 0.0)
