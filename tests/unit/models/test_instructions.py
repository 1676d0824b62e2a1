"""Instructions of the processor beside plain Python."""

import numpy as np

from regulars.models.compiled import compiled
from regulars.models.instructions import count_bits, fetch, first_bit


@compiled
def told_of(word: np.uint64) -> tuple[int, int]:
    return first_bit(word), count_bits(word)


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
