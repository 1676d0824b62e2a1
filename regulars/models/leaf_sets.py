"""Trees without a walk: every distinct test is made once for all rows, then sets of rows are divided from root to leaves.

The nodes of many trees ask the same few questions: whether a feature is above a threshold. Each is answered once for 256 rows,
a bit per row. A node's rows are a set of bits as well, and its test divides it into those of its two children: three
instructions for 256 rows, the same whatever the rows are, without a jump. Which leaf holds a row is then read off the leaves'
sets.

Source: Ye, Zhou, Zou, Gao & Zhang (2018), RapidScorer: Fast Tree Ensemble Evaluation by Maximizing Compactness in Data Level
Parallelization, KDD (equal nodes are asked once); bits instead of walks: Lucchese et al. (2015), QuickScorer: a Fast Algorithm
to Rank Documents with Additive Ensembles of Regression Trees, SIGIR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.models.compiled import compiled
from regulars.models.instructions import LINE, aligned
from regulars.models.row_sets import (
    CODES,
    MOST_ROWS,
    TOGETHER,
    WORDS,
    divide,
    mark_above,
    mark_above_or_missing,
    name_rows,
)

Floats = NDArray[np.float64]

ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
Test = tuple[int, bool, float]  # feature, whether what is missing goes right, threshold


class Nodes(NamedTuple):
    """What is read of ``FlatTrees``, all of whose nodes compare numbers."""

    features: NDArray[np.int32]
    thresholds: Floats
    children: NDArray[np.int32]
    missing_right: NDArray[np.uint8]
    values: Floats
    roots: NDArray[np.int32]
    count_features: int


class Sets(NamedTuple):
    """Distinct tests, those of feature f at ``starts[f]:starts[f + 1]``;
    where a value is missing, a row goes left before ``middles[f]`` and right behind.

    ``thresholds``: of float32 values the largest float32 that is no larger, which decides the same. Inner nodes of all trees
    behind each other, parents before children, those of tree t at ``trees[t]:trees[t + 1]``: their ``tests``, and where their
    children's rows go: below 32 to a leaf, from 32 on to an inner node of that tree. ``values`` (n_trees, 32): of each leaf.
    Trees before ``ends[0]`` are summed, those before ``ends[1]`` as well, and so on, and the sums are added.
    """

    starts: NDArray[np.int64]
    middles: NDArray[np.int64]
    thresholds: NDArray[Any]
    tests: NDArray[np.int32]
    lefts: NDArray[np.uint8]
    rights: NDArray[np.uint8]
    trees: NDArray[np.int64]
    values: Floats
    ends: NDArray[np.int64]


@dataclass(frozen=True)
class LeafSets:
    """The same trees for rows of float64 and of float32."""

    of_64: Sets
    of_32: Sets

    def sums(self, rows: NDArray[Any]) -> Floats:
        """The trees' sum for each of ``rows`` (n_rows, n_features) of float32 or float64; shape (n_rows,)."""
        return sums_of_rows(rows, self.of_32 if rows.dtype == np.float32 else self.of_64)


def leaf_sets(models: Sequence[Nodes]) -> LeafSets | None:
    """The trees of several models, whose sums are added in order; None where a tree has more than 32 leaves."""
    shapes = [_shape_of(model, root) for model in models for root in model.roots.tolist()]
    if any(len(shape.values) > CODES for shape in shapes):
        return None
    tests = sorted({test for shape in shapes for test in shape.tests})
    place = {test: number for number, test in enumerate(tests)}
    features, right = np.array([test[0] for test in tests], int), np.array([test[1] for test in tests], bool)
    starts = np.searchsorted(features, np.arange(models[0].count_features + 1))
    values = np.zeros((len(shapes), CODES))
    for number, shape in enumerate(shapes):
        values[number, : len(shape.values)] = shape.values
    thresholds = np.array([test[2] for test in tests])
    floor = thresholds.astype(np.float32)
    found = Sets(
        starts=starts,
        middles=starts[:-1] + np.bincount(features[~right], minlength=len(starts) - 1),
        thresholds=thresholds,
        tests=np.array([place[test] for shape in shapes for test in shape.tests], np.int32),
        lefts=np.array([left for shape in shapes for left in shape.lefts], np.uint8),
        rights=np.array([right for shape in shapes for right in shape.rights], np.uint8),
        trees=np.cumsum([0, *(len(shape.tests) for shape in shapes)]),
        values=values,
        ends=np.cumsum([len(model.roots) for model in models]),
    )
    floor = np.where(floor > thresholds, np.nextafter(floor, np.float32(-np.inf)), floor).astype(np.float32)
    return LeafSets(found, found._replace(thresholds=floor))


def no_trees(count_features: int) -> Sets:
    """What sums nothing."""
    nowhere, ints, bytes_ = np.zeros(count_features + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.uint8)
    return Sets(
        nowhere,
        nowhere[1:],
        np.zeros(0, np.float32),
        ints,
        bytes_,
        bytes_,
        nowhere[:1],
        np.zeros((0, CODES)),
        nowhere[:0],
    )


@dataclass(frozen=True)
class _Shape:
    tests: list[Test]
    lefts: list[int]
    rights: list[int]
    values: list[float]


def _shape_of(model: Nodes, root: int) -> _Shape:
    """Inner nodes of one tree, parents first, and the values of its leaves."""
    inner, leaves, waiting = list[int](), list[int](), [root]
    while waiting:
        node = waiting.pop()
        left, right = model.children[node].tolist()
        if left == node:
            leaves.append(node)
        else:
            inner.append(node)
            waiting += [right, left]
    place = {node: at for at, node in enumerate(leaves)} | {node: CODES + at for at, node in enumerate(inner)}
    return _Shape(
        [(int(model.features[node]), bool(model.missing_right[node]), float(model.thresholds[node])) for node in inner],
        [place[int(model.children[node, 0])] for node in inner],
        [place[int(model.children[node, 1])] for node in inner],
        model.values[leaves].tolist(),
    )


@compiled
def sums_of_rows(rows: NDArray[Any], sets: Sets) -> Floats:
    """``add_sums`` of ``rows`` (n_rows, n_features)."""
    sums, width = np.zeros(len(rows)), rows.shape[1]
    columns = aligned(np.empty(width * MOST_ROWS + LINE, rows.dtype), width * MOST_ROWS).reshape(-1, MOST_ROWS)
    for first in range(0, len(rows), MOST_ROWS):
        count = min(MOST_ROWS, len(rows) - first)
        for feature in range(width):
            column = columns[feature]
            for row in range(count):
                column[row] = rows[first + row, feature]
        add_sums(columns, 0, sets, sums[first : first + count])
    return sums


@compiled
def add_sums(columns: NDArray[Any], first: int, sets: Sets, sums: Floats) -> None:
    """Adds the trees' sum of each of up to 256 rows, from ``first`` of the ``columns`` (n_features, n) on, to ``sums``.

    ``first`` is a multiple of 16; what lies behind the rows, up to a multiple of 16, is read.
    """
    tests = aligned(np.empty(len(sets.thresholds) * WORDS + LINE, np.uint64), len(sets.thresholds) * WORDS)
    for feature in range(len(columns)):
        column = columns[feature, first:]
        for test in range(sets.starts[feature], sets.middles[feature]):
            for row in range(0, len(sums), TOGETHER):
                mark_above(column, row, sets.thresholds[test], tests, test)
        for test in range(sets.middles[feature], sets.starts[feature + 1]):
            for row in range(0, len(sums), TOGETHER):
                mark_above_or_missing(column, row, sets.thresholds[test], tests, test)
    rows_of = aligned(np.empty(2 * CODES * WORDS + LINE, np.uint64), 2 * CODES * WORDS)
    names, part, tree = np.empty(MOST_ROWS, np.uint8), np.empty(MOST_ROWS), 0
    rows_of[CODES * WORDS : (CODES + 1) * WORDS] = ALL
    for end in sets.ends:
        part[:] = 0.0
        while tree < end:
            start, last = sets.trees[tree], sets.trees[tree + 1]
            if start == last:
                rows_of[:WORDS] = ALL
            rows_of[(last - start + 1) * WORDS : CODES * WORDS] = 0
            for node in range(start, last):
                own, at = CODES + node - start, np.uint64(node)  # never below 0, which need not be looked at then
                divide(tests, sets.tests[at], rows_of, own, np.int64(sets.lefts[at]), np.int64(sets.rights[at]))
            name_rows(rows_of, names)
            values = sets.values[tree]
            for row in range(len(sums)):
                part[row] += values[names[row]]
            tree += 1
        for row in range(len(sums)):
            sums[row] = part[row] if end == sets.ends[0] else sums[row] + part[row]
