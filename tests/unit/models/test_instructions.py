"""Instructions of the processor beside plain Python."""

import numpy as np

from regulars.models.compiled import compiled
from regulars.models.instructions import count_bits, fetch, first_bit, which_equal


@compiled
def told_of(word: np.uint64) -> tuple[int, int]:
    return first_bit(word), count_bits(word)


@compiled
def equal_to(values: np.ndarray, value: np.int32) -> np.uint64:
    return which_equal(values, value)


def test_which_of_sixteen_are_equal_to_a_number() -> None:
    values = np.array([3, -1, 7, 3, *range(12), 3], np.int32)
    assert equal_to(values, np.int32(3)) == 0b10001001
    assert equal_to(values, np.int32(-1)) == 0b10
    assert equal_to(values, np.int32(99)) == 0


def test_bits_are_found_and_counted() -> None:
    rng = np.random.default_rng(0)
    for word in [1, 1 << 63, 2**64 - 1, *rng.integers(1, 2**63, 50, dtype=np.uint64).tolist()]:
        first, count = told_of(np.uint64(word))
        assert first == (word & -word).bit_length() - 1
        assert count == word.bit_count()


def test_asking_memory_changes_nothing_and_may_ask_for_nothing() -> None:
    table = np.arange(300, dtype=np.float32).reshape(100, 3)
    for first, count in ((0, 300), (299, 1), (0, 0), (17, 100)):
        fetch(table, first, count)
    assert table.ravel().tolist() == list(range(300))
