"""Sums over products, compiled: each retriever adds what it reaches to one row of zeros and reads off what is not zero.

A row of zeros as long as the catalogue is kept per thread, with one bit per product that was touched, so that what an answer
costs follows what was reached and hardly the catalogue. Compiled code is kept beside this file (or in the user's cache).
"""

import threading

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
                sums[row] += values[product, near] * weight
                touched[row >> 6] |= np.uint64(1) << np.uint64(row & 63)


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
            row = rows[at]
            sums[row] += values[at] * weight
            touched[row >> 6] |= np.uint64(1) << np.uint64(row & 63)


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
        word = touched[place]
        if word == 0:
            continue
        touched[place] = 0
        base = place << 6
        for bit in range(BITS):
            if word >> np.uint64(bit) & np.uint64(1):
                row = base + bit
                if sums[row] > 0:
                    found[filled], scores[filled] = row, sums[row]
                    filled += 1
                sums[row] = 0.0
    return found[:filled], scores[:filled]


@njit(cache=True, nogil=True)
def looked_up(found: Rows, scores: Floats, rows: Rows) -> Floats:
    """The score of each of ``rows`` among the sorted ``found``; 0 for what is not there."""
    told = np.zeros(len(rows))
    for place in range(len(rows)):
        at = np.searchsorted(found, rows[place])
        if at < len(found) and found[at] == rows[place]:
            told[place] = scores[at]
    return told
