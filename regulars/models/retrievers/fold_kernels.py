"""A visitor's vector of factors from their products, compiled: normal equations, solved by Cholesky's decomposition."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled, compiled_loosely
from regulars.models.eights import EIGHT, add_block, add_one
from regulars.models.history_kernels import Visitor
from regulars.models.instructions import LINE, aligned

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

TOGETHER = 32  # products whose vectors fit into the nearest memory


class Fitted(NamedTuple):
    """What ``Factors`` was fitted to."""

    vectors: Vectors
    gram: Floats
    alpha: float


@compiled
def vector_of(visitor: Visitor, fitted: Fitted) -> Floats:
    """The visitor's vector (n_factors,), see ``confidences``."""
    return folded_in(fitted.vectors, fitted.gram, visitor.products, 1 + fitted.alpha * visitor.logs)


@compiled_loosely
def folded_in(vectors: Vectors, gram: Floats, products: Rows, confidence: Floats) -> Floats:
    """x of (``gram`` + sum of (confidence - 1) y y^T) x = sum of confidence y, over the vectors y of ``products``; (n_factors,)."""
    width, step = len(gram), -(-len(gram) // EIGHT) * EIGHT
    against, right = _room(step * step), np.zeros(step)  # the former times -1, so that all that follows adds
    against[:] = 0.0
    for line in range(step):
        against[line * step + line] = -1.0  # of a factor that only fills up
    for line in range(width):
        for factor in range(width):
            against[line * step + factor] = -gram[line, factor]
    own, weighted = _room(TOGETHER * step), _room(TOGETHER * step)
    own[:], weighted[:] = 0.0, 0.0
    for first in range(0, len(products), TOGETHER):
        count = min(TOGETHER, len(products) - first)
        for one in range(count):
            vector, sure = vectors[products[first + one]], confidence[first + one]
            for factor in range(width):
                part = np.float64(vector[factor])
                own[one * step + factor], weighted[one * step + factor] = part, (1 - sure) * part
                right[factor] += sure * part
        for line in range(0, step, EIGHT):
            for column in range(line, step, EIGHT):
                add_block(against, line * step + column, weighted, line, own, column, step, count)
    _solve(against, right, step)
    return right[:width]


@compiled
def _room(count: int) -> Floats:
    return aligned(np.empty(count + LINE), count)


@compiled_loosely
def _solve(against: Floats, right: Floats, step: int) -> None:
    """Puts x of A x = ``right`` into ``right``; ``against`` is -A, positive definite; U of A = U^T U takes its place."""
    for block in range(0, step, EIGHT):
        for column in range(block, step, EIGHT):
            add_block(against, block * step + column, against, block, against, column, step, block)
        for pivot in range(block, block + EIGHT):
            own = against[pivot * step : (pivot + 1) * step]
            for at in range(block, step):
                own[at] = -own[at]
            for before in range(block, pivot):
                by = -against[before * step + pivot]
                for at in range(block, step, EIGHT):
                    add_one(against, pivot * step + at, by, against, before * step + at)
            share = 1 / np.sqrt(own[pivot])
            for at in range(block, step):
                own[at] *= share
            own[block:pivot] = 0.0
    for pivot in range(step):
        told = right[pivot] / against[pivot * step + pivot]
        for at in range(pivot & -EIGHT, step, EIGHT):
            add_one(right, at, -told, against, pivot * step + at)
        right[pivot] = told
    for pivot in range(step - 1, -1, -1):
        own, told = against[pivot * step : (pivot + 1) * step], right[pivot]
        for at in range(pivot + 1, step):
            told -= own[at] * right[at]
        right[pivot] = told / own[pivot]
