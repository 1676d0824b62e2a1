"""Trees without a walk: every inner node strikes out the leaves that its answer rules out, for many rows at once.

A row's leaves are bits, numbered from left to right. Where a node's test sends a row right, the leaves on its left are struck
out; when all nodes were asked, in whatever order, the lowest bit that is left is the leaf. Each step is the same for all rows
of a block, without a jump, so that the processor takes eight rows at a time.

Source: Lucchese et al. (2015), QuickScorer: a Fast Algorithm to Rank Documents with Additive Ensembles of Regression Trees, SIGIR;
for blocks of rows: Lucchese et al. (2016), Exploiting CPU SIMD Extensions to Speed-up Document Scoring with Tree Ensembles, SIGIR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.models.compiled import compiled
from regulars.models.instructions import LINE

Floats = NDArray[np.float64]

MOST_LEAVES = 32
BLOCK, STEP = 512, 64
ALL = np.uint32(0xFFFFFFFF)
# a power of two times this number tells its place by the upper five bits (Leiserson, Prokop & Randall, 1998)
DE_BRUIJN = 0x077CB531
NOTHING = -1  # a node that fills up a pair
CODES = np.array([(1 << place) * DE_BRUIJN % 2**32 >> 27 for place in range(MOST_LEAVES)])


@dataclass(frozen=True)
class LeafMasks:
    """Inner nodes of all trees behind each other, those of tree t at ``starts[t]:starts[t + 1]``, in pairs.

    A row goes right where its feature is above the threshold; of the leaves, those in ``keep`` remain then. Where the feature is
    missing it goes left at the nodes before ``middles[t]`` and right at those behind. ``values`` (n_trees, 32): of leaf l at
    ``CODES[l]``. ``thresholds_32``: the largest float32 that is no larger, which for float32 values decides the same.
    Trees before ``ends[0]`` are summed, those before ``ends[1]`` as well, and so on, and the sums are added.
    """

    features: NDArray[np.int32]
    thresholds: Floats
    thresholds_32: NDArray[np.float32]
    keep: NDArray[np.uint32]
    middles: NDArray[np.int64]
    starts: NDArray[np.int64]
    values: Floats
    ends: NDArray[np.int64]

    def sums(self, rows: NDArray[Any]) -> Floats:
        """The trees' sum for each of ``rows`` (n_rows, n_features) of float32 or float64; shape (n_rows,)."""
        thresholds = self.thresholds_32 if rows.dtype == np.float32 else self.thresholds
        return _sums(rows, self.features, thresholds, self.keep, self.middles, self.starts, self.values, self.ends)


def joined_masks(parts: Sequence[LeafMasks]) -> LeafMasks:
    """The masks of several models, whose sums are added in order."""
    nodes = np.cumsum([0, *(len(part.features) for part in parts)])
    trees = np.cumsum([0, *(len(part.middles) for part in parts)])
    starts = [part.starts[:-1] + first for part, first in zip(parts, nodes, strict=False)]
    return LeafMasks(
        features=np.concatenate([part.features for part in parts]),
        thresholds=np.concatenate([part.thresholds for part in parts]),
        thresholds_32=np.concatenate([part.thresholds_32 for part in parts]),
        keep=np.concatenate([part.keep for part in parts]),
        middles=np.concatenate([part.middles + first for part, first in zip(parts, nodes, strict=False)]),
        starts=np.append(np.concatenate(starts), nodes[-1]),
        values=np.concatenate([part.values for part in parts]),
        ends=np.concatenate([part.ends + first for part, first in zip(parts, trees, strict=False)]),
    )


def leaf_masks(
    features: NDArray[np.int32],
    thresholds: Floats,
    children: NDArray[np.int32],
    missing_right: NDArray[np.uint8],
    values: Floats,
    roots: NDArray[np.int32],
) -> LeafMasks | None:
    """The masks of trees as ``FlatTrees`` has them, all of whose nodes compare numbers; None where one has more than 32 leaves."""
    inner, keep, middles, starts, leaves = [], [], [], [0], np.zeros((len(roots), MOST_LEAVES))
    for tree, root in enumerate(roots.tolist()):
        nodes, values_of = _in_order(children, values, root)
        if len(values_of) > MOST_LEAVES:
            return None
        for to_the_right in (0, 1):
            told = [one for one in nodes if missing_right[one[0]] == to_the_right]
            inner += [node for node, _, _ in told] + [NOTHING] * (len(told) % 2)
            keep += [int(ALL) & ~((1 << last) - (1 << first)) for _, first, last in told] + [int(ALL)] * (len(told) % 2)
            middles.append(len(inner))
        leaves[tree, CODES[: len(values_of)]] = values_of
        starts.append(len(inner))
    chosen = np.array(inner, np.int64)
    bounds = np.where(chosen >= 0, thresholds[chosen], np.inf)
    floor = bounds.astype(np.float32)
    floor = np.where(floor > bounds, np.nextafter(floor, np.float32(-np.inf)), floor)
    return LeafMasks(
        np.where(chosen >= 0, features[chosen], 0).astype(np.int32),
        bounds,
        floor.astype(np.float32),
        np.array(keep, np.uint32),
        np.array(middles[::2], np.int64),
        np.array(starts, np.int64),
        leaves,
        np.array([len(roots)]),
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


@compiled
def aligned(room: NDArray[Any], count: int) -> NDArray[Any]:
    """The first ``count`` values of ``room`` from where a line of memory begins."""
    first = (-room.ctypes.data % LINE) // room.itemsize
    return room[first : first + count]


@compiled
def _sums(
    rows: NDArray[Any],
    features: NDArray[np.int32],
    thresholds: NDArray[Any],
    keep: NDArray[np.uint32],
    middles: NDArray[np.int64],
    starts: NDArray[np.int64],
    values: Floats,
    ends: NDArray[np.int64],
) -> Floats:
    # a block is as long as whole steps of the processor, so that no loop has a rest; what lies behind the rows is not read
    sums = np.zeros(len(rows))
    for first in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - first)
        length = -(-count // STEP) * STEP
        columns = aligned(np.empty(rows.shape[1] * length + LINE, rows.dtype), rows.shape[1] * length).reshape(
            -1, length
        )
        left, part, tree = aligned(np.empty(length + LINE, np.uint32), length), np.empty(length), 0
        for feature in range(rows.shape[1]):
            column = columns[feature]
            for row in range(count):
                column[row] = rows[first + row, feature]
            column[count:] = 0
        for end in ends:
            part[:] = 0.0
            while tree < end:
                left[:] = ALL
                for node in range(starts[tree], middles[tree], 2):
                    one, above, kept = columns[np.uint32(features[node])], thresholds[node], keep[node]
                    two, over, left_over = columns[np.uint32(features[node + 1])], thresholds[node + 1], keep[node + 1]
                    for row in range(length):
                        left[row] &= (kept if one[row] > above else ALL) & (left_over if two[row] > over else ALL)
                for node in range(middles[tree], starts[tree + 1], 2):
                    one, above, kept = columns[np.uint32(features[node])], thresholds[node], keep[node]
                    two, over, left_over = columns[np.uint32(features[node + 1])], thresholds[node + 1], keep[node + 1]
                    for row in range(length):
                        left[row] &= (ALL if one[row] <= above else kept) & (ALL if two[row] <= over else left_over)
                for row in range(length):
                    lowest = left[row] & (~left[row] + np.uint32(1))
                    part[row] += values[tree, np.uint32(lowest * np.uint32(DE_BRUIJN)) >> np.uint32(27)]
                tree += 1
            for row in range(count):
                sums[first + row] = part[row] if end == ends[0] else sums[first + row] + part[row]
    return sums
