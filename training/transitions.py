"""Fits the mixture of transitions: which product comes next after each of a visit's latest ones, by vectors of 64 numbers.

Maximum likelihood by Adam (Kingma & Ba, ICLR 2015) on every place of every path; the gradient of a mixture is that of each part,
weighted by how much of the next product it explains. Beyond 3,000 products each step draws those that it compares (Bengio &
Senécal, 2008, Adaptive Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model, IEEE TNN 19).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from regulars.models.retrievers.transitions import LATEST_PRODUCTS, SHARPNESS, Transitions
from training.paths import Paths
from training.stores import nobody_near

Ints = NDArray[np.int64]
Vectors = NDArray[np.float32]

MOST_PRODUCTS, MOST_COLUMNS, MOST_PLACES, LEAST_PLACES = 20_000, 3_000, 40_000, 200
DIMENSIONS, TOGETHER = 64, 8
EPOCHS, BATCH, RATE, DROPPED = 8, 256, 0.004, 0.35
FALLING, SPREAD = 0.5, 0.3
NEAREST = 100
CHUNK = 1_000


def fit_transitions(paths: Paths, *, seed: int, most_places: int = MOST_PLACES) -> Transitions:
    """Vectors, liking and weights of places; none where fewer than 200 places have something after them.

    Learnt from the newest ``most_places``, over the 20,000 products that most visits hold.
    """
    seen = np.bincount(paths.rows, minlength=paths.count)
    kept = np.lexsort((np.arange(paths.count), -seen))[:MOST_PRODUCTS]
    kept = np.sort(kept[seen[kept] > 0])
    before, after = latest_before(paths)
    known = np.isin(after, kept) & np.isin(before[:, 0], kept)
    before, after = before[known][-most_places:], after[known][-most_places:]
    if len(after) < LEAST_PLACES:
        return Transitions.none(paths.count)
    place = np.full(paths.count + 1, -1)
    place[kept] = np.arange(len(kept))
    mixture = _Mixture.started(kept, seed=seed)
    mixture.learn(place[before], place[after], seen[kept])
    return _found(mixture, kept, paths.count)


def latest_before(paths: Paths) -> tuple[Ints, Ints]:
    """Per place with something before it in its visit: the five latest distinct products before it, and the product itself.

    Shapes (n_places, 5), the latest first, -1 where there are fewer, and (n_places,).
    """
    rows, visit = paths.rows, paths.visit
    first = np.searchsorted(visit, visit)
    places = np.flatnonzero(np.arange(len(rows)) > first)
    before = np.full((len(places), LATEST_PRODUCTS), -1)
    filled, at = np.zeros(len(places), np.int64), places - 1
    for _ in range(3 * LATEST_PRODUCTS):
        open_ = (at >= first[places]) & (filled < LATEST_PRODUCTS)
        one = rows[np.maximum(at, 0)]
        new = np.flatnonzero(open_ & (before != one[:, None]).all(axis=1))
        before[new, filled[new]] = one[new]
        filled[new] += 1
        at = at - 1
    return before, rows[places]


@dataclass
class _Mixture:
    """What is learnt, over the products kept; ``near`` (n_products, n_groups) blends groups of products with close numbers."""

    own: Vectors
    shared: Vectors
    near: sparse.csr_matrix
    liking: Vectors
    places: Vectors
    rng: np.random.Generator

    @classmethod
    def started(cls, rows: Ints, *, seed: int) -> "_Mixture":
        rng = np.random.default_rng(seed)
        near = _blend(rows)
        scale = 1 / np.sqrt(DIMENSIONS)
        return cls(
            own=(scale * rng.standard_normal((len(rows), DIMENSIONS))).astype(np.float32),
            shared=(SPREAD * scale * rng.standard_normal((near.shape[1], DIMENSIONS))).astype(np.float32),
            near=near,
            liking=np.zeros(len(rows), np.float32),
            places=(-FALLING * np.arange(LATEST_PRODUCTS)).astype(np.float32),
            rng=rng,
        )

    @property
    def vectors(self) -> Vectors:
        return np.asarray(self.own + self.near @ self.shared, dtype=np.float32)

    def learn(self, before: Ints, after: Ints, seen: Ints) -> None:
        steps = _Adam([self.own, self.shared, self.liking, self.places])
        drawn = _Drawn(seen, self.rng)
        for _ in range(EPOCHS):
            order = self.rng.permutation(len(after))
            for start in range(0, len(order), BATCH):
                batch = order[start : start + BATCH]
                steps.take(self._gradient(before[batch], after[batch], *drawn.columns(after[batch])))

    def _gradient(self, before: Ints, after: Ints, columns: Ints, correction: Vectors) -> list[Vectors]:
        example, place = np.nonzero(before >= 0)
        product, part = before[example, place], np.arange(len(example))
        vectors = self.vectors
        length = _lengths(vectors)
        unit = vectors / length
        dropped = (self.rng.random((len(product), DIMENSIONS)) >= DROPPED).astype(np.float32) / np.float32(1 - DROPPED)
        seen = vectors[product] * dropped
        seen_length = _lengths(seen)
        seen = seen / seen_length
        others = unit[columns]
        chance = SHARPNESS * (seen @ others.T) + (self.liking[columns] - correction)
        screen = before[example, 0]
        looked = np.searchsorted(columns, screen)
        there = columns[np.minimum(looked, len(columns) - 1)] == screen
        chance[part[there], looked[there]] = -np.inf  # what is on the screen is not what comes next
        _softmax(chance)
        wanted = np.searchsorted(columns, after)[example]
        weights = place_weights(self.places, before >= 0)
        explained = weights * 0
        explained[example, place] = weights[example, place] * chance[part, wanted]
        explained /= explained.sum(axis=1, keepdims=True) + 1e-30
        share = (explained[example, place] / len(after)).astype(np.float32)
        chance *= share[:, None]
        chance[part, wanted] -= share
        back = sparse.csr_matrix((np.ones(len(part), np.float32), (product, part)), shape=(len(vectors), len(part)))
        whole = back @ (_through(SHARPNESS * (chance @ others), seen, seen_length) * dropped)
        whole[columns] += _through(SHARPNESS * (chance.T @ seen), others, length[columns])
        liking = np.zeros_like(self.liking)
        liking[columns] = chance.sum(axis=0)
        places = ((weights - explained).sum(axis=0) / len(after)).astype(np.float32)
        return [whole, self.near.T @ whole, liking, places]


class _Adam:
    """Steps along a smoothed gradient, each number's in units of its own spread; the arrays are changed in place."""

    def __init__(self, arrays: list[Vectors]) -> None:
        self.arrays, self.count = arrays, 0
        self.mean, self.square = [[np.zeros_like(array) for array in arrays] for _ in range(2)]

    def take(self, gradients: list[Vectors]) -> None:
        self.count += 1
        for place, gradient in enumerate(gradients):
            self.mean[place] += 0.1 * (gradient - self.mean[place])
            self.square[place] += 0.001 * (gradient * gradient - self.square[place])
            spread = np.sqrt(self.square[place] / np.float32(1 - 0.999**self.count)) + 1e-8
            self.arrays[place] -= (RATE / (1 - 0.9**self.count)) * self.mean[place] / spread


@dataclass(frozen=True)
class _Drawn:
    """The products that a step compares: all up to 3,000, else the wanted ones and as many drawn by how often they are seen."""

    seen: Ints
    rng: np.random.Generator

    @cached_property
    def _chances(self) -> NDArray[np.float64]:
        return np.power(self.seen, 0.75) / np.power(self.seen, 0.75).sum()

    def columns(self, wanted: Ints) -> tuple[Ints, Vectors]:
        """Sorted products, and by what their liking is too high for being drawn as often as they are."""
        if len(self.seen) <= MOST_COLUMNS:
            return np.arange(len(self.seen)), np.zeros(len(self.seen), np.float32)
        drawn = np.searchsorted(np.cumsum(self._chances), self.rng.random(MOST_COLUMNS))
        columns = np.unique(np.concatenate([wanted, np.minimum(drawn, len(self.seen) - 1)]))
        found = -np.expm1(MOST_COLUMNS * np.log1p(-self._chances[columns]))
        return columns, np.log(found).astype(np.float32)


def place_weights(places: Vectors, there: NDArray[np.bool_]) -> NDArray[np.float64]:
    """How much each place of a visit counts, summing to 1 over those that are ``there``; shape (n_examples, 5)."""
    weights = np.where(there, np.exp(places.astype(float)), 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _blend(rows: Ints) -> sparse.csr_matrix:
    """Each row as a blend of the two groups of eight rows that it lies between."""
    group, further = np.divmod(rows, TOGETHER)
    share = (further / TOGETHER).astype(np.float32)
    place = np.arange(len(rows))
    found = sparse.csr_matrix(
        (np.concatenate([1 - share, share]), (np.tile(place, 2), np.concatenate([group, group + 1])))
    )
    return found[:, np.unique(found.indices)]


def _lengths(vectors: Vectors) -> Vectors:
    return np.asarray(np.sqrt((vectors * vectors).sum(axis=1, keepdims=True) + np.float32(1e-6)))


def _through(gradient: Vectors, unit: Vectors, length: Vectors) -> Vectors:
    """The gradient by a vector from that by the vector over its ``length``."""
    return np.asarray((gradient - (gradient * unit).sum(axis=1, keepdims=True) * unit) / length)


def _softmax(scores: Vectors) -> None:
    """Each row as chances, in place."""
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)


def _found(mixture: _Mixture, kept: Ints, count: int) -> Transitions:
    unit = mixture.vectors
    unit = unit / _lengths(unit)
    vectors = np.zeros((count, DIMENSIONS), np.float32)
    liking, total = np.full(count, -np.inf, np.float32), np.zeros(count, np.float32)
    vectors[kept], liking[kept] = unit, mixture.liking
    near = nobody_near(count, most=NEAREST)
    width = min(NEAREST, len(kept) - 1)
    for start in range(0, len(kept), CHUNK):
        part = np.arange(start, min(start + CHUNK, len(kept)))
        chance = SHARPNESS * (unit[part] @ unit.T) + mixture.liking
        chance[np.arange(len(part)), part] = -np.inf
        highest = chance.max(axis=1)
        total[kept[part]] = highest + np.log(np.exp(chance - highest[:, None]).sum(axis=1))
        _softmax(chance)
        place = np.argpartition(-chance, width - 1, axis=1)[:, :width]
        found = np.take_along_axis(chance, place, axis=1)
        order = np.lexsort((place, -found), axis=1)
        near.rows[kept[part], :width] = kept[np.take_along_axis(place, order, axis=1)]
        near.similarity[kept[part], :width] = np.take_along_axis(found, order, axis=1)
    return Transitions(vectors, liking, total, np.exp(mixture.places), near.rows, near.similarity)
