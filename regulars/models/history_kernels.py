"""What is read off one history, compiled: passes over a few hundred interactions, oldest first, without NumPy's cost per call."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled

Floats = NDArray[np.float64]


@compiled
def distinct(rows: Rows, faded: Floats) -> tuple[Rows, Rows, Floats]:
    """The sorted distinct ``rows``, the place of each interaction's among them, and the sum of ``faded`` of each."""
    order = np.argsort(rows, kind="mergesort")
    products, place, count = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64), 0
    for at in order:
        if count == 0 or products[count - 1] != rows[at]:
            products[count] = rows[at]
            count += 1
        place[at] = count - 1
    weights = np.zeros(count)
    for at in range(len(rows)):
        weights[place[at]] += faded[at]
    return products[:count].copy(), place, weights


@compiled
def latest_first(products: Rows, place: Rows) -> Rows:
    """The distinct products, the latest touched first."""
    seen = np.zeros(len(products), np.bool_)
    found, count = np.empty(len(products), np.int64), 0
    for at in range(len(place) - 1, -1, -1):
        if not seen[place[at]]:
            seen[place[at]] = True
            found[count] = products[place[at]]
            count += 1
    return found


@compiled
def visit_start(days: Floats, same_visit_days: float) -> int:
    """Where the latest visit begins: no longer pause than ``same_visit_days`` lies between two of its interactions."""
    at = len(days) - 1
    while at > 0 and not days[at - 1] - days[at] > same_visit_days:
        at -= 1
    return max(at, 0)


@compiled
def visited(rows: Rows, days: Floats, start: int) -> tuple[Rows, NDArray[np.int64]]:
    """The distinct products from ``start`` on, latest first, and after each how many other moments there were."""
    found, later = np.empty(len(rows) - start, np.int64), np.empty(len(rows) - start, np.int64)
    count, moments = 0, 0
    for at in range(len(rows) - 1, start - 1, -1):
        if at < len(rows) - 1 and days[at] != days[at + 1]:
            moments += 1
        known = False
        for place in range(count):
            known = known or found[place] == rows[at]
        if not known:
            found[count], later[count] = rows[at], moments
            count += 1
    return found[:count].copy(), later[:count].copy()


@compiled
def bought_on(rows: Rows, days: Floats, bought: NDArray[np.bool_], row: int) -> tuple[bool, int, float]:
    """Whether ``row`` was touched, on how many days it was bought, and how many days lie between the first and the last."""
    touched, count, first, last = False, 0, 0.0, 0.0
    for at in range(len(rows)):
        if rows[at] != row:
            continue
        touched = True
        if bought[at]:
            day = np.floor(days[at])
            if count == 0:
                first = day
            if count == 0 or day != last:
                count += 1
            last = day
    return touched, count, first - last


@compiled
def basket_sums(place: Rows, times: Floats, count: int, groups: int, within: Floats, of_groups: Floats) -> Floats:
    """Per product (``count`` of them) the summed weight of the baskets, purchases of one time, that hold it.

    ``place`` and ``times`` are of purchases; baskets lie in ``groups`` of equal size and fade by ``within`` from the end of a
    group, and by ``of_groups`` from the last group.
    """
    order = np.argsort(times, kind="mergesort")
    baskets = 0
    for at in range(len(order)):
        if at == 0 or times[order[at]] != times[order[at - 1]]:
            baskets += 1
    sums, last = np.zeros(count), np.full(count, -1)
    if baskets == 0:
        return sums
    size = -(-baskets // groups)
    used, basket = -(-baskets // size), -1
    for at in range(len(order)):
        if at == 0 or times[order[at]] != times[order[at - 1]]:
            basket += 1
        one, from_end = place[order[at]], baskets - 1 - basket
        if last[one] != basket:
            last[one] = basket
            sums[one] += within[from_end % size] / size * of_groups[from_end // size] / used
    return sums
