"""A linear model of what comes later in a visit, learnt from every visit cut after each of its interactions.

Source: Choi, Kim, Lee, Shim & Lee (2021), Session-aware Linear Item-Item Models for Session-based Recommendation, WWW
(SLIST): what was seen is regressed on what followed, and whole visits on themselves.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from regulars.models.retrieval import ONWARD_FALLING
from regulars.models.retrievers.neighbours import Neighbours
from training.stores import nobody_near
from training.visits import Visits

Ints = NDArray[np.int64]

STEPS = 10
MOST_PRODUCTS, MOST_INTERACTIONS = 5_000, 2_000_000
LEAST_VISITS = 2
LEAST_L2, L2_PER_VISIT = 10.0, 3.0


def fit_onward(visits: Visits, count: int, *, most: int) -> Neighbours:
    """Of each product the ``most`` of largest positive weight, over the products that most visits hold.

    A step further away counts 0.4 times as much on both sides of the cut. The penalty grows with how often a product is
    seen on average, so that it means the same in every shop. Purchases are left out: their order in a basket says nothing.
    """
    order = np.flatnonzero(visits.newest & ~visits.bought)
    order = order[np.lexsort((order, visits.at[order], visits.baskets[order]))][-MOST_INTERACTIONS:]
    rows, baskets = visits.rows[order], np.unique(visits.baskets[order], return_inverse=True)[1]
    seen = np.bincount(rows, minlength=count)
    kept = np.lexsort((np.arange(count), -seen))[:MOST_PRODUCTS]
    kept = np.sort(kept[seen[kept] >= LEAST_VISITS])
    if not len(kept):
        return nobody_near(count)
    before, after = _sides(rows, baskets, count)
    before, after = before[:, kept], after[:, kept]
    whole = _once(baskets, rows, count)[:, kept]
    both = whole.T @ whole
    gram = np.asfortranarray((before.T @ before + both).toarray(), dtype=np.float32)
    wanted = np.asfortranarray((before.T @ after + both).toarray(), dtype=np.float32)
    diagonal = np.diag_indices(len(gram))
    gram[diagonal] += max(LEAST_L2, L2_PER_VISIT * float(gram[diagonal].mean()))
    factor, _ = lapack.spotrf(gram, lower=1, overwrite_a=1)
    weights, _ = lapack.spotrs(factor, wanted, lower=1, overwrite_b=1)
    return _largest(weights, kept, count, most=most)


def _sides(rows: Ints, baskets: Ints, count: int) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
    """Per place with something after it in its visit: what was seen until there, and what came after it."""
    places = np.arange(len(rows))
    parts: tuple[list[tuple[NDArray, NDArray, NDArray]], ...] = ([], [])
    for step in range(STEPS):
        for side, shift in zip(parts, (-step, step + 1), strict=True):
            other = places + shift
            inside = (other >= 0) & (other < len(rows))
            here, there = places[inside], other[inside]
            same = baskets[here] == baskets[there]
            here, there = here[same], there[same]
            side.append((np.full(len(here), ONWARD_FALLING**step), here, rows[there]))
    before, after = (
        sparse.csr_matrix(
            (np.concatenate([v for v, _, _ in side]),
             (np.concatenate([r for _, r, _ in side]), np.concatenate([c for _, _, c in side]))),
            shape=(len(rows), count),
        )
        for side in parts
    )  # fmt: skip
    followed = np.flatnonzero(np.diff(after.indptr))
    return before[followed], after[followed]


def _once(baskets: Ints, rows: Ints, count: int) -> sparse.csr_matrix:
    """1 where a visit holds a product; shape (n_visits, n_products)."""
    shape = (int(baskets.max(initial=-1)) + 1, count)
    found = sparse.csr_matrix((np.ones(len(rows)), (baskets, rows)), shape=shape)
    found.data[:] = 1.0
    return found


def _largest(weights: NDArray[np.float32], rows: Ints, count: int, *, most: int) -> Neighbours:
    """Each row's ``most`` largest positive weights, best first, ties by row."""
    near = nobody_near(count, most=most)
    width = min(most, len(rows))
    place = np.argpartition(-weights, width - 1, axis=1)[:, :width]
    found = np.take_along_axis(weights, place, axis=1)
    order = np.lexsort((place, -found), axis=1)
    place, found = np.take_along_axis(place, order, axis=1), np.take_along_axis(found, order, axis=1)
    near.rows[rows, :width] = np.where(found > 0, rows[place], -1)
    near.similarity[rows, :width] = np.maximum(found, 0)
    return near
