"""Columns of ``pairs.NAMES``, compiled: each function fills the rows of ``into``, one per feature, one value per candidate."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled, compiled_loosely
from regulars.models.instructions import put
from regulars.models.retrievers.kernels import place_of
from regulars.models.retrievers.transitions import closeness
from regulars.models.selection import descending, reaching

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

DAY_S = 86_400
NEVER_DAYS = 3_650.0
FADING_DAYS = (7.0, 30.0, 90.0)
LEAST = np.nextafter(0.0, 1.0)
COUNT_OWN, COUNT_PRODUCT, COUNT_COMMON = 12, 11, 7
FEW = 8  # up to so many reached per row that is looked for, all of them are gone through


@compiled
def own_columns(  # noqa: PLR0912 - one pass
    products: Rows, place: Rows, days: Floats, bought: NDArray[np.bool_], rows: Rows, into: Floats
) -> tuple[int, int, int]:
    """What the visitor did with each product itself; the number of baskets, of lines, and of products bought.

    ``place``, ``days`` and ``bought`` are a history's, oldest first, as in ``Known``; ``into`` has ``COUNT_OWN`` rows.
    """
    count = len(products)
    table = np.zeros((COUNT_OWN, count + 1))
    days_bought, last, first, gap, overdue = table[0], table[4], table[5], table[6], table[7]
    touches, touched, from_end = table[9], table[10], table[11]
    last[:], first[:], gap[:], overdue[:] = NEVER_DAYS, NEVER_DAYS, np.nan, np.nan
    touched[:], from_end[:] = NEVER_DAYS, np.nan
    baskets, lines, before, faded = 0, 0, np.nan, np.zeros(len(FADING_DAYS))
    for at in range(len(place)):
        one, age = place[at], days[at]
        touches[one] += 1
        touched[one] = age
        if not bought[at]:
            continue
        lines += 1
        if age != before:
            baskets, before = baskets + 1, age
            for fading in range(len(FADING_DAYS)):
                faded[fading] = 2.0 ** (-age / FADING_DAYS[fading])
        if days_bought[one] == 0:
            first[one] = age
        if days_bought[one] == 0 or np.floor(age) != np.floor(last[one]):
            days_bought[one] += 1
        last[one] = age
        for fading in range(len(FADING_DAYS)):
            table[1 + fading, one] += faded[fading]
    newer, distinct = 0, 0
    for at in range(len(place) - 1, -1, -1):
        if from_end[place[at]] != from_end[place[at]]:
            from_end[place[at]] = newer
            newer += 1
    for one in range(count):
        if days_bought[one] > 0:
            distinct += 1
            table[8, one] = days_bought[one] / max(baskets, 1)
        if days_bought[one] > 1:
            gap[one] = (first[one] - last[one]) / (days_bought[one] - 1)
            overdue[one] = last[one] / max(gap[one], 1.0)
    one = 0
    for at in range(len(rows)):
        while one < count and products[one] < rows[at]:
            one += 1
        place_of_row = one if one < count and products[one] == rows[at] else count
        for column in range(COUNT_OWN):
            into[column, at] = table[column, place_of_row]
    return baskets, lines, distinct


@compiled
def product_columns(
    counts: Vectors,
    count_customers: NDArray[np.int32],
    repeat_rate: Vectors,
    gap_days: Vectors,
    first_seen_at: NDArray[np.int64],
    price: Vectors,
    rows: Rows,
    since: Floats,
    moment: int,
    into: Floats,
) -> None:
    """What is known of each product; ``since`` are the days since the visitor bought it. ``into`` has ``COUNT_PRODUCT`` rows."""
    for at in range(len(rows)):
        row = rows[at]
        for window in range(4):
            into[window, at] = counts[row, window]
        into[4, at] = (into[1, at] + 0.1) / (into[2, at] + 0.1)
        into[5, at] = count_customers[row]
        into[6, at] = repeat_rate[row]
        gap = np.float64(gap_days[row])
        into[7, at] = gap
        into[8, at] = since[at] / (gap if gap > 1.0 or np.isnan(gap) else 1.0) if since[at] < NEVER_DAYS else np.nan
        into[9, at] = (moment - first_seen_at[row]) / DAY_S
        into[10, at] = price[row]


@compiled
def looked_up_columns(
    found: Rows,
    scores: Floats,
    ends: NDArray[np.int64],
    rows: Rows,
    places: NDArray[np.int64],
    sums: Floats,
    into: Floats,
) -> None:
    """Row ``places[part]`` of ``into``: the score of each of ``rows`` (sorted) in that part of ``found`` (sorted within a part
    that ends at ``ends``); else 0. A place of -1: nobody asks for that part. ``sums`` are left zero."""
    first, at, told = 0, np.empty(len(rows), np.int64), np.empty(len(rows) + 1)
    for place in range(len(rows)):
        sums[rows[place]] = place + 1
    for part in range(len(ends)):
        last = ends[part]
        if places[part] >= 0:
            column = into[places[part]]
            if last - first < FEW * len(rows):
                told[:] = 0.0
                for one in range(first, last):  # what is none of ``rows`` goes to place 0
                    told[np.uint64(sums[np.uint64(found[one])])] = scores[one]
                put(told[1:], column, 0)
            else:
                _places_among(found[first:last], rows, at)
                for place in range(len(rows)):
                    hit = first + at[place]
                    column[place] = scores[hit] if found[hit] == rows[place] else 0.0
        first = last
    for place in range(len(rows)):
        sums[rows[place]] = 0.0


@compiled
def _places_among(found: Rows, rows: Rows, into: Rows) -> None:
    """The place of the last of ``found`` (sorted, at least one) that is no larger than each of ``rows``, else 0.

    All are halved together, so that no search waits for another's memory.
    """
    into[:] = 0
    left = len(found)
    while left > 1:
        half = left >> 1
        for place in range(len(rows)):
            middle = into[place] + half
            into[place] = middle if found[np.uint64(middle)] <= rows[place] else into[place]
        left -= half


@compiled_loosely
def likeness_columns(
    vectors: Vectors, wanted: Vectors, newest: Vectors, rows: Rows, dots: Floats, cosines: Floats
) -> None:
    """The product of each one's vector with ``wanted``, and its cosine with ``newest``, 0 for no vector."""
    own = np.float32(0)
    for factor in range(len(newest)):
        own += newest[factor] * newest[factor]
    for at in range(len(rows)):
        vector = vectors[rows[at]]
        dot, near, length = np.float32(0), np.float32(0), np.float32(0)
        for factor in range(len(vector)):
            dot += vector[factor] * wanted[factor]
            near += vector[factor] * newest[factor]
            length += vector[factor] * vector[factor]
        dots[at] = dot
        cosines[at] = near / max(np.sqrt(own * length), 1e-9)


@compiled_loosely
def akin_columns(vectors: Vectors, latest: Rows, rows: Rows, into: Floats) -> None:
    """Cosines of each of ``rows``: with the first of ``latest``, the mean over them, with the second; nan where there is none.

    ``vectors`` have length 1, or 0.
    """
    into[:] = np.nan
    for at in range(len(rows) if len(latest) else 0):
        total = np.float32(0)
        for place in range(len(latest)):
            near = closeness(vectors, rows[at], latest[place])
            total += near
            if place < 2:
                into[2 * place, at] = near
        into[1, at] = total / np.float32(len(latest))


@compiled
def share_rows(columns: Floats, chosen: NDArray[np.int64], into: Floats) -> None:
    """Each of the ``chosen`` columns (one per row) as a share of its highest value."""
    for place in range(len(chosen)):
        column = columns[chosen[place]]
        highest = 1e-12
        for at in range(len(column)):
            highest = max(highest, column[at])
        for at in range(len(column)):
            into[place, at] = column[at] / highest


@compiled
def rank_rows(columns: Floats, chosen: NDArray[np.int64], into: Floats) -> None:
    """Each of the ``chosen`` columns as ranks: 1 for the highest, ties in order; nan where it is 0, a retriever's silence."""
    for place in range(len(chosen)):
        column = columns[chosen[place]]
        into[place, :] = np.nan
        told = reaching(column, LEAST)
        order = descending(column[told])
        for rank in range(len(order)):
            into[place, told[order[rank]]] = rank + 1


@compiled
def group_share(
    group: NDArray[np.int32], products: Rows, weights: Floats, rows: Rows, sums: Floats, into: Floats
) -> None:
    """The share (0-1) of the history's weight that lies in each row's group; 0 where it has none. ``sums`` are left zero."""
    total = weights.sum()
    for place in range(len(products)):
        if group[products[place]] >= 0:
            sums[group[products[place]]] += weights[place]
    for at in range(len(rows)):
        own = group[rows[at]]
        into[at] = sums[own] / total if own >= 0 and total > 0 else 0.0
    for place in range(len(products)):
        if group[products[place]] >= 0:
            sums[group[products[place]]] = 0.0


@compiled
def place_columns(
    price: Vectors, usual: float, products: Rows, newest: int, rows: Rows, widths: tuple[int, int], into: Floats
) -> None:
    """Price against the ``usual`` one, how many of the ``products`` lie within ``widths``, and how far the newest is.

    ``products`` and ``rows`` are sorted.
    """
    for at in range(len(rows)):
        cost = np.float64(price[rows[at]])
        into[0, at] = np.log((cost if cost > 0.01 or np.isnan(cost) else 0.01) / usual)
        into[3, at] = abs(rows[at] - newest) if newest >= 0 else np.nan
    for width in range(2):
        first, last = 0, 0
        for at in range(len(rows)):
            while first < len(products) and products[first] < rows[at] - widths[width]:
                first += 1
            while last < len(products) and products[last] <= rows[at] + widths[width]:
                last += 1
            into[1 + width, at] = last - first


@compiled
def usual_price(price: Vectors, products: Rows, weights: Floats) -> float:
    """The mean price of what the history holds, by weight; nan where none is known."""
    total, paid = 0.0, 0.0
    for place in range(len(products)):
        cost = np.float64(price[products[place]])
        if np.isfinite(cost):
            total += weights[place]
            paid += cost * weights[place]
    return max(paid / total, 0.01) if total > 0 else np.nan


@compiled
def count_columns(visit: Rows, rows: Rows, into: Floats) -> None:
    """How often each of ``rows`` (sorted) is in ``visit``."""
    into[:] = 0.0
    for one in visit:
        at = place_of(rows, one)
        if at < len(rows):
            into[at] += 1
