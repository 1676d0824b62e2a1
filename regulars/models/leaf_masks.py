"""Trees without a walk: every inner node strikes out the leaves that its answer rules out, for many rows at once.

A row's leaves are bits, numbered from left to right. Where a node's test sends a row right, the leaves on its left are struck
out; when all nodes were asked, in whatever order, the lowest bit that is left is the leaf. Each step is the same for all rows
of a block, without a jump, so that the processor takes eight rows at a time.

Source: Lucchese et al. (2015), QuickScorer: a Fast Algorithm to Rank Documents with Additive Ensembles of Regression Trees, SIGIR;
for blocks of rows: Lucchese et al. (2016), Exploiting CPU SIMD Extensions to Speed-up Document Scoring with Tree Ensembles, SIGIR.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_LEAVES = 32
BLOCK = 64
ALL = np.uint32(0xFFFFFFFF)
# the place of a power of two by its product with this number (Leiserson, Prokop & Randall, 1998)
DE_BRUIJN = 0x077CB531
PLACES = np.zeros(32, np.int64)
PLACES[[(1 << place) * DE_BRUIJN % 2**32 >> 27 for place in range(32)]] = np.arange(32)


@dataclass(frozen=True)
class LeafMasks:
    """Inner nodes of all trees behind each other, those of tree t at ``starts[t]:starts[t + 1]``.

    A row goes right where its feature is above the threshold, or missing and ``missing_right`` is 1; of the leaves, those in
    ``keep`` remain then. ``values`` (n_trees, 32): by leaf. ``thresholds_32``: the largest float32 that is no larger, which for
    float32 values decides the same.
    """

    features: NDArray[np.int32]
    thresholds: Floats
    thresholds_32: NDArray[np.float32]
    keep: NDArray[np.uint32]
    missing_right: NDArray[np.uint8]
    starts: NDArray[np.int64]
    values: Floats

    def sums(self, rows: NDArray[Any]) -> Floats:
        """The trees' sum for each of ``rows`` (n_rows, n_features) of float32 or float64; shape (n_rows,)."""
        thresholds = self.thresholds_32 if rows.dtype == np.float32 else self.thresholds
        return _sums(rows, self.features, thresholds, self.keep, self.missing_right, self.starts, self.values, PLACES)


def leaf_masks(
    features: NDArray[np.int32],
    thresholds: Floats,
    children: NDArray[np.int32],
    missing_right: NDArray[np.uint8],
    values: Floats,
    roots: NDArray[np.int32],
) -> LeafMasks | None:
    """The masks of trees as ``FlatTrees`` has them, all of whose nodes compare numbers; None where one has more than 32 leaves."""
    inner, keep, starts, leaves = [], [], [0], np.zeros((len(roots), MOST_LEAVES))
    for tree, root in enumerate(roots.tolist()):
        nodes, values_of = _in_order(children, values, root)
        if len(values_of) > MOST_LEAVES:
            return None
        inner += [node for node, _, _ in nodes]
        keep += [int(ALL) & ~((1 << last) - (1 << first)) for _, first, last in nodes]
        leaves[tree, : len(values_of)] = values_of
        starts.append(len(inner))
    floor = thresholds[inner].astype(np.float32)
    floor = np.where(floor > thresholds[inner], np.nextafter(floor, np.float32(-np.inf)), floor)
    return LeafMasks(
        np.ascontiguousarray(features[inner]),
        thresholds[inner],
        floor.astype(np.float32),
        np.array(keep, np.uint32),
        missing_right[inner],
        np.array(starts, np.int64),
        leaves,
    )


def _in_order(children: NDArray[np.int32], values: Floats, root: int) -> tuple[list[tuple[int, int, int]], list[float]]:
    """Each inner node with the leaves [first, last) on its left; and the leaves' values, from left to right."""
    nodes, found = [], []

    def visit(node: int) -> None:
        left, right = children[node].tolist()
        if left == node:
            found.append(float(values[node]))
            return
        first = len(found)
        visit(left)
        nodes.append((node, first, len(found)))
        visit(right)

    visit(root)
    return nodes, found


@njit(cache=True, nogil=True)
def _sums(
    rows: NDArray[Any],
    features: NDArray[np.int32],
    thresholds: NDArray[Any],
    keep: NDArray[np.uint32],
    missing_right: NDArray[np.uint8],
    starts: NDArray[np.int64],
    values: Floats,
    places: NDArray[np.int64],
) -> Floats:
    sums = np.zeros(len(rows))
    columns = np.empty((rows.shape[1], BLOCK), rows.dtype)
    left = np.empty(BLOCK, np.uint32)
    for first in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - first)
        for row in range(count):
            for feature in range(rows.shape[1]):
                columns[feature, row] = rows[first + row, feature]
        for tree in range(len(starts) - 1):
            left[:count] = ALL
            for node in range(starts[tree], starts[tree + 1]):
                column, threshold, kept = columns[features[node]], thresholds[node], keep[node]
                if missing_right[node]:
                    for row in range(count):
                        left[row] &= ALL if column[row] <= threshold else kept
                else:
                    for row in range(count):
                        left[row] &= kept if column[row] > threshold else ALL
            for row in range(count):
                lowest = left[row] & (~left[row] + np.uint32(1))
                leaf = places[np.uint32(lowest * np.uint32(DE_BRUIJN)) >> np.uint32(27)]
                sums[first + row] += values[tree, leaf]
    return sums
