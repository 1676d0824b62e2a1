"""What is read off one history, compiled: passes over a few hundred interactions, oldest first, without NumPy's cost per call."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.selection import descending, in_order, merged

Floats = NDArray[np.float64]

DAY_S = 86_400
STRENGTH_HALF_LIFE_DAYS = 60.0
STRONGEST = 100
SAME_VISIT_DAYS = 1 / 24


class Visitor(NamedTuple):
    """A history's arrays, as in ``Known``: ``logs``: log(1 + weight); ``visit``: the products of the latest visit."""

    rows: Rows
    days: Floats
    bought: NDArray[np.bool_]
    products: Rows
    place: Rows
    weights: Floats
    logs: Floats
    visit: Rows
    strong: Rows
    strong_weights: Floats


@compiled
def known_arrays(
    rows: Rows,
    at: NDArray[np.int64],
    kinds: Rows,
    is_bought: NDArray[np.bool_],
    strength_of: Floats,
    moment: int,
    most: int,
) -> tuple[Rows, Floats, NDArray[np.bool_], Floats, Rows, Rows, Floats]:
    """The arrays of ``Known``, of the newest ``most`` interactions at ``at`` (seconds) with known products (0 or more), before
    ``moment``, whose kind says anything; ``is_bought`` and ``strength_of`` (n_kinds,)."""
    places, count = np.empty(len(rows) + 1, np.int64), 0
    for place in range(len(rows)):
        places[count] = place
        count += rows[place] >= 0 and at[place] < moment and strength_of[kinds[place]] > 0
    first = max(count - most, 0)
    places = places[first:count]
    last = at[places[-1]] if len(places) else moment
    own, days, faded = np.empty(len(places), np.int64), np.empty(len(places)), np.empty(len(places))
    bought, before, left = np.empty(len(places), np.bool_), last, 1.0
    for to in range(len(places)):
        place = places[to]
        own[to], bought[to] = rows[place], is_bought[kinds[place]]
        days[to] = (moment - at[place]) / DAY_S
        if at[place] != before:
            before = at[place]
            left = np.exp2((before - last) / (DAY_S * STRENGTH_HALF_LIFE_DAYS))
        faded[to] = strength_of[kinds[place]] * left
    products, place_of, weights = distinct(own, faded)
    return own, days, bought, faded, products, place_of, weights


@compiled
def visitor_of(
    rows: Rows, days: Floats, bought: NDArray[np.bool_], products: Rows, place: Rows, weights: Floats
) -> Visitor:
    """All that is read of a history, of the arrays that ``Known`` has."""
    visit, logs = rows[visit_start(days, SAME_VISIT_DAYS) :], np.log1p(weights)
    strong, strong_weights = products, logs
    if len(products) > STRONGEST:
        order = descending(weights)[:STRONGEST]
        strong, strong_weights = products[order], logs[order]
    return Visitor(rows, days, bought, products, place, weights, logs, visit, strong, strong_weights)


@compiled
def looking_at(rows: Rows, days: Floats, bought: NDArray[np.bool_]) -> int:
    """The product that is looked at right now, -1 where the newest interaction is a purchase or an hour old."""
    last = len(rows) - 1
    if last < 0 or bought[last] or days[last] > SAME_VISIT_DAYS:
        return -1
    return int(rows[last])


@compiled
def distinct(rows: Rows, faded: Floats) -> tuple[Rows, Rows, Floats]:
    """The sorted distinct ``rows``, the place of each interaction's among them, and the sum of ``faded`` of each."""
    order = in_order(rows)
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
    order = np.arange(len(times))
    if (times[1:] < times[:-1]).any():
        order = merged(times)
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


@compiled
def frequency_of(visitor: Visitor, groups: int, within: Floats, of_groups: Floats) -> tuple[Rows, Floats]:
    """The products that were bought and the sums of their baskets, see ``basket_sums``."""
    place, times, count = np.empty(len(visitor.place), np.int64), np.empty(len(visitor.place)), 0
    for at in range(len(visitor.place)):
        if visitor.bought[at]:
            place[count], times[count] = visitor.place[at], -visitor.days[at]
            count += 1
    sums = basket_sums(place[:count], times[:count], len(visitor.products), groups, within, of_groups)
    products, count = np.empty(len(sums), np.int64), 0
    for one in range(len(sums)):
        if sums[one] > 0:
            products[count], sums[count] = visitor.products[one], sums[one]
            count += 1
    return products[:count], sums[:count]


@compiled
def faded_purchases(visitor: Visitor, half_life_days: float) -> Floats:
    """Of each product how often it was bought, half as much for every ``half_life_days`` that have passed since."""
    sums, before, left = np.zeros(len(visitor.products)), 0.0, 1.0
    for at in range(len(visitor.place)):
        if visitor.bought[at]:
            if visitor.days[at] != before:
                before = visitor.days[at]
                left = 2.0 ** (-before / half_life_days)
            sums[visitor.place[at]] += left
    return sums
