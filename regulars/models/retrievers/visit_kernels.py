"""Past visits that resemble the current one, and what they hold, compiled. See ``Sessions``."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.instructions import AT_ONCE, fetch, first_bit, which_equal
from regulars.models.retrievers.kernels import AHEAD, FETCHED

Floats = NDArray[np.float64]


@compiled
def visits_holding(
    visit: Rows, starts: NDArray[np.int64], postings: NDArray[np.int32], recent: int
) -> tuple[Rows, Floats]:
    """The ``recent`` newest visits among the postings of the products of ``visit`` (oldest first), newest first, and of each
    how late in the current one its products come (0-1), summed."""
    at, last, next_one = np.empty(len(visit), np.int64), np.empty(len(visit), np.int64), np.empty(len(visit), np.int64)
    for place in range(len(visit)):
        at[place], last[place] = starts[visit[place]], starts[visit[place] + 1]
        next_one[place] = postings[at[place]] if at[place] < last[place] else -1
    held, likeness, count = np.empty(recent, np.int64), np.empty(recent), 0
    while count < recent:
        newest = np.int64(-1)
        for place in range(len(next_one)):
            newest = max(newest, next_one[place])
        if newest < 0:
            break
        alike = 0.0
        for place in range(len(next_one)):
            if next_one[place] == newest:
                alike += (place + 1) / len(visit)
                at[place] += 1
                next_one[place] = postings[at[place]] if at[place] < last[place] else -1
        held[count], likeness[count] = newest, alike
        count += 1
    return held[:count], likeness[:count]


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
    own[: len(visit)] = visit
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
