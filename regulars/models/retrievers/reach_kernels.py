"""What all retrievers reach from one history, in one compiled pass, part behind part.

A call into compiled code gives up the interpreter's lock and wants it back: forty calls for one answer wait forty times where
several answers are made at once. Each part is what the retriever of its name says alone, from the same kernels.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.retrievers.kernels import (
    add_neighbours,
    add_rows,
    collect,
    collected,
    highest,
    spans_summed,
)
from regulars.models.retrievers.visit_kernels import products_of_visits, visits_holding

Floats = NDArray[np.float64]
Words = NDArray[np.uint64]
Pairs = tuple[Rows, Floats]

FIRST_ROOM = 16_384


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


class Ask(NamedTuple):
    """The neighbours (``rows``, ``similarity``) of ``products``, each counting ``weights``."""

    rows: NDArray[np.int32]
    similarity: NDArray[np.float32]
    products: Rows
    weights: Floats


@compiled
def reach(
    asks: Any,
    visit: Rows,
    visits: Visits,
    nearest: int,
    recent: int,
    close: float,
    own: Pairs,
    vectors: Vectors,
    alike: int,
    sums: Floats,
    touched: Words,
) -> tuple[Rows, Floats, NDArray[np.int64]]:
    """Rows and scores that each of ``asks`` reaches, the three of ``of_visits``, those of ``of_vectors``, and ``own``; their ends.

    Within a part rows are sorted. ``sums`` and ``touched`` are as long as products, visits and vectors need.
    """
    found, scores, filled = np.empty(FIRST_ROOM, np.int64), np.empty(FIRST_ROOM), 0
    ends, part = np.empty(len(asks) + 5, np.int64), 0
    for ask in asks:
        if len(ask.products):
            found, scores = _room(found, scores, filled + len(ask.products) * ask.rows.shape[1])
            add_neighbours(ask.rows, ask.similarity, ask.products, ask.weights, sums, touched)
            filled = collect(sums, touched, found, scores, filled)
        ends[part] = filled
        part += 1
    for pairs in of_visits(visit, visits, nearest, recent, close, sums, touched):
        found, scores, filled = _behind(pairs, found, scores, filled)
        ends[part] = filled
        part += 1
    for pairs in (of_vectors(own, vectors, alike, sums, touched), own):
        found, scores, filled = _behind(pairs, found, scores, filled)
        ends[part] = filled
        part += 1
    return found[:filled], scores[:filled], ends


@compiled
def of_visits(
    visit: Rows, visits: Visits, nearest: int, recent: int, close: float, sums: Floats, touched: Words
) -> tuple[Pairs, Pairs, Pairs]:
    """What the ``nearest`` of the ``recent`` newest visits hold that share a product with ``visit`` (oldest first).

    By likeness x how late the two part, summed; times the product's rarity; as far as it comes ``close`` after. See ``Sessions``.
    """
    held, likeness = visits_holding(visit, visits.posting_starts, visits.postings, recent)
    near = highest(-held, likeness, nearest)
    weights = likeness[np.searchsorted(-held, near)]
    rows, values, after = products_of_visits(-near, weights, visit, visits.products, visits.starts, close)
    add_rows(rows, values, sums, touched)
    plain = collected(sums, touched)
    for at in range(len(rows)):
        values[at] *= visits.rarity[rows[at]]
    add_rows(rows, values, sums, touched)
    rare = collected(sums, touched)
    add_rows(rows, after, sums, touched)
    return plain, rare, collected(sums, touched)


@compiled
def of_vectors(own: Pairs, vectors: Vectors, alike: int, sums: Floats, touched: Words) -> Pairs:
    """The mean of the ``alike`` vectors that lie closest to a customer's own; see ``Lookalikes``."""
    customers, products = len(vectors.starts) - 1, len(vectors.posting_starts) - 1
    holding, likeness = spans_summed(
        vectors.postings, vectors.posting_values, vectors.posting_starts, own[0], own[1], customers, sums, touched
    )
    near, shares = highest(holding, likeness, alike), np.full(alike, 1 / alike)
    return spans_summed(vectors.rows, vectors.values, vectors.starts, near, shares, products, sums, touched)


@compiled
def _behind(pairs: Pairs, found: Rows, scores: Floats, filled: int) -> tuple[Rows, Floats, int]:
    end = filled + len(pairs[0])
    found, scores = _room(found, scores, end)
    found[filled:end], scores[filled:end] = pairs
    return found, scores, end


@compiled
def _room(found: Rows, scores: Floats, count: int) -> Pairs:
    """The same, long enough for ``count``."""
    if count <= len(found):
        return found, scores
    longer, more = np.empty(2 * count, np.int64), np.empty(2 * count)
    longer[: len(found)], more[: len(scores)] = found, scores
    return longer, more
