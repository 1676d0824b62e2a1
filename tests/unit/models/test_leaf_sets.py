"""Sets of rows beside plain Python; sums of trees beside LightGBM are in test_trees."""

import numpy as np
import pytest

from regulars.models.compiled import compiled
from regulars.models.leaf_sets import Nodes, leaf_sets
from regulars.models.row_sets import (
    CODES,
    MOST_ROWS,
    TOGETHER,
    WORDS,
    divide,
    mark_above,
    mark_above_or_missing,
    name_rows,
)


@compiled
def marked(values: np.ndarray, bound: np.floating, sets: np.ndarray) -> None:
    for first in range(0, len(values), TOGETHER):
        mark_above(values, first, bound, sets, 1)
        mark_above_or_missing(values, first, bound, sets, 2)


@compiled
def divided(tests: np.ndarray, sets: np.ndarray) -> None:
    divide(tests, 1, sets, 3, 0, 2)


@compiled
def named(sets: np.ndarray, names: np.ndarray) -> None:
    name_rows(sets, names)


def held(sets: np.ndarray, place: int) -> list[int]:
    bits = np.unpackbits(sets[WORDS * place : WORDS * (place + 1)].view(np.uint8), bitorder="little")
    return np.flatnonzero(bits).tolist()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_rows_above_a_bound_are_marked_and_missing_ones_as_told(kind: type[np.floating]) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 5, MOST_ROWS).astype(kind)
    values[::7] = np.nan
    sets = np.zeros(4 * WORDS, np.uint64)
    marked(values, kind(2), sets)
    assert held(sets, 1) == np.flatnonzero(values > 2).tolist()
    assert held(sets, 2) == np.flatnonzero(~(values <= 2)).tolist()
    assert held(sets, 0) == held(sets, 3) == []


def test_a_set_is_divided_by_a_test() -> None:
    rng = np.random.default_rng(1)
    tests, sets = (rng.integers(0, 2**63, 4 * WORDS).astype(np.uint64) for _ in range(2))
    right = set(held(tests, 1))
    own = held(sets, 3)
    divided(tests, sets)
    assert held(sets, 0) == [row for row in own if row not in right]
    assert held(sets, 2) == [row for row in own if row in right]


def test_rows_are_named_by_the_set_that_holds_them() -> None:
    place = np.random.default_rng(2).integers(0, CODES, MOST_ROWS)
    bits = np.zeros((CODES, MOST_ROWS), np.uint8)
    bits[place, np.arange(MOST_ROWS)] = 1
    names = np.empty(MOST_ROWS, np.uint8)
    named(np.packbits(bits, axis=1, bitorder="little").view(np.uint64).ravel(), names)
    assert names.tolist() == place.tolist()


def test_tests_that_are_asked_twice_are_made_once_and_models_are_added_in_order() -> None:
    """Two models of one tree each: 1 above 0.5, else 2; then above 0.5 it is asked whether the other is above 3."""
    first = Nodes(
        np.array([0, 0, 0], np.int32), np.array([0.5, np.inf, np.inf]), np.array([[1, 2], [1, 1], [2, 2]], np.int32),
        np.array([0, 0, 0], np.uint8), np.array([0.0, 2.0, 1.0]), np.array([0], np.int32), 2,
    )  # fmt: skip
    second = Nodes(
        np.array([0, 1, 0, 0, 0], np.int32), np.array([0.5, 3.0, np.inf, np.inf, np.inf]),
        np.array([[2, 1], [3, 4], [2, 2], [3, 3], [4, 4]], np.int32), np.array([0, 1, 0, 0, 0], np.uint8),
        np.array([0.0, 0.0, 10.0, 20.0, 40.0]), np.array([0], np.int32), 2,
    )  # fmt: skip
    sets = leaf_sets([first, second])
    assert sets is not None
    assert sets.of_64.thresholds.tolist() == [0.5, 3.0]
    rows = np.array([[0.0, 9.0], [1.0, 9.0], [1.0, 3.0], [1.0, np.nan], [np.nan, 9.0]])
    for given in (rows, rows.astype(np.float32), np.asfortranarray(rows)):
        assert sets.sums(given).tolist() == [12.0, 41.0, 21.0, 41.0, 12.0]
    assert sets.sums(np.repeat(rows, 200, axis=0)).tolist() == np.repeat([12.0, 41.0, 21.0, 41.0, 12.0], 200).tolist()
