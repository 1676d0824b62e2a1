"""Past visits that resemble the current one, and what they hold, compiled. See ``Sessions``."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.instructions import AT_ONCE, fetch, first_bit, put, which_equal
from regulars.models.retrievers.kernels import AHEAD, FETCHED, add

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]


@compiled
def visits_holding(
    visit: Rows, starts: NDArray[np.int64], postings: NDArray[np.int32], recent: int, sums: Floats, touched: Words
) -> tuple[Rows, Floats]:
    """The ``recent`` newest visits among the postings of the products of ``visit`` (oldest first), newest first, and of each
    how late in the current one its products come (0-1), summed. ``sums`` and ``touched``: one per visit; they are left zero.

    Postings are added up from the newest on, back to a visit from which on there are as many as are wanted; further back
    where some visits came more than once.
    """
    at, last, total, end = np.empty(len(visit), np.int64), np.empty(len(visit), np.int64), 0, 0
    for place in range(len(visit)):
        at[place], last[place] = starts[visit[place]], starts[visit[place] + 1]
        total += last[place] - at[place]
        if at[place] < last[place]:
            end = max(end, int(postings[at[place]]) + 1)
    wanted, count, oldest = recent, 0, end
    while count < recent and oldest > 0:
        oldest = _oldest_of(wanted, at, last, postings, oldest) if wanted < total else 0
        for place in range(len(visit)):
            share = (place + 1) / len(visit)
            while at[place] < last[place] and postings[at[place]] >= oldest:
                one = int(postings[at[place]])
                count += sums[np.uint64(one)] == 0.0
                add(one, share, sums, touched)
                at[place] += 1
                total -= 1
        wanted = 2 * (recent - count)
    held, likeness, first = np.empty(count, np.int64), np.empty(count), np.uint64(count)
    for place in range(oldest >> 6, (end + 63) >> 6):
        word = touched[place]
        touched[place] = 0
        while word:
            one = (np.uint64(place) << np.uint64(6)) | first_bit(word)
            word &= word - np.uint64(1)
            first -= np.uint64(1)
            held[first], likeness[first] = one, sums[one]
            sums[one] = 0.0
    return held[:recent], likeness[:recent]


@compiled
def _oldest_of(wanted: int, at: Rows, last: Rows, postings: NDArray[np.int32], end: int) -> int:
    """A visit from which on, up to ``end``, the ``wanted`` of the postings ``at:last`` lie, newest first each, and few others."""
    low, high, enough = 0, end, 2 * wanted + 1
    while high - low > 1 and enough > wanted + (wanted >> 2):
        middle, count = (low + high) >> 1, 0
        for place in range(len(at)):
            first, behind = at[place], last[place]
            while first < behind:
                half = (first + behind) >> 1
                if postings[half] >= middle:
                    first = half + 1
                else:
                    behind = half
            count += first - at[place]
        if count >= wanted:
            low, enough = middle, count
        else:
            high = middle
    return low


@compiled
def products_of_visits(
    near: Rows,
    likeness: Floats,
    visit: Rows,
    products: NDArray[np.int32],
    starts: NDArray[np.int64],
    close: float,
) -> tuple[Rows, Floats, Floats]:
    """Each product of the visits ``near``: row, likeness x how late the two part, and that as far as it comes ``close`` after.

    ``visit`` is the current one, up to 16 products, oldest first. Two visits part at the latest of its products that the other
    holds.
    """
    total, longest = 0, 0
    for one in near:
        total += starts[one + 1] - starts[one]
        longest = max(longest, starts[one + 1] - starts[one])
    fading = np.exp(-np.arange(longest) / close)
    rows, weights, after, filled = np.empty(total, np.int64), np.empty(total), np.zeros(total), 0
    own = np.full(AT_ONCE, -1, np.int32)
    put(visit, own, 0)
    for place in range(len(near)):
        first, last = starts[near[place]], starts[near[place] + 1]
        if place + AHEAD < len(near):
            ahead = starts[near[place + AHEAD]]
            fetch(products, ahead, min(starts[near[place + AHEAD] + 1] - ahead, FETCHED))
        latest, shared, met = np.uint64(0), first, -1
        for at in range(first, last):
            held = which_equal(own, products[at])  # one bit, or none
            if held > latest:
                latest, shared = held, at
        if latest:
            met = int(first_bit(latest))
        weight = likeness[place] * (1 - 0.1 * (len(visit) - 1 - met))
        for at in range(first, last):
            rows[filled], weights[filled] = products[at], weight
            if at > shared:
                after[filled] = weight * fading[at - shared]
            filled += 1
    return rows, weights, after
