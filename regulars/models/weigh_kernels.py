"""A weighing in one compiled call: what is reached, candidates, features and the trees' sums."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.history_kernels import visitor_of
from regulars.models.leaf_sets import add_sums
from regulars.models.pair_columns import Paths, Places, Products, fill_columns
from regulars.models.retrievers.candidate_kernels import Sources, candidates
from regulars.models.retrievers.reach_kernels import Told, reach
from regulars.models.row_sets import MOST_ROWS

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

STEP = 64  # columns begin where a line of memory does


class Model(NamedTuple):
    """All that is read of a model but its trees."""

    told: Told
    sources: Sources
    products: Products
    paths: Paths
    at: Places
    count_features: int
    own_share: float


class Question(NamedTuple):
    """``moment`` in seconds since 1970; how much ``deeper`` retrievers dig; ``allowed`` (n_products,), empty where all are; rows
    that are candidates ``also``."""

    moment: int
    deeper: int
    allowed: NDArray[np.bool_]
    also: Rows


@compiled
def weigh(
    model: Any, trees: Any, history: Any, question: Question, sums: Floats, touched: NDArray[np.uint64]
) -> tuple[Rows, Vectors, Floats]:
    """The candidates (n_rows,), their features (n_features, at least n_rows), and the trees' sum of each.

    ``model`` and ``trees``: a ``Model`` and ``Sets``, kept. ``history``: what ``visitor_of`` takes.
    """
    told, visitor = model.told, visitor_of(*history)
    reached = reach(visitor, told.told, sums, touched)
    rows = candidates(visitor, reached, told.sources, question.deeper, question.allowed, question.also, sums, touched)
    wanted, texts = reached.wanted.astype(np.float32), told.sources.texts
    made = np.empty((told.count_features, -(-len(rows) // STEP) * STEP), np.float32)
    columns = np.empty((told.count_features, len(rows)))
    fill_columns(
        visitor, told.products, texts, reached.parts, told.paths, wanted, told.own_share, rows, question.moment, told.at, sums,
        touched, columns, made,
    )  # fmt: skip
    scores = np.zeros(len(rows))
    for first in range(0, len(rows), MOST_ROWS):
        add_sums(made, first, trees.told, scores[first : first + MOST_ROWS])
    return rows, made, scores
