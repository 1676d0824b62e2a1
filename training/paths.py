"""What lies on the paths of visits: one step on, one step back, two steps on, and products as vectors of their company.

A path is a visit's products in their order, a product that follows itself once. Purchases are left out: their order in a basket
says nothing.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.utils.extmath import randomized_svd

from regulars.models.retrievers.embedding import Embedding
from regulars.models.retrievers.neighbours import Neighbours
from training.stores import SHRINK, nobody_near, strongest_of
from training.visits import Visits

Ints = NDArray[np.int64]

MOST_INTERACTIONS = 2_000_000
MOST_PRODUCTS = 20_000
LEAST_SEEN = 2
NEAREST = 100
WINDOW, FALLING = 3, 0.6
DIMENSIONS, POWER_ITERATIONS, OVERSAMPLES = 64, 4, 16
CHUNK = 1_000


@dataclass(frozen=True)
class Paths:
    """The products (rows) of all visits, one visit after the other, and the number of each one's visit."""

    rows: Ints
    visit: Ints
    count: int

    def steps(self, length: int) -> sparse.csr_matrix:
        """How often a product comes ``length`` places after another; shape (n_products, n_products)."""
        same = (self.visit[:-length] == self.visit[length:]) & (self.rows[:-length] != self.rows[length:])
        pair = (self.rows[:-length][same], self.rows[length:][same])
        return sparse.csr_matrix((np.ones(int(same.sum())), pair), shape=(self.count, self.count))


def read_paths(visits: Visits, count: int) -> Paths:
    """The newest two million looks of all visits as paths."""
    order = np.flatnonzero(visits.newest & ~visits.bought & (visits.rows >= 0))
    order = order[np.lexsort((order, visits.at[order], visits.baskets[order]))]
    rows, visit = visits.rows[order], visits.baskets[order]
    again = np.zeros(len(rows), dtype=bool)
    again[1:] = (rows[1:] == rows[:-1]) & (visit[1:] == visit[:-1])
    rows, visit = rows[~again], visit[~again]
    return Paths(rows[-MOST_INTERACTIONS:], visit[-MOST_INTERACTIONS:], count)


def fit_steps(paths: Paths) -> tuple[Neighbours, Neighbours, Neighbours]:
    """The chance (shrunk towards 0) that a product is the next one, that it was the one before, and that it comes two steps
    on, whichever product lies between them."""
    if not len(paths.rows):
        return nobody_near(paths.count), nobody_near(paths.count), nobody_near(paths.count)
    counts = paths.steps(1)
    seen = sparse.diags(1 / (np.bincount(paths.rows, minlength=paths.count) + SHRINK))
    onward, back = (seen @ counts).tocsr(), (seen @ counts.T).tocsr()
    near = _strongest(onward)
    return near, _strongest(back), _strongest(_kept(near) @ _kept(near))


def fit_embedding(paths: Paths, *, seed: int) -> Embedding:
    """Vectors of the products that most visits hold, by positive pointwise mutual information within three steps."""
    seen = np.bincount(paths.rows, minlength=paths.count)
    kept = np.lexsort((np.arange(paths.count), -seen))[:MOST_PRODUCTS]
    kept = np.sort(kept[seen[kept] >= LEAST_SEEN])
    if len(kept) <= DIMENSIONS:
        nobody = nobody_near(paths.count)
        return Embedding(np.zeros((paths.count, 1), np.float32), nobody.rows, nobody.similarity)
    company = sum(FALLING ** (step - 1) * paths.steps(step)[kept][:, kept] for step in range(1, WINDOW + 1))
    information = _information((company + company.T).tocsr())
    left, strength, _ = randomized_svd(
        information, DIMENSIONS, n_oversamples=OVERSAMPLES, n_iter=POWER_ITERATIONS, random_state=seed
    )
    found = left * np.sqrt(strength)
    vectors = np.zeros((paths.count, DIMENSIONS), np.float32)
    vectors[kept] = found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-9)
    near = _nearest(vectors, kept)
    return Embedding(vectors, near.rows, near.similarity)


def _information(company: sparse.csr_matrix) -> sparse.csr_matrix:
    """max(log(how much more often than by chance), 0)."""
    pairs = company.tocoo()
    totals = np.asarray(company.sum(axis=0)).ravel()
    values = np.log(pairs.data * totals.sum() / (totals[pairs.row] * totals[pairs.col]))
    return sparse.csr_matrix((np.maximum(values, 0), (pairs.row, pairs.col)), shape=company.shape)


def _strongest(found: sparse.csr_matrix) -> Neighbours:
    return strongest_of(found, found.shape[0], most=NEAREST, scaled=False)


def _kept(near: Neighbours) -> sparse.csr_matrix:
    """The neighbours as a matrix again, so that two steps cost no more than what is kept of one."""
    count = len(near.rows)
    there = near.rows >= 0
    place = np.repeat(np.arange(count), near.rows.shape[1])[there.ravel()]
    return sparse.csr_matrix((near.similarity[there].astype(float), (place, near.rows[there])), shape=(count, count))


def _nearest(vectors: NDArray[np.float32], kept: Ints) -> Neighbours:
    """Of each of ``kept`` the 100 of largest positive cosine, best first, ties by row."""
    near = nobody_near(len(vectors), most=NEAREST)
    own = np.ascontiguousarray(vectors[kept])
    width = min(NEAREST, len(kept) - 1)
    for start in range(0, len(kept) if width > 0 else 0, CHUNK):
        part = np.arange(start, min(start + CHUNK, len(kept)))
        cosines = own[part] @ own.T
        cosines[np.arange(len(part)), part] = -1
        place = np.argpartition(-cosines, width - 1, axis=1)[:, :width]
        found = np.take_along_axis(cosines, place, axis=1)
        order = np.lexsort((place, -found), axis=1)
        place, found = np.take_along_axis(place, order, axis=1), np.take_along_axis(found, order, axis=1)
        near.rows[kept[part], :width] = np.where(found > 0, kept[place], -1)
        near.similarity[kept[part], :width] = np.maximum(found, 0)
    return near
