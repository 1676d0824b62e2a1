"""Compiled sums beside plain ones."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.models.pair_kernels import looked_up_columns, rank_rows
from regulars.models.retrievers.kernels import (
    DENSE,
    SUMS,
    add_neighbours,
    add_rows,
    add_spans,
    collected,
    cosines,
    looked_up,
    spans_summed,
    speaks_for,
)
from regulars.models.retrievers.visit_kernels import products_of_visits, visits_holding
from regulars.models.selection import bound_of, descending, highest, merged, reaching

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
    for count in (200, 10 * DENSE):  # few additions per row, and many
        rows %= count
        add_spans(rows, values, starts, chosen, weights, sums, touched)
        noted = collected(sums, touched)
        at_once = spans_summed(rows, values, starts, chosen, weights, count, sums, touched)
        assert [part.tolist() for part in at_once] == [part.tolist() for part in noted]
        assert not sums.any()
        assert not touched.any()


def test_scores_are_looked_up_and_absent_ones_are_zero() -> None:
    found, scores = np.array([2, 5, 9]), np.array([1.0, 2.0, 3.0])
    assert looked_up(found, scores, np.array([9, 2, 3, 99, 0])).tolist() == [3.0, 1.0, 0.0, 0.0, 0.0]
    assert looked_up(found[:0], scores[:0], np.array([1])).tolist() == [0.0]


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_the_highest_come_first_ties_by_row(seed: int) -> None:
    rng = np.random.default_rng(seed)
    found = np.flatnonzero(rng.random(200) < rng.random())
    scores = rng.integers(-2, 6, len(found)).astype(float)  # few values, so many ties
    n = int(rng.integers(0, 40))
    order = np.lexsort((found, -scores))
    assert highest(found, scores, n).tolist() == found[order][scores[order] > 0][:n].tolist()


def test_every_bit_of_a_word_is_collected_and_cleared() -> None:
    sums, touched = SUMS.of(200)
    rows = np.array([0, 7, 8, 63, 64, 127, 128, 199])
    add_rows(np.append(rows, 5), np.append(np.arange(1.0, 9.0), 0.0), sums, touched)  # a sum of 0 is left out
    found, scores = collected(sums, touched)
    assert (found.tolist(), scores.tolist()) == (rows.tolist(), list(range(1, 9)))
    assert not sums.any()
    assert not touched.any()


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_few_more_than_the_highest_reach_the_bound_where_none_are_equal(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, n = np.exp(rng.normal(0, rng.choice([0.01, 1, 20]), int(rng.integers(0, 2_000)))), int(rng.integers(0, 100))
    found = reaching(scores, bound_of(scores, n))
    assert found.tolist() == sorted(found)
    assert set(np.argsort(-scores)[:n]) <= set(found)
    assert len(found) <= 1.25 * n + 4


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_scores_of_any_kind_are_put_in_order(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 900))
    kinds = (
        rng.integers(1, 4, count),
        np.exp(rng.normal(0, 30, count)),
        np.append(1e-300, 1 + 1e-12 * rng.random(count)),
    )
    for scores in kinds:
        order = descending(scores.astype(float))
        assert order.tolist() == np.argsort(-scores, kind="stable").tolist()


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_merging_keeps_the_order_of_equals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 300))
    for keys in (rng.integers(-3, 4, count), rng.normal(size=count).round(1)):
        assert merged(keys).tolist() == np.argsort(keys, kind="stable").tolist()


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_columns_hold_what_is_looked_up_alone(seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [np.flatnonzero(rng.random(500) < share) for share in (0.0, 0.02, 0.9, 0.3)]
    scores = [rng.random(len(part)) for part in parts]
    rows = np.flatnonzero(rng.random(500) < 0.1)
    into, sums = np.full((4, len(rows)), -1.0), np.zeros(500)
    ends = np.cumsum([len(part) for part in parts])
    places = np.array([2, -1, 0, 3])
    looked_up_columns(np.concatenate(parts), np.concatenate(scores), ends, rows, places, sums, into)
    assert into[2].tolist() == looked_up(parts[0], scores[0], rows).tolist()
    assert into[0].tolist() == looked_up(parts[2], scores[2], rows).tolist()
    assert into[3].tolist() == looked_up(parts[3], scores[3], rows).tolist()
    assert (into[1] == -1).all()  # nobody asked for it
    assert not sums.any()


def test_ranks_are_of_what_was_told_the_first_of_equals_before() -> None:
    into = np.empty((1, 5))
    rank_rows(np.array([[0.0] * 5, [0.2, 0.0, 0.5, 0.2, 0.1]]), np.array([1]), into)
    np.testing.assert_array_equal(into, [[2.0, np.nan, 1.0, 3.0, 4.0]])


def test_the_cosine_of_words_by_hand() -> None:
    """Products 0: word 0; 1: words 0 and 1 alike; 2: no words. Asked with product 0 twice as much as product 1."""
    half = 0.5**0.5
    words, weights = np.array([0, 0, 1], np.int32), np.array([1.0, half, half], np.float32)
    starts = np.array([0, 1, 3, 3])
    told, (sums, touched) = np.empty(3), SUMS.of(2)
    products, shares, rows = np.array([0, 1]), np.array([2.0, 1.0]), np.array([0, 1, 2])
    cosines(words, weights, starts, products, shares, rows, sums, touched, told)
    assert not sums.any()
    assert not touched.any()
    asked = np.array([2 + half, half]) / np.hypot(2 + half, half)
    np.testing.assert_allclose(told, [asked[0], half * asked.sum(), 0.0], rtol=1e-6)


def test_products_of_alike_visits_by_hand() -> None:
    """The current visit is 4, 5 (5 the latest). Visit 0: 5, 7, 8 parts from it at 5; visit 1: 9, 4 at 4, one step earlier."""
    products, starts = np.array([5, 7, 8, 9, 4], np.int32), np.array([0, 3, 5])
    rows, weights, after = products_of_visits(
        np.array([0, 1]), np.array([1.0, 0.5]), np.array([4, 5]), products, starts, 2.0
    )
    assert rows.tolist() == [5, 7, 8, 9, 4]
    np.testing.assert_allclose(weights, [1.0, 1.0, 1.0, 0.45, 0.45])
    np.testing.assert_allclose(after, [0.0, np.exp(-0.5), np.exp(-1.0), 0.0, 0.0])


def test_the_newest_visits_that_hold_a_product_by_hand() -> None:
    """The current visit is 0, 1. Product 0 is in visits 9 and 4, product 1 in 9, 7 and 2; three are looked at."""
    starts, postings = np.array([0, 2, 5]), np.array([9, 4, 9, 7, 2], np.int32)
    sums, touched = SUMS.of(10)
    held, likeness = visits_holding(np.array([0, 1]), starts, postings, 3, sums, touched)
    assert (held.tolist(), likeness.tolist()) == ([9, 7, 4], [1.5, 1.0, 0.5])
    assert visits_holding(np.zeros(0, np.int64), starts, postings, 3, sums, touched)[0].tolist() == []


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_the_newest_visits_that_hold_a_product_of_many(seed: int) -> None:
    rng = np.random.default_rng(seed)
    visits, products = int(rng.integers(1, 400)), int(rng.integers(1, 10))
    lists = [
        np.sort(rng.choice(visits, int(rng.integers(0, visits + 1)), replace=False))[::-1] for _ in range(products)
    ]
    starts, recent = np.cumsum([0, *map(len, lists)]), int(rng.integers(1, 200))
    sums, touched = SUMS.of(visits)
    visit = rng.permutation(products)
    held, likeness = visits_holding(visit, starts, np.concatenate(lists).astype(np.int32), recent, sums, touched)
    late = {one: sum((at + 1) / products for at, p in enumerate(visit) if one in lists[p]) for one in range(visits)}
    wanted = [one for one in range(visits - 1, -1, -1) if late[one]][:recent]
    assert held.tolist() == wanted
    np.testing.assert_allclose(likeness, [late[one] for one in wanted])
    assert not sums.any()
    assert not touched.any()


def test_who_speaks_for_a_product_is_the_first_of_the_strongest() -> None:
    rows = np.array([[1, 2], [2, 0], [0, 2]], np.int32)
    values = np.array([[0.9, 0.5], [0.5, 0.1], [0.0, 0.9]], np.float32)
    products, weights = np.array([0, 1]), np.array([1.0, 1.0])
    assert speaks_for(rows, values, products, weights, 2) == 0
    assert speaks_for(rows, values, products, np.array([1.0, 2.0]), 2) == 1
    assert speaks_for(rows, values, np.array([2]), np.ones(1), 0) == -1
