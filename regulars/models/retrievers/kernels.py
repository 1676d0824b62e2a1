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
from regulars.models.instructions import count_bits, fetch, first_bit

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]

BITS = 64
AHEAD = 4  # so many steps before they are read, rows are asked for
FETCHED = 128  # values of each
DENSE = 2  # from so many additions per row on


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
    at = np.uint64(row)  # never below 0, which need not be looked at then
    sums[at] += value
    touched[at >> np.uint64(6)] |= np.uint64(1) << (at & np.uint64(63))


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
    width = rows.shape[1]
    for place in range(len(products)):
        near, values_of, weight = rows[products[place]], values[products[place]], weights[place]
        if place + AHEAD < len(products):
            ahead = products[place + AHEAD] * width
            fetch(rows, ahead, width)
            fetch(values, ahead, width)
        for at in range(len(near)):
            if near[at] >= 0:
                add(near[at], values_of[at] * weight, sums, touched)


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
        weight = weights[place]
        fetch_span(rows, values, starts, chosen, place + AHEAD)
        span, values_of = _span(rows, starts, chosen[place]), _span(values, starts, chosen[place])
        for at in range(len(span)):
            add(span[at], values_of[at] * weight, sums, touched)


@compiled
def fetch_span(
    rows: NDArray[np.int32], values: NDArray[np.float32], starts: NDArray[np.int64], chosen: Rows, place: int
) -> None:
    """Asks for the beginning of a span that is wanted soon."""
    if place < len(chosen):
        first = starts[chosen[place]]
        count = min(starts[chosen[place] + 1] - first, FETCHED)
        fetch(rows, first, count)
        fetch(values, first, count)


@compiled
def _span(values: Any, starts: NDArray[np.int64], one: int) -> Any:
    return values[starts[one] : starts[one + 1]]


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
    room = spans_room(starts, chosen, count)
    found, scores = np.empty(room, np.int64), np.empty(room)
    filled = sum_spans(rows, values, starts, chosen, weights, count, sums, touched, found, scores, 0)
    return found[:filled], scores[:filled]


@compiled
def spans_room(starts: NDArray[np.int64], chosen: Rows, count: int) -> int:
    """How many places ``sum_spans`` may write to."""
    total = 1
    for one in chosen:
        total += starts[one + 1] - starts[one]
    return min(total, count + 1) if total * DENSE < count else count + 1


@compiled
def sum_spans(
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    starts: NDArray[np.int64],
    chosen: Rows,
    weights: Floats,
    count: int,
    sums: Floats,
    touched: Words,
    found: Rows,
    scores: Floats,
    filled: int,
) -> int:
    """The same into ``found`` and ``scores`` from ``filled`` on, with ``spans_room``; where it ends."""
    if spans_room(starts, chosen, count) <= count:
        add_spans(rows, values, starts, chosen, weights, sums, touched)
        return collect(sums, touched, found, scores, filled)
    add_to_most(rows, values, starts, chosen, weights, sums)
    end = np.uint64(filled)
    for row in range(count):
        found[end], scores[end] = row, sums[row]
        end += np.uint64(sums[row] > 0)
    sums[:count] = 0.0
    return int(np.int64(end))


@compiled
def add_to_most(
    rows: NDArray[np.int32],
    values: NDArray[np.float32],
    starts: NDArray[np.int64],
    chosen: Rows,
    weights: Floats,
    sums: Floats,
) -> None:
    """``add_spans`` where most rows are reached: looking through all of them takes less than noting each."""
    for place in range(len(chosen)):
        weight = weights[place]
        fetch_span(rows, values, starts, chosen, place + AHEAD)
        span, values_of = _span(rows, starts, chosen[place]), _span(values, starts, chosen[place])
        for at in range(len(span)):
            sums[np.uint64(span[at])] += values_of[at] * weight


@compiled
def collected(sums: Floats, touched: Words) -> tuple[Rows, Floats]:
    """The rows whose sum is above 0, sorted, and their sums; both arguments are zero afterwards."""
    count = 0
    for place in range(len(touched)):
        count += count_bits(touched[place])
    found, scores = np.empty(count + 1, np.int64), np.empty(count + 1)
    filled = collect(sums, touched, found, scores, 0)
    return found[:filled], scores[:filled]


@compiled
def collect(sums: Floats, touched: Words, found: Rows, scores: Floats, filled: int) -> int:
    """The same into ``found`` and ``scores`` from ``filled`` on, with room for one more; where it ends."""
    end = np.uint64(filled)
    for place in range(len(touched)):
        word = touched[place]
        if not word:
            continue
        touched[place] = 0
        while word:
            row = (np.uint64(place) << np.uint64(6)) | first_bit(word)
            word &= word - np.uint64(1)
            found[end], scores[end] = row, sums[row]
            end += np.uint64(sums[row] > 0)
            sums[row] = 0.0
    return int(np.int64(end))


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
def words_touched(touched: Words) -> Rows:
    """The places of the words of which a bit is set, found without a jump per word: of many most are empty."""
    places, count = np.empty(len(touched) + 1, np.int64), np.uint64(0)
    for place in range(len(touched)):
        places[count] = place
        count += np.uint64(touched[place] != 0)
    return places[:count]


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
    for place in words_touched(touched):  # by word, so that equal histories give equal sums
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
