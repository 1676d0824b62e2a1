"""The best few of many scores, compiled, without a jump per score.

A bound that few more than those wanted reach is found by halving: counting what reaches a bound takes eight scores at a time. What
is left is put in order by the upper bits of the scores first.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled

Floats = NDArray[np.float64]
Bits = NDArray[np.int64]

OCTAVES = np.int64(8) << np.int64(52)  # scores so far below the highest are seldom among the best
FEWEST_BUCKETS, MOST_BUCKETS = 16, 4_096
MANY, GROUPS_OF_ONE = 4, 8  # scores per group, and groups per score that is wanted
MOST_MOVES = 16  # per score, by insertion


@compiled
def highest(found: Rows, scores: Floats, n: int) -> Rows:
    """Up to ``n`` of the sorted ``found`` with a score above 0, highest first, ties by row."""
    places = highest_places(scores, n)
    for at in range(len(places)):
        places[at] = found[places[at]]
    return places


@compiled
def highest_places(scores: Floats, n: int) -> Rows:
    """The places of up to ``n`` of the ``scores``, above 0, highest first, ties by place."""
    places = reaching(scores, bound_of(scores, n))
    kept = np.empty(len(places))
    for at in range(len(places)):
        kept[at] = scores[places[at]]
    order = descending(kept)[:n]
    for at in range(len(order)):
        order[at] = places[order[at]]
    return order


@compiled
def bound_of(scores: Floats, n: int) -> float:
    """What at least the ``n`` highest of ``scores`` reach, and few others; the least number above 0 where fewer are."""
    if n < 1:
        return np.inf
    bits = scores.view(np.int64)  # of numbers above 0 these are in the same order, and of others they are below 1
    low = np.int64(1)
    if len(bits) >= MANY * GROUPS_OF_ONE * n:  # as many groups as reach a bound hold as many scores that do
        low = _low_of(_highest_of_groups(bits, GROUPS_OF_ONE * n), low, n)
    return np.array([_low_of(bits, low, n)]).view(np.float64)[0]


@compiled
def _low_of(bits: Bits, low: np.int64, n: int) -> np.int64:
    """What the ``n`` highest of ``bits`` reach and few others, where they reach ``low``; else ``low``."""
    high = low
    for place in range(len(bits)):
        high = max(high, bits[place])
    enough, count = n + (n >> 2) + 4, _count_from(bits, low)
    near = high - OCTAVES
    if count > enough and near > low:
        above = _count_from(bits, near)
        if above >= n:
            low, count = near, above
    while count > enough and low < high:
        middle = low + ((high - low + 1) >> 1)
        above = _count_from(bits, middle)
        if above >= n:
            low, count = middle, above
        else:
            high = middle - 1
    return low


@compiled
def _highest_of_groups(bits: Bits, groups: int) -> Bits:
    """Of each of ``groups`` of places (every so many from its first on) the highest."""
    highest_of = bits[:groups].copy()
    for first in range(groups, len(bits), groups):
        part = bits[first : first + groups]
        for group in range(len(part)):
            highest_of[group] = max(highest_of[group], part[group])
    return highest_of


@compiled
def reaching(scores: Floats, bound: float) -> Rows:
    """The places of the ``scores`` of at least ``bound``."""
    count = 0
    for place in range(len(scores)):
        count += scores[place] >= bound
    places, filled = np.empty(count + 1, np.int64), np.uint64(0)
    for place in range(len(scores)):
        places[filled] = place
        filled += np.uint64(scores[place] >= bound)
    return places[:count]


@compiled
def descending(scores: Floats) -> Rows:
    """The places of ``scores``, all above 0, the highest first, ties by place."""
    return in_order(-scores.view(np.int64))


@compiled
def in_order(keys: Bits) -> Rows:
    """The places of ``keys``, the lowest first, ties by place."""
    order = np.empty(len(keys), np.int64)
    if not len(keys):
        return order
    low, high = keys[0], keys[0]
    for place in range(len(keys)):
        low, high = min(low, keys[place]), max(high, keys[place])
    buckets, shift = FEWEST_BUCKETS, np.int64(0)
    while buckets < 2 * len(keys) and buckets < MOST_BUCKETS:
        buckets *= 2
    while (high - low) >> shift >= buckets:
        shift += 1
    ends = np.zeros(buckets + 1, np.int64)
    for place in range(len(keys)):
        ends[np.uint64((keys[place] - low) >> shift) + np.uint64(1)] += 1
    for bucket in range(buckets):
        ends[bucket + 1] += ends[bucket]
    for place in range(len(keys)):
        own = np.uint64((keys[place] - low) >> shift)
        order[np.uint64(ends[own])] = place
        ends[own] += 1
    return order if _inserted(keys, order) else merged(keys)


@compiled
def merged(keys: NDArray[Any]) -> Rows:
    """The same by merge sort; NumPy's takes a second more to compile."""
    order, other, length = np.arange(len(keys)), np.empty(len(keys), np.int64), 1
    while length < len(keys):
        for first in range(0, len(keys), 2 * length):
            middle, last = min(first + length, len(keys)), min(first + 2 * length, len(keys))
            left, right = first, middle
            for to in range(first, last):
                if left < middle and (right >= last or keys[order[left]] <= keys[order[right]]):
                    other[to] = order[left]
                    left += 1
                else:
                    other[to] = order[right]
                    right += 1
        order, other, length = other, order, 2 * length
    return order


@compiled
def _inserted(keys: Bits, order: Rows) -> bool:
    """Whether the nearly sorted ``order`` of ``keys`` could be sorted by few moves."""
    moves = 0
    for at in range(1, len(order)):
        place, to = order[at], at
        while to > 0 and keys[order[to - 1]] > keys[place]:
            order[to] = order[to - 1]
            to -= 1
        order[to] = place
        moves += at - to
        if moves > MOST_MOVES * len(order):
            return False
    return True


@compiled
def _count_from(bits: Bits, least: np.int64) -> int:
    count = 0
    for place in range(len(bits)):
        count += bits[place] >= least
    return count
