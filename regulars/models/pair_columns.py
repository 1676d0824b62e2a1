"""All features of pairs (``pairs.NAMES``) in one compiled pass, from the kernels of each family."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled, compiled_inline
from regulars.models.history_kernels import Visitor, visited
from regulars.models.instructions import put
from regulars.models.pair_kernels import (
    Floats,
    Vectors,
    akin_columns,
    count_columns,
    group_share,
    likeness_columns,
    looked_up_columns,
    own_columns,
    place_columns,
    product_columns,
    rank_rows,
    share_rows,
    usual_price,
)
from regulars.models.retrievers.ask_kernels import shares_of
from regulars.models.retrievers.candidate_kernels import Texts
from regulars.models.retrievers.kernels import cosines
from regulars.models.retrievers.transitions import chance_columns

Words = NDArray[np.uint64]
WITHIN = (5, 25)


class Products(NamedTuple):
    """The arrays of ``Catalogue`` and ``Popular`` that are read, and the products' vectors of factors."""

    counts: Vectors
    count_customers: NDArray[np.int32]
    repeat_rate: Vectors
    gap_days: Vectors
    first_seen_at: NDArray[np.int64]
    price: Vectors
    category: NDArray[np.int32]
    parent: NDArray[np.int32]
    brand: NDArray[np.int32]
    vectors: Vectors


class Paths(NamedTuple):
    """The vectors of ``Embedding`` and ``Transitions``, no rows where there are none, what else the latter has, and of how many
    products of a visit they hear."""

    embedding: Vectors
    transitions: Vectors
    liking: Vectors
    total: Vectors
    places: Vectors
    most_akin: int
    most_passed: int


class Places(NamedTuple):
    """Where columns lie: the first of each family, then places within the family of what is near.

    ``told``: of each part of what was reached, -1 where none; ``shared`` and ``ranked``: what is compared among candidates,
    where the place behind the last is ``popular``.
    """

    product: int
    near: int
    shares: int
    ranks: int
    common: int
    visitor: int
    since_bought: int
    popular: int
    told: NDArray[np.int64]
    shared: NDArray[np.int64]
    ranked: NDArray[np.int64]
    own_frequency: int
    lookalikes: int
    frequency: int
    content: int
    factors: int
    factors_newest: int
    akin: int
    transition: int
    visit_count: int


@compiled_inline
def fill_columns(
    visitor: Visitor,
    products: Products,
    texts: Texts,
    reached: tuple[Rows, Floats, NDArray[np.int64]],
    paths: Paths,
    wanted: Vectors,
    own_share: float,
    rows: Rows,
    moment: int,
    at: Places,
    sums: Floats,
    touched: Words,
    columns: Floats,
    made: Any,
) -> None:
    """Fills ``columns`` (n_features, n_rows), and ``made``, which may be wider, with the same as float32."""
    baskets, lines, distinct = own_columns(
        visitor.products, visitor.place, visitor.days, visitor.bought, rows, columns[: at.product]
    )
    product_columns(
        products.counts,
        products.count_customers,
        products.repeat_rate,
        products.gap_days,
        products.first_seen_at,
        products.price,
        rows,
        columns[at.since_bought],
        moment,
        columns[at.product : at.near],
    )
    near = columns[at.near : at.shares]
    _near(near, visitor, products, texts, reached, paths, wanted, own_share, rows, at, sums, touched)
    compared = columns[at.near : at.shares + 1]  # and behind what is near, for now, the popular
    put(columns[at.popular], compared[len(near)], 0)
    rank_rows(compared, at.ranked, columns[at.ranks : at.common])
    share_rows(near, at.shared, columns[at.shares : at.ranks])
    _common(columns[at.common : at.visitor], visitor, products, rows, sums)
    _visitor(columns[at.visitor :], visitor, products.count_customers, baskets, lines, distinct)
    for column in range(len(columns)):
        for place in range(len(rows)):
            made[column, place] = columns[column, place]


@compiled
def _near(
    near: Floats,
    visitor: Visitor,
    products: Products,
    texts: Texts,
    reached: tuple[Rows, Floats, NDArray[np.int64]],
    paths: Paths,
    wanted: Vectors,
    own_share: float,
    rows: Rows,
    at: Places,
    sums: Floats,
    touched: Words,
) -> None:
    """What each retriever says."""
    looked_up_columns(reached[0], reached[1], reached[2], rows, at.told, sums, near)
    for place in range(len(rows)):
        others = (1 - own_share) * near[at.lookalikes, place]
        near[at.frequency, place] = own_share * near[at.own_frequency, place] + others
    count_columns(visitor.visit, rows, near[at.visit_count])
    cosines(
        texts.words, texts.weights, texts.starts, visitor.strong, visitor.strong_weights, rows, sums, touched,
        near[at.content],
    )  # fmt: skip
    near[at.factors], near[at.factors_newest] = 0.0, 0.0
    if len(visitor.rows):
        newest = products.vectors[visitor.rows[-1]]
        likeness_columns(products.vectors, wanted, newest, rows, near[at.factors], near[at.factors_newest])
    visit, _ = visited(visitor.rows, visitor.days, len(visitor.rows) - len(visitor.visit))
    latest = visit[: paths.most_akin if len(paths.embedding) else 0]
    akin_columns(paths.embedding, latest, rows, near[at.akin : at.akin + 3])
    passed = visit[: paths.most_passed if len(paths.transitions) else 0]
    shares, chances = shares_of(passed, paths.places, paths.liking), near[at.transition : at.transition + 2]
    chances[:] = 0.0
    if len(shares):
        chance_columns(paths.transitions, paths.liking, paths.total, passed, shares, rows, chances)


@compiled
def _common(into: Floats, visitor: Visitor, products: Products, rows: Rows, sums: Floats) -> None:
    """What the products have in common with the history's.

    Rows are in the order of product ids, and shops number products as they take them in, so that those of one collection lie
    together.
    """
    group_share(products.category, visitor.products, visitor.weights, rows, sums, into[0])
    group_share(products.parent, visitor.products, visitor.weights, rows, sums, into[1])
    group_share(products.brand, visitor.products, visitor.weights, rows, sums, into[2])
    usual = usual_price(products.price, visitor.products, visitor.weights)
    newest = visitor.rows[-1] if len(visitor.rows) else -1
    place_columns(products.price, usual, visitor.products, newest, rows, WITHIN, into[3:])


@compiled
def _visitor(
    into: Floats, visitor: Visitor, count_customers: NDArray[np.int32], baskets: int, lines: int, distinct: int
) -> None:
    count = len(visitor.rows)
    into[0], into[1], into[2] = baskets, len(visitor.products), count
    into[3] = lines / baskets if baskets else np.nan
    into[4] = visitor.days[-1] if count else np.nan
    into[5] = 1 - distinct / lines if lines else np.nan
    into[6] = len(visitor.visit)
    into[7] = count_customers[visitor.rows[-1]] if count else np.nan
