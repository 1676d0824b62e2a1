"""Sums over products, compiled: each retriever adds what it reaches to one row of zeros and reads off what is not zero.

A row of zeros as long as the catalogue is kept per thread, with one bit per product that was touched, so that what an answer
costs follows what was reached and hardly the catalogue. Compiled code is kept beside this file (or in the user's cache).
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

BITS = 64
DENSE = 2  # from so many additions per row on
DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
FIRST_BITS = np.zeros(BITS, np.int64)
FIRST_BITS[[((1 << place) * int(DE_BRUIJN) % 2**64) >> 58 for place in range(BITS)]] = np.arange(BITS)


class Sums(threading.local):
    """This thread's zeros and touched bits, as long as was ever asked for."""

    def __init__(self) -> None:
        self.zeros = np.zeros(0)
        self.touched = np.zeros(0, np.uint64)

    def of(self, count: int) -> tuple[Floats, Words]:
        """Zeros (at least ``count``,) and bits; whoever takes them leaves them zero again, by ``collected``."""
        if len(self.zeros) < count:
            self.zeros = np.zeros(count)
            self.touched = np.zeros(-(-count // BITS), np.uint64)
        return self.zeros, self.touched


SUMS = Sums()


@compiled
def add(row: int, value: float, sums: Floats, touched: Words) -> None:
    """``sums[row] += value``, and the row is touched."""
    sums[row] += value
    touched[row >> 6] |= np.uint64(1) << np.uint64(row & 63)


@compiled
def add_neighbours(
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    products: Rows,
    weights: Floats,
    sums: Floats,
    touched: Words,
) -> None:
    """``sums[rows[p, i]] += values[p, i] * weight`` for each of ``products``; a row of -1 is none."""
    for place in range(len(products)):
        product, weight = products[place], weights[place]
        for near in range(rows.shape[1]):
            row = rows[product, near]
            if row >= 0:
                add(row, values[product, near] * weight, sums, touched)


@compiled
def speaks_for(rows: NDArray[np.int32], values: NDArray[np.float32], products: Rows, weights: Floats, row: int) -> int:
    """The first of ``products`` whose ``values`` for ``row`` times weight is highest; -1 where none is above 0."""
    found, highest_yet = -1, 0.0
    for place in range(len(products)):
        product = products[place]
        for near in range(rows.shape[1]):
            value = values[product, near] * weights[place]
            if rows[product, near] == row and value > highest_yet:
                found, highest_yet = product, value
    return found


@compiled
def add_spans(
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    starts: NDArray[np.int64],
    chosen: Rows,
    weights: Floats,
    sums: Floats,
    touched: Words,
) -> None:
    """The same over spans: those of ``chosen`` lie at ``starts[c]:starts[c + 1]``."""
    for place in range(len(chosen)):
        one, weight = chosen[place], weights[place]
        for at in range(starts[one], starts[one + 1]):
            add(rows[at], values[at] * weight, sums, touched)


@compiled
def spans_summed(
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    starts: NDArray[np.int64],
    chosen: Rows,
    weights: Floats,
    count: int,
    sums: Floats,
    touched: Words,
) -> tuple[Rows, Floats]:
    """What ``add_spans`` adds, collected, where all rows are below ``count``; both arguments are zero afterwards."""
    total = 0
    for one in chosen:
        total += starts[one + 1] - starts[one]
    if total * DENSE < count:
        add_spans(rows, values, starts, chosen, weights, sums, touched)
        return collected(sums, touched)
    for place in range(len(chosen)):  # most rows are reached: looking through all of them takes less than noting each
        one, weight = chosen[place], weights[place]
        for at in range(starts[one], starts[one + 1]):
            sums[rows[at]] += values[at] * weight
    found, scores, filled = np.empty(count, np.int64), np.empty(count), 0
    for row in range(count):
        if sums[row] > 0:
            found[filled], scores[filled] = row, sums[row]
            filled += 1
        sums[row] = 0.0
    return found[:filled], scores[:filled]


@compiled
def collected(sums: Floats, touched: Words) -> tuple[Rows, Floats]:
    """The rows whose sum is above 0, sorted, and their sums; both arguments are zero afterwards."""
    count = 0
    for place in range(len(touched)):
        count += count_bits(touched[place])
    found, scores = np.empty(count, np.int64), np.empty(count)
    filled = collect(sums, touched, found, scores, 0)
    return found[:filled], scores[:filled]


@compiled
def collect(sums: Floats, touched: Words, found: Rows, scores: Floats, filled: int) -> int:
    """The same into ``found`` and ``scores`` from ``filled`` on; where it ends."""
    for place in range(len(touched)):
        word = touched[place]
        touched[place] = 0
        while word:
            row = (place << 6) + first_bit(word)
            word &= word - np.uint64(1)
            if sums[row] > 0:
                found[filled], scores[filled] = row, sums[row]
                filled += 1
            sums[row] = 0.0
    return filled


@compiled
def first_bit(word: Any) -> Any:
    """The place of the lowest bit that is set, by Leiserson, Prokop & Randall (1998)."""
    return FIRST_BITS[((word & (~word + np.uint64(1))) * DE_BRUIJN) >> np.uint64(58)]


@compiled
def count_bits(word: Any) -> Any:
    """How many bits are set, by Warren, Hacker's Delight (2002), chapter 5."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def highest(found: Rows, scores: Floats, n: int) -> Rows:
    """Up to ``n`` of the sorted ``found`` with a score above 0, highest first, ties by row."""
    # a heap of the n best so far, the worst of them on top: of equal scores the later row is the worse
    heap, kept, least = np.empty(n, np.int64), 0, 0.0
    for place in range(len(found)):
        score = scores[place]
        if not score > least:
            continue
        if kept < n:
            at, kept = kept, kept + 1
            while at > 0:
                above = (at - 1) >> 1
                if scores[heap[above]] < score:
                    break
                heap[at] = heap[above]
                at = above
            heap[at] = place
        elif n:
            _sink(scores, heap, n, place)
        if n and kept == n:
            least = scores[heap[0]]
    order = np.empty(kept, np.int64)
    for last in range(kept - 1, -1, -1):
        order[last] = found[heap[0]]
        if last:
            _sink(scores, heap, last, heap[last])
    return order


@compiled
def _sink(scores: Floats, heap: Rows, size: int, place: int) -> None:
    """Put ``place`` instead of the top of the heap's first ``size``."""
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and _worse(scores, heap[below + 1], heap[below]):
            below += 1
        if not _worse(scores, heap[below], place):
            break
        heap[at] = heap[below]
        at = below
    heap[at] = place


@compiled
def _worse(scores: Floats, one: int, other: int) -> bool:
    return scores[one] < scores[other] or (scores[one] == scores[other] and one > other)


@compiled
def place_of(found: Rows, row: int) -> int:
    """The place of ``row`` among the sorted ``found``; one behind the last where it is not there."""
    at = int(np.searchsorted(found, row))
    return at if at < len(found) and found[at] == row else len(found)


@compiled
def looked_up(found: Rows, scores: Floats, rows: Rows) -> Floats:
    """The score of each of ``rows`` among the sorted ``found``; 0 for what is not there."""
    told = np.zeros(len(rows))
    for place in range(len(rows)):
        at = place_of(found, rows[place])
        if at < len(found):
            told[place] = scores[at]
    return told


@compiled
def add_rows(rows: NDArray[Any], values: Floats, sums: Floats, touched: Words) -> None:
    """``sums[rows[i]] += values[i]``."""
    for place in range(len(rows)):
        add(rows[place], values[place], sums, touched)


@compiled
def cosines(
    words: NDArray[np.int32],
    weights: NDArray[np.float32],
    starts: NDArray[np.int64],
    products: Rows,
    shares: Floats,
    rows: Rows,
    sums: Floats,
    touched: Words,
    into: Floats,
) -> None:
    """The cosine of the words of each of ``rows`` with the sum of those of ``products``, each counting ``shares``.

    Words of product p and their weights (above 0) lie at ``starts[p]:starts[p + 1]``; ``sums`` and ``touched``: one per word.
    """
    for place in range(len(products)):
        for at in range(starts[products[place]], starts[products[place] + 1]):
            add(words[at], weights[at] * shares[place], sums, touched)
    length = 0.0
    for place in range(len(touched)):  # by word, so that equal histories give equal sums
        if touched[place]:
            for word in range(place << 6, min((place + 1) << 6, len(sums))):
                length += sums[word] * sums[word]
    for place in range(len(rows)):
        told = 0.0
        for at in range(starts[rows[place]], starts[rows[place] + 1]):
            told += weights[at] * sums[words[at]]
        into[place] = told / max(np.sqrt(length), 1e-12)
    for place in range(len(products)):
        for at in range(starts[products[place]], starts[products[place] + 1]):
            sums[words[at]], touched[words[at] >> 6] = 0.0, 0
