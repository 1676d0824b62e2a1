"""The longest products of vectors with one vector, found in eight bits and computed exactly, compiled.

What the vectors are rounded by bounds what a rounded product can be off (Cauchy and Schwarz), so that nothing that belongs to the
best is missed: most are ruled out after a quarter of the memory was read. Without rounding errors it is the filter-and-refine of
Seidl & Kriegel, Optimal Multi-Step k-Nearest Neighbor Search, SIGMOD 1998.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled, compiled_loosely
from regulars.models.retrievers.kernels import highest

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

FLOAT_ERROR = 1e-5  # of a product of two vectors, as a share of their lengths


class Coarse(NamedTuple):
    """Some vectors in eight bits: ``rows`` (sorted) of theirs, ``bits`` (n, n_factors) times ``scale`` (n,), and the ``error``
    (n,) made by that, as a length."""

    rows: Rows
    bits: NDArray[np.int8]
    scale: Vectors
    error: Vectors


def coarse(vectors: Vectors, rows: Rows) -> Coarse:
    """The vectors of ``rows`` rounded."""
    exact = vectors[rows]
    scale = np.maximum(np.abs(exact).max(axis=1, initial=0.0), 1e-30) / np.float32(127)
    bits = np.round(exact / scale[:, None]).astype(np.int8)
    off = np.linalg.norm(exact - bits * scale[:, None], axis=1)
    error = off + FLOAT_ERROR * np.linalg.norm(exact, axis=1)
    return Coarse(rows, bits, scale.astype(np.float32), error.astype(np.float32))


@compiled
def nearest(
    rounded: Coarse, vectors: Vectors, wanted: Vectors, n: int, allowed: NDArray[np.bool_], n_allowed: int
) -> tuple[Rows, Floats]:
    """Rows, sorted, and products with ``wanted`` of all that may be among the ``n`` highest above 0.

    With ``n_allowed`` also of those that may be among that many highest of the ``allowed`` (n_products,).
    """
    told = np.empty(len(rounded.rows), np.float32)
    products(rounded.bits, rounded.scale, wanted, told)
    length = np.float64(0)
    for factor in range(len(wanted)):
        length += np.float64(wanted[factor]) ** 2
    length = np.sqrt(length)
    least, places = np.empty(len(told)), np.arange(len(told))
    for at in range(len(told)):
        least[at] = told[at] - length * rounded.error[at]
    bound = _bound(places, least, n)
    bound_allowed = np.inf
    if n_allowed:
        kept = places[allowed[rounded.rows]]
        bound_allowed = _bound(kept, least[kept], n_allowed)
    chosen, count = np.empty(len(told), np.int64), 0
    for at in range(len(told)):
        most = told[at] + length * rounded.error[at]
        if most > 0 and (most >= bound or (most >= bound_allowed and allowed[rounded.rows[at]])):
            chosen[count] = rounded.rows[at]
            count += 1
    found, scores = chosen[:count].copy(), np.empty(count)
    for at in range(count):
        told_exactly = np.float32(0)
        for factor in range(len(wanted)):
            told_exactly += vectors[found[at], factor] * wanted[factor]
        scores[at] = told_exactly
    return found, scores


@compiled_loosely
def products(bits: NDArray[np.int8], scale: Vectors, wanted: Vectors, into: Vectors) -> None:
    """The product of each rounded vector with ``wanted``."""
    for at in range(len(bits)):
        told = np.float32(0)
        for factor in range(len(wanted)):
            told += np.float32(bits[at, factor]) * wanted[factor]
        into[at] = told * scale[at]


@compiled
def _bound(places: Rows, least: Floats, n: int) -> float:
    """What the n-th highest is at least; 0 where fewer than ``n`` are above it."""
    best = highest(places, least, n)
    if len(best) < n or not n:
        return 0.0
    return float(least[np.searchsorted(places, best[-1])])
