"""The longest products of vectors with one vector, found in eight bits and computed exactly, compiled.

What the vectors are rounded by bounds what a rounded product can be off (Cauchy and Schwarz), so that nothing that belongs to the
best is missed: most are ruled out after a quarter of the memory was read. Without rounding errors it is the filter-and-refine of
Seidl & Kriegel, Optimal Multi-Step k-Nearest Neighbor Search, SIGMOD 1998.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.selection import bound_of, reaching

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

FLOAT_ERROR = 1e-5  # of a product of two vectors, as a share of their lengths
SIXTEEN_BITS = 32_767
SIXTEEN_BITS_ERROR = 0.6 / SIXTEEN_BITS  # of each part of the wanted vector, as a share of its length
BLOCK = 64


class Coarse(NamedTuple):
    """Some vectors in eight bits: ``rows`` (sorted) of theirs, ``bits`` (n, n_blocks, 64), zeros behind the last factor, times
    ``scale`` (n,), and the ``error`` (n,) made by that, as a length."""

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
    error = off + (FLOAT_ERROR + SIXTEEN_BITS_ERROR * np.sqrt(exact.shape[1])) * np.linalg.norm(exact, axis=1)
    blocks = -(-bits.shape[1] // BLOCK)
    bits = np.pad(bits, ((0, 0), (0, blocks * BLOCK - bits.shape[1]))).reshape(len(bits), blocks, BLOCK)
    return Coarse(rows, bits, scale.astype(np.float32), error.astype(np.float32))


@compiled
def nearest(
    rounded: Coarse, vectors: Vectors, wanted: Vectors, n: int, allowed: NDArray[np.bool_], n_allowed: int
) -> tuple[Rows, Floats]:
    """Rows, sorted, and products with ``wanted`` of all that may be among the ``n`` highest above 0.

    With ``n_allowed`` also of those that may be among that many highest of the ``allowed`` (n_products,).
    """
    length, highest_part = np.float64(0), np.float32(1e-30)
    for factor in range(len(wanted)):
        length += np.float64(wanted[factor]) ** 2
        highest_part = max(highest_part, abs(wanted[factor]))
    length = np.sqrt(length)
    unit = highest_part / np.float32(SIXTEEN_BITS)
    wanted_bits = np.zeros(rounded.bits.shape[1] * BLOCK, np.int16)
    for factor in range(len(wanted)):
        wanted_bits[factor] = np.int16(np.rint(wanted[factor] / unit))
    least, most = np.empty(len(rounded.rows)), np.empty(len(rounded.rows))
    products(rounded.bits, wanted_bits.reshape(-1, BLOCK), least)
    for at in range(len(least)):
        told, error = least[at] * unit * rounded.scale[at], length * rounded.error[at]
        least[at], most[at] = told - error, told + error
    chosen = reaching(most, bound_of(least, n))
    if n_allowed:
        chosen = _with_allowed(chosen, rounded.rows, least, most, allowed, n_allowed)
    found, scores = rounded.rows[chosen], np.empty(len(chosen))
    for at in range(len(found)):
        told_exactly = np.float32(0)
        for factor in range(len(wanted)):
            told_exactly += vectors[found[at], factor] * wanted[factor]
        scores[at] = told_exactly
    return found, scores


@compiled
def products(bits: NDArray[np.int8], wanted: NDArray[np.int16], into: Floats) -> None:
    """The product of each rounded vector with the rounded ``wanted`` (n_blocks, 64)."""
    for block in range(len(wanted)):
        with_part = wanted[block]
        for at in range(len(bits)):
            part, told = bits[at, block], np.int32(0)
            for factor in range(BLOCK):
                told = np.int32(told + np.int32(part[np.uint32(factor)]) * np.int32(with_part[np.uint32(factor)]))
            into[at] = into[at] + told if block else np.float64(told)


@compiled
def _with_allowed(chosen: Rows, rows: Rows, least: Floats, most: Floats, allowed: NDArray[np.bool_], n: int) -> Rows:
    """The places ``chosen`` and those that may be among the ``n`` highest of the allowed, sorted."""
    permitted = np.flatnonzero(allowed[rows])
    among = reaching(most[permitted], bound_of(least[permitted], n))
    return np.unique(np.concatenate((chosen, permitted[among])))
