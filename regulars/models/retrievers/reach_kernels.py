"""What all retrievers reach from one history, in one compiled pass, part behind part.

A call into compiled code gives up the interpreter's lock and wants it back: forty calls for one answer wait forty times where
several answers are made at once. Each part is what the retriever of its name says alone, from the same kernels.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled, compiled_inline
from regulars.models.history_kernels import Visitor, faded_purchases, frequency_of
from regulars.models.instructions import put
from regulars.models.retrievers.ask_kernels import TABLE_OF, Fading, asks_of
from regulars.models.retrievers.candidate_kernels import Reached
from regulars.models.retrievers.fold_kernels import Fitted, vector_of
from regulars.models.retrievers.kernels import (
    add_neighbours,
    add_rows,
    add_to_most,
    collect,
    spans_room,
    spans_summed,
    sum_spans,
)
from regulars.models.retrievers.visit_kernels import products_of_visits, visits_holding
from regulars.models.selection import highest, highest_places

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Pairs = tuple[Rows, Floats]

FIRST_ROOM = 65_536


class Visits(NamedTuple):
    """The arrays of ``Sessions``."""

    products: NDArray[np.int32]
    starts: NDArray[np.int64]
    postings: NDArray[np.int32]
    posting_starts: NDArray[np.int64]
    rarity: NDArray[np.float32]


class Vectors(NamedTuple):
    """The arrays of ``Lookalikes``."""

    rows: NDArray[np.int32]
    values: NDArray[np.float32]
    starts: NDArray[np.int64]
    postings: NDArray[np.int32]
    posting_values: NDArray[np.float32]
    posting_starts: NDArray[np.int64]


class Told(NamedTuple):
    """What is read of the model: the ``tables`` of neighbours (rows and similarity) in the order of ``TABLES``, which of them
    are ``silent``, and what the parts are made with."""

    tables: Any
    silent: NDArray[np.bool_]
    fading: Fading
    visits: Visits
    most_visits: tuple[int, int, int]
    close: float
    vectors: Vectors
    alike: int
    frequency: tuple[int, Floats, Floats]
    half_life_days: float
    factors: Fitted


@compiled_inline
def reach(visitor: Visitor, told: Told, sums: Floats, touched: Words) -> Reached:
    """Rows and scores that each ask of ``ASKED`` reaches, the three of ``of_visits``, those of ``of_vectors``, and the visitor's
    own frequency; their ends. And of each product of the history how often it was bought, faded; and the
    visitor's vector of factors.

    Within a part rows are sorted. ``sums`` and ``touched`` are as long as products, visits and vectors need.
    """
    asks = asks_of(visitor, told.fading)
    found, scores, filled = np.empty(FIRST_ROOM, np.int64), np.empty(FIRST_ROOM), 0
    ends, part, first = np.empty(len(TABLE_OF) + 5, np.int64), 0, 0
    for last in asks.ends:
        rows, similarity = told.tables[TABLE_OF[part]]
        if last > first and not told.silent[TABLE_OF[part]]:
            found, scores = _room(found, scores, filled + (last - first) * rows.shape[1] + 1)
            add_neighbours(rows, similarity, asks.products[first:last], asks.weights[first:last], sums, touched)
            filled = collect(sums, touched, found, scores, filled)
        ends[part] = filled
        part, first = part + 1, last
    visit = asks.visit[: told.most_visits[0]][::-1].copy()
    _, nearest, recent = told.most_visits
    for pairs in of_visits(visit, told.visits, nearest, recent, told.close, sums, touched):
        found, scores, filled = _behind(pairs, found, scores, filled)
        ends[part] = filled
        part += 1
    own = frequency_of(visitor, told.frequency[0], told.frequency[1], told.frequency[2])
    near, shares = vectors_near(own, told.vectors, told.alike, sums, touched)
    vectors, products = told.vectors, len(told.vectors.posting_starts) - 1
    found, scores = _room(found, scores, filled + spans_room(vectors.starts, near, products))
    filled = sum_spans(
        vectors.rows, vectors.values, vectors.starts, near, shares, products, sums, touched, found, scores, filled
    )
    ends[part] = filled
    found, scores, filled = _behind(own, found, scores, filled)
    ends[part + 1] = filled
    parts = found[:filled], scores[:filled], ends
    return Reached(parts, faded_purchases(visitor, told.half_life_days), vector_of(visitor, told.factors))


@compiled
def of_visits(
    visit: Rows, visits: Visits, nearest: int, recent: int, close: float, sums: Floats, touched: Words
) -> tuple[Pairs, Pairs, Pairs]:
    """What the ``nearest`` of the ``recent`` newest visits hold that share a product with ``visit`` (oldest first).

    By likeness x how late the two part, summed; times the product's rarity; as far as it comes ``close`` after. See ``Sessions``.
    ``sums`` and ``touched`` are as long as products and visits need, and are left zero.
    """
    held, likeness = visits_holding(visit, visits.posting_starts, visits.postings, recent, sums, touched)
    near = highest_places(likeness, nearest)
    rows, values, after = products_of_visits(held[near], likeness[near], visit, visits.products, visits.starts, close)
    found, total = np.empty(len(rows) + 1, np.int64), np.empty(len(rows) + 1)
    add_rows(rows, values, sums, touched)
    count = collect(sums, touched, found, total, 0)
    for place in range(len(rows)):
        sums[np.uint64(rows[place])] += after[place]
    rare, later = np.empty(count), np.empty(count)
    for place in range(count):
        row = np.uint64(found[place])
        rare[place], later[place] = total[place] * visits.rarity[row], sums[row]
    for place in range(count):
        sums[np.uint64(found[place])] = 0.0
    return (found[:count], total[:count]), _above_0(found, rare), _above_0(found, later)


@compiled
def _above_0(found: Rows, scores: Floats) -> Pairs:
    """Those of the ``found`` whose score is above 0."""
    rows, kept, count = np.empty(len(scores) + 1, np.int64), np.empty(len(scores) + 1), np.uint64(0)
    for place in range(len(scores)):
        rows[count], kept[count] = found[place], scores[place]
        count += np.uint64(scores[place] > 0)
    return rows[:count], kept[:count]


@compiled
def of_vectors(own: Pairs, vectors: Vectors, alike: int, sums: Floats, touched: Words) -> Pairs:
    """The mean of the ``alike`` vectors that lie closest to a customer's own; see ``Lookalikes``."""
    near, shares = vectors_near(own, vectors, alike, sums, touched)
    products = len(vectors.posting_starts) - 1
    return spans_summed(vectors.rows, vectors.values, vectors.starts, near, shares, products, sums, touched)


@compiled
def vectors_near(own: Pairs, vectors: Vectors, alike: int, sums: Floats, touched: Words) -> Pairs:
    """The ``alike`` vectors that lie closest to a customer's own, and by how much each counts for their mean."""
    customers, shares = len(vectors.starts) - 1, np.full(alike, 1 / alike)
    held, values, starts = vectors.postings, vectors.posting_values, vectors.posting_starts
    if spans_room(starts, own[0], customers) <= customers:
        holding, likeness = spans_summed(held, values, starts, own[0], own[1], customers, sums, touched)
        return highest(holding, likeness, alike), shares
    add_to_most(held, values, starts, own[0], own[1], sums)
    near = highest_places(sums[:customers], alike)
    sums[:customers] = 0.0
    return near, shares


@compiled
def _behind(pairs: Pairs, found: Rows, scores: Floats, filled: int) -> tuple[Rows, Floats, int]:
    end = filled + len(pairs[0])
    found, scores = _room(found, scores, end)
    put(pairs[0], found, filled)
    put(pairs[1], scores, filled)
    return found, scores, end


@compiled
def _room(found: Rows, scores: Floats, count: int) -> Pairs:
    """The same, long enough for ``count``."""
    if count <= len(found):
        return found, scores
    longer, more = np.empty(2 * count, np.int64), np.empty(2 * count)
    put(found, longer, 0)
    put(scores, more, 0)
    return longer, more
