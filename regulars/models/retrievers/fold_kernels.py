"""A visitor's vector of factors from their products, compiled: normal equations, solved by Cholesky's decomposition."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled, compiled_loosely
from regulars.models.history_kernels import Visitor

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

TOGETHER = 4


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
    width = len(gram)
    left, right, own = gram.copy(), np.zeros(width), np.zeros((TOGETHER, width))
    by = np.zeros(TOGETHER)
    for first in range(0, len(products), TOGETHER):
        for one in range(TOGETHER):
            by[one] = 0.0
            if first + one < len(products):
                vector, by[one] = vectors[products[first + one]], confidence[first + one] - 1
                for factor in range(width):
                    own[one, factor] = vector[factor]
                    right[factor] += confidence[first + one] * vector[factor]
        _add_products(left, own, by)
    _solve(left, right)
    return right


@compiled_loosely
def _add_products(left: Floats, own: Floats, by: Floats) -> None:
    """Adds four vectors' products with themselves to the lower triangle of ``left``."""
    a, b, c, d = own[0], own[1], own[2], own[3]
    for line in range(len(left)):
        row = left[line, : line + 1]
        of_a, of_b, of_c, of_d = by[0] * a[line], by[1] * b[line], by[2] * c[line], by[3] * d[line]
        for at in range(len(row)):
            row[at] += of_a * a[at] + of_b * b[at] + of_c * c[at] + of_d * d[at]


@compiled_loosely
def _solve(left: Floats, right: Floats) -> None:
    """Puts x of ``left`` x = ``right`` into ``right``; the lower triangle of ``left``, positive definite, is overwritten."""
    column = np.empty(len(right))
    for pivot in range(len(right)):
        left[pivot, pivot] = np.sqrt(left[pivot, pivot])
        share = 1 / left[pivot, pivot]
        for line in range(pivot + 1, len(right)):
            left[line, pivot] *= share
            column[line] = left[line, pivot]
        for line in range(pivot + 1, len(right)):
            row, part, by = left[line, pivot + 1 : line + 1], column[pivot + 1 : line + 1], column[line]
            for at in range(len(row)):
                row[at] -= by * part[at]
    for line in range(len(right)):
        row, told = left[line, :line], right[line]
        for at in range(len(row)):
            told -= row[at] * right[at]
        right[line] = told / left[line, line]
    for line in range(len(right) - 1, -1, -1):
        right[line] /= left[line, line]
        row, by = left[line, :line], right[line]
        for at in range(len(row)):
            right[at] -= by * row[at]
