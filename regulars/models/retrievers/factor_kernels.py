"""The highest products of vectors with one vector: the longest vectors first, in eight bits, few of them exactly; compiled.

No product is higher than that of both lengths (Cauchy and Schwarz): once this is below what the best reach, whatever is shorter
need not be looked at. What the vectors are rounded by bounds in the same way what a rounded product can be off, so that nothing
that belongs to the best is missed.

Source: Teflioudi, Gemulla & Mykytiuk (2015), LEMP: Fast Retrieval of Large Entries in a Matrix Product, SIGMOD, for the order
and the stop; Seidl & Kriegel (1998), Optimal Multi-Step k-Nearest Neighbor Search, SIGMOD, for the filter before.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.selection import bound_of, in_order, reaching

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

FLOAT_ERROR = 1e-5  # of a product of two vectors, as a share of their lengths
SIXTEEN_BITS = 32_767
SIXTEEN_BITS_ERROR = 0.6 / SIXTEEN_BITS  # of each part of the wanted vector, as a share of its length
BLOCK = 64
FIRST, GROWTH = 1_024, 4  # so many are looked at before any bound is known, then so many times as many
LEAST = np.nextafter(0.0, 1.0)


class Coarse(NamedTuple):
    """Some vectors in eight bits, the longest first: their ``rows``, ``bits`` (n, n_blocks, 64), zeros behind the last factor,
    times ``scale`` (n,), the ``error`` (n,) made by that, as a length, and no less than their own ``length`` (n,)."""

    rows: Rows
    bits: NDArray[np.int8]
    scale: Vectors
    error: Vectors
    length: Vectors


def coarse(vectors: Vectors, rows: Rows) -> Coarse:
    """The vectors of ``rows`` rounded, the longest first, ties by row."""
    lengths = np.linalg.norm(vectors[rows].astype(float), axis=1)
    order = np.lexsort((rows, -lengths))
    rows, lengths = rows[order], lengths[order]
    exact = vectors[rows]
    scale = np.maximum(np.abs(exact).max(axis=1, initial=0.0), 1e-30) / np.float32(127)
    bits = np.round(exact / scale[:, None]).astype(np.int8)
    off = np.linalg.norm(exact - bits * scale[:, None], axis=1)
    error = off + (FLOAT_ERROR + SIXTEEN_BITS_ERROR * np.sqrt(exact.shape[1])) * lengths
    blocks = -(-bits.shape[1] // BLOCK)
    bits = np.pad(bits, ((0, 0), (0, blocks * BLOCK - bits.shape[1]))).reshape(len(bits), blocks, BLOCK)
    wide = (1 + FLOAT_ERROR) * lengths
    return Coarse(rows, bits, scale.astype(np.float32), error.astype(np.float32), wide.astype(np.float32))


@compiled
def nearest(
    rounded: Coarse, vectors: Vectors, wanted: Vectors, n: int, allowed: NDArray[np.bool_], n_allowed: int
) -> tuple[Rows, Floats]:
    """Rows, sorted, and products with ``wanted`` of all that may be among the ``n`` highest above 0.

    With ``n_allowed`` also of those that may be among that many highest of the ``allowed`` (n_products,).
    """
    length, wanted_bits, unit = _rounded(wanted, rounded.bits.shape[1])
    least, most = np.empty(len(rounded.rows)), np.empty(len(rounded.rows))
    of_allowed = np.empty(len(rounded.rows) if n_allowed else 0)  # below 0 for what is not
    bound = lowest = bound_allowed = LEAST
    done, end = 0, min(FIRST, len(least))
    while done < end:
        products(rounded.bits[done:end], wanted_bits, least[done:end])
        for at in range(done, end):
            told, error = least[at] * unit * rounded.scale[at], length * rounded.error[at]
            least[at], most[at] = told - error, told + error
        bound = bound_of(least[:end], n)
        lowest = bound
        if n_allowed:
            for at in range(done, end):
                of_allowed[at] = least[at] if allowed[rounded.rows[at]] else -np.inf
            bound_allowed = bound_of(of_allowed[:end], n_allowed)
            lowest = min(bound, bound_allowed)
        done, end = end, min(GROWTH * end, _count_of_length(rounded.length, lowest / max(length, 1e-30)))
    chosen, count = reaching(most[:done], lowest), 0
    for at in chosen:
        if most[at] >= bound or (n_allowed and most[at] >= bound_allowed and of_allowed[at] != -np.inf):
            chosen[count] = at
            count += 1
    return _in_full(rounded.rows[chosen[:count]], vectors, wanted)


@compiled
def _rounded(wanted: Vectors, blocks: int) -> tuple[float, NDArray[np.int16], np.float32]:
    """The length of a vector, its parts in sixteen bits (n_blocks, 64), and what they are multiples of."""
    length, highest_part = np.float64(0), np.float32(1e-30)
    for factor in range(len(wanted)):
        length += np.float64(wanted[factor]) ** 2
        highest_part = max(highest_part, abs(wanted[factor]))
    unit, bits = highest_part / np.float32(SIXTEEN_BITS), np.zeros(blocks * BLOCK, np.int16)
    for factor in range(len(wanted)):
        bits[factor] = np.int16(np.rint(wanted[factor] / unit))
    return np.sqrt(length), bits.reshape(-1, BLOCK), unit


@compiled
def _count_of_length(lengths: Vectors, least: float) -> int:
    """How many of ``lengths``, the longest first, are at least ``least``."""
    first, last = 0, len(lengths)
    while first < last:
        middle = (first + last) >> 1
        if lengths[middle] >= least:
            first = middle + 1
        else:
            last = middle
    return first


@compiled
def _in_full(rows: Rows, vectors: Vectors, wanted: Vectors) -> tuple[Rows, Floats]:
    """The ``rows``, sorted, and the product of each one's vector with ``wanted``."""
    found, scores = rows[in_order(rows)], np.empty(len(rows))
    for at in range(len(found)):
        told = np.float32(0)
        for factor in range(len(wanted)):
            told += vectors[found[at], factor] * wanted[factor]
        scores[at] = told
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
