"""Sums over products, compiled: each retriever adds what it reaches to one row of zeros and reads off what is not zero.

A row of zeros as long as the catalogue is kept per thread, with one bit per product that was touched, so that what an answer
costs follows what was reached and hardly the catalogue. Compiled code is kept beside this file (or in the user's cache).
"""

import threading
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from regulars.ids import Rows

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

BITS = 64


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


@njit(cache=True, nogil=True)
def _add(row: int, value: float, sums: Floats, touched: Words) -> None:
    """``sums[row] += value``, and the row is touched."""
    sums[row] += value
    touched[row >> 6] |= np.uint64(1) << np.uint64(row & 63)


@njit(cache=True, nogil=True)
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
                _add(row, values[product, near] * weight, sums, touched)


@njit(cache=True, nogil=True)
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
            _add(rows[at], values[at] * weight, sums, touched)


@njit(cache=True, nogil=True)
def collected(sums: Floats, touched: Words) -> tuple[Rows, Floats]:
    """The rows whose sum is above 0, sorted, and their sums; both arguments are zero afterwards."""
    count = 0
    for place in range(len(touched)):
        word = touched[place]
        while word:
            word &= word - np.uint64(1)
            count += 1
    found, scores, filled = np.empty(count, np.int64), np.empty(count), 0
    for place in range(len(touched)):
        word, row = touched[place], place << 6
        if word == 0:
            continue
        touched[place] = 0
        while word:
            while word & np.uint64(0xFF) == 0:
                word >>= np.uint64(8)
                row += 8
            if word & np.uint64(1):
                if sums[row] > 0:
                    found[filled], scores[filled] = row, sums[row]
                    filled += 1
                sums[row] = 0.0
            word >>= np.uint64(1)
            row += 1
    return found[:filled], scores[:filled]


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _worse(scores: Floats, one: int, other: int) -> bool:
    return scores[one] < scores[other] or (scores[one] == scores[other] and one > other)


@njit(cache=True, nogil=True)
def place_of(found: Rows, row: int) -> int:
    """The place of ``row`` among the sorted ``found``; one behind the last where it is not there."""
    at = int(np.searchsorted(found, row))
    return at if at < len(found) and found[at] == row else len(found)


@njit(cache=True, nogil=True)
def looked_up(found: Rows, scores: Floats, rows: Rows) -> Floats:
    """The score of each of ``rows`` among the sorted ``found``; 0 for what is not there."""
    told = np.zeros(len(rows))
    for place in range(len(rows)):
        at = place_of(found, rows[place])
        if at < len(found):
            told[place] = scores[at]
    return told


@njit(cache=True, nogil=True)
def add_rows(rows: NDArray[Any], values: Floats, sums: Floats, touched: Words) -> None:
    """``sums[rows[i]] += values[i]``."""
    for place in range(len(rows)):
        _add(rows[place], values[place], sums, touched)


@njit(cache=True, nogil=True)
def cosines(
    words: NDArray[np.int32],
    weights: NDArray[np.float32],
    starts: NDArray[np.int64],
    width: int,
    products: Rows,
    shares: Floats,
    rows: Rows,
) -> Floats:
    """The cosine of the words of each of ``rows`` with the sum of those of ``products``, each counting ``shares``.

    Words of product p, numbers below ``width``, and their weights lie at ``starts[p]:starts[p + 1]``.
    """
    wanted, told = np.zeros(width), np.zeros(len(rows))
    for place in range(len(products)):
        for at in range(starts[products[place]], starts[products[place] + 1]):
            wanted[words[at]] += weights[at] * shares[place]
    length = 0.0
    for word in range(width):
        length += wanted[word] * wanted[word]
    for place in range(len(rows)):
        for at in range(starts[rows[place]], starts[rows[place] + 1]):
            told[place] += weights[at] * wanted[words[at]]
        told[place] /= max(np.sqrt(length), 1e-12)
    return told


@njit(cache=True, nogil=True)
def visits_holding(
    visit: Rows, starts: NDArray[np.int64], postings: NDArray[np.int32], sums: Floats, touched: Words
) -> None:
    """Adds to each visit among the postings of the products of ``visit`` (oldest first) how late in it they come (0-1)."""
    for place in range(len(visit)):
        value = (place + 1) / len(visit)
        for at in range(starts[visit[place]], starts[visit[place] + 1]):
            _add(postings[at], value, sums, touched)


@njit(cache=True, nogil=True)
def products_of_visits(
    near: Rows,
    likeness: Floats,
    visit: Rows,
    products: NDArray[np.int32],
    starts: NDArray[np.int64],
    close: float,
) -> tuple[Rows, Floats, Floats]:
    """Each product of the visits ``near``: row, likeness x how late the two part, and that as far as it comes ``close`` after.

    ``visit`` is the current one, oldest first. Two visits part at the latest of its products that the other holds.
    """
    total = 0
    for one in near:
        total += starts[one + 1] - starts[one]
    rows, weights, after, filled = np.empty(total, np.int64), np.empty(total), np.zeros(total), 0
    for place in range(len(near)):
        first, last = starts[near[place]], starts[near[place] + 1]
        met, shared = -1, first
        for at in range(first, last):
            for step in range(len(visit) - 1, met, -1):
                if products[at] == visit[step]:
                    met, shared = step, at
        weight = likeness[place] * (1 - 0.1 * (len(visit) - 1 - met))
        for at in range(first, last):
            rows[filled], weights[filled] = products[at], weight
            if at > shared:
                after[filled] = weight * np.exp(-(at - shared) / close)
            filled += 1
    return rows, weights, after
