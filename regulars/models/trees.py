"""LightGBM's trees as flat arrays, and their sum compiled: the same numbers as ``Booster.predict``, without what a call costs.

Trees of up to 32 leaves that only compare numbers are summed by ``leaf_sets``. Others are walked: blocks of rows go through a tree
together, level by level, a step is a comparison without a jump, and a leaf leads to itself. Sums are added up in LightGBM's order,
so that not even the last bit differs. Rules of missing values and categories are those of LightGBM's ``Tree::NumericalDecision``
and ``Tree::CategoricalDecision``.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.errors import ArtifactError
from regulars.models.compiled import compiled
from regulars.models.leaf_sets import LeafSets, Nodes, leaf_sets

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]

PLAIN, ZERO_IS_MISSING, CATEGORY = 0, 1, 2
NO_MISSING, MISSING_ZERO = 0, 1
ZERO = float(np.float32(1e-35))
IDENTITY = frozenset({"regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg"})
EXPONENTIAL = frozenset({"poisson", "gamma", "tweedie"})
WORD, BLOCK = 32, 64


@dataclass(frozen=True)
class FlatTrees:
    """Nodes of all trees behind each other, inner ones and leaves, shape (n_nodes,) each; a leaf's children are itself.

    ``children`` (n_nodes, 2): left, right. ``missing_right``: where a missing value goes. ``kinds``: how a node decides.
    ``spans`` (n_nodes, 2): a category's node goes left for the bits set in ``bits[first:last]``. ``roots``, ``depths``
    (n_trees,). ``link``: identity, sigmoid (of ``slope`` x sum) or exp.
    """

    features: Ints
    thresholds: Floats
    children: Ints
    missing_right: NDArray[np.uint8]
    kinds: NDArray[np.uint8]
    spans: Ints
    bits: NDArray[np.uint32]
    values: Floats
    roots: Ints
    depths: Ints
    count_features: int
    link: str
    slope: float

    def predict(self, rows: NDArray[Any], *, raw: bool = False) -> Floats:
        """What ``Booster.predict`` (``raw``: with ``raw_score=True``) gives for ``rows`` (n_rows, n_features): (n_rows,).

        Raises:
            ValueError: where the number of features is another one.
        """
        if rows.ndim != 2 or rows.shape[1] != self.count_features:
            raise ValueError(f"expected rows of {self.count_features} features, got an array of shape {rows.shape}")
        given = np.ascontiguousarray(rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64))
        sums = self._walked(given) if self.sets is None else self.sets.sums(given)
        if raw or self.link == "identity":
            return sums
        return np.exp(sums) if self.link == "exp" else 1 / (1 + np.exp(-self.slope * sums))

    @cached_property
    def sets(self) -> LeafSets | None:
        """The trees as sets of rows; None where a node compares no numbers, or a tree has too many leaves."""
        return leaf_sets([self.nodes]) if self.are_plain else None

    @property
    def are_plain(self) -> bool:
        """Whether all nodes compare numbers."""
        return not (self.kinds != PLAIN).any()

    @property
    def nodes(self) -> Nodes:
        """What is read of them where all nodes compare numbers."""
        return Nodes(*(getattr(self, name) for name in Nodes._fields))

    def _walked(self, rows: NDArray[Any]) -> Floats:
        return _sums(
            rows,
            self.features,
            self.thresholds,
            self.children,
            self.missing_right,
            self.kinds,
            self.spans,
            self.bits,
            self.values,
            self.roots,
            self.depths,
        )


def flat_trees(text: str) -> FlatTrees:
    """The trees of a LightGBM model, from its ``model_to_string()`` or the file it is kept in.

    Raises:
        ArtifactError: for what is not summed tree by tree: several classes, linear leaves, averaged trees, other objectives.
    """
    head, *parts = text.partition("\nend of trees")[0].split("\nTree=")
    about = _fields(head)
    link, slope = _link(about.get("objective", "regression"))
    if about.get("num_tree_per_iteration", "1") != "1" or "average_output" in head.splitlines():
        raise ArtifactError("expected boosted trees of one output, got several classes or averaged trees")
    trees = list(_trees(parts))
    firsts = np.cumsum([0, *(len(tree.values) for tree in trees)])
    words = np.cumsum([0, *(len(tree.bits) for tree in trees)])
    return FlatTrees(
        features=_joined([tree.features for tree in trees], np.int32),
        thresholds=_joined([tree.thresholds for tree in trees], np.float64),
        children=_joined([tree.children + first for tree, first in zip(trees, firsts, strict=False)], np.int32, 2),
        missing_right=_joined([tree.missing_right for tree in trees], np.uint8),
        kinds=_joined([tree.kinds for tree in trees], np.uint8),
        spans=_joined([tree.spans + word for tree, word in zip(trees, words, strict=False)], np.int32, 2),
        bits=_joined([tree.bits for tree in trees], np.uint32),
        values=_joined([tree.values for tree in trees], np.float64),
        roots=firsts[:-1].astype(np.int32),
        depths=np.array([tree.depth for tree in trees], np.int32),
        count_features=int(about["max_feature_idx"]) + 1,
        link=link,
        slope=slope,
    )


@dataclass(frozen=True)
class _Tree:
    """One tree with places of its own; inner nodes first, then leaves."""

    features: NDArray[Any]
    thresholds: NDArray[Any]
    children: NDArray[Any]
    missing_right: NDArray[Any]
    kinds: NDArray[Any]
    spans: NDArray[Any]
    bits: NDArray[Any]
    values: NDArray[Any]
    depth: int


def _trees(parts: list[str]) -> Iterator[_Tree]:
    for part in parts:
        told = _fields(part)
        if told.get("is_linear", "0") != "0":
            raise ArtifactError("expected trees of constant leaves, got linear ones")
        yield _tree(told)


def _tree(told: Mapping[str, str]) -> _Tree:
    leaves = int(told["num_leaves"])
    inner = leaves - 1
    values = np.append(np.zeros(inner), _numbers(told, "leaf_value", leaves))
    own = np.arange(inner + leaves)
    children = np.stack([own, own], axis=1)
    features, kinds, missing_right = (np.zeros(inner + leaves, np.int64) for _ in range(3))
    thresholds, spans = np.full(inner + leaves, np.inf), np.zeros((inner + leaves, 2), np.int64)
    bits = _numbers(told, "cat_threshold").astype(np.int64)
    if inner:
        sides = np.stack([_numbers(told, f"{side}_child", inner) for side in ("left", "right")], axis=1).astype(int)
        children[:inner] = np.where(sides >= 0, sides, inner + ~sides)
        features[:inner] = _numbers(told, "split_feature", inner)
        thresholds[:inner] = _numbers(told, "threshold", inner)
        decisions = _numbers(told, "decision_type", inner).astype(int)
        is_category, default_left, missing = decisions & 1, decisions >> 1 & 1, decisions >> 2 & 3
        kinds[:inner] = np.where(is_category, CATEGORY, np.where(missing == MISSING_ZERO, ZERO_IS_MISSING, PLAIN))
        as_zero = np.where(missing == NO_MISSING, thresholds[:inner] < 0, default_left == 0)
        missing_right[:inner] = np.where(is_category, 1, as_zero)
        bounds = _numbers(told, "cat_boundaries").astype(int)
        for node in np.flatnonzero(is_category):
            spans[node] = bounds[int(thresholds[node])], bounds[int(thresholds[node]) + 1]
    return _Tree(features, thresholds, children, missing_right, kinds, spans, bits, values, _depth(children, inner))


def _depth(children: NDArray[Any], inner: int) -> int:
    """Steps from the root to the deepest leaf."""
    depth, level = 0, [0]
    while level := [int(child) for node in level if node < inner for child in children[node]]:
        depth += 1
    return depth


def _link(objective: str) -> tuple[str, float]:
    name, *more = objective.split()
    if name in IDENTITY and "sqrt" not in more:
        return "identity", 1.0
    if name in EXPONENTIAL:
        return "exp", 1.0
    if name in ("binary", "cross_entropy"):
        told = dict(word.split(":") for word in more if ":" in word)
        return "sigmoid", float(told.get("sigmoid", 1.0))
    raise ArtifactError(f"expected a regression, a ranking or a probability of one output, got objective={objective}")


def _fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _numbers(told: Mapping[str, str], name: str, count: int | None = None) -> Floats:
    found = np.array([float(word) for word in told.get(name, "").split()])
    if count is not None and len(found) != count:
        raise ArtifactError(f"a tree needs {count} numbers in {name}, got {len(found)}")
    return found


def _joined(arrays: list[NDArray[Any]], kind: Any, columns: int | None = None) -> NDArray[Any]:
    empty = np.zeros((0,) if columns is None else (0, columns))
    return np.ascontiguousarray(np.concatenate([empty, *arrays]).astype(kind))


@compiled
def _not_in(value: float, bits: NDArray[np.uint32]) -> Any:
    """1 where the bit of the whole number ``value`` is not set, or there is none; 0 where it is."""
    if not -1 < value < WORD * len(bits):
        return np.uint8(1)
    number = np.int64(value)
    return np.uint8(1 - (bits[number // WORD] >> np.uint32(number % WORD) & np.uint32(1)))


@compiled
def _sums(
    rows: NDArray[Any],
    features: Ints,
    thresholds: Floats,
    children: Ints,
    missing_right: NDArray[np.uint8],
    kinds: NDArray[np.uint8],
    spans: Ints,
    bits: NDArray[np.uint32],
    values: Floats,
    roots: Ints,
    depths: Ints,
) -> Floats:
    sums, places = np.zeros(len(rows)), np.empty(BLOCK, np.int32)
    for first in range(0, len(rows), BLOCK):
        count = min(BLOCK, len(rows) - first)
        for tree in range(len(roots)):
            places[:count] = roots[tree]
            for _ in range(depths[tree]):
                for place in range(count):
                    node = places[place]
                    value = np.float64(rows[first + place, features[node]])
                    right = np.uint8(value > thresholds[node])
                    if value != value:  # noqa: PLR0124 - missing
                        right = missing_right[node]
                    elif kinds[node] == ZERO_IS_MISSING:
                        if -ZERO <= value <= ZERO:
                            right = missing_right[node]
                    elif kinds[node] == CATEGORY:
                        right = _not_in(value, bits[spans[node, 0] : spans[node, 1]])
                    places[place] = children[node, right]
            for place in range(count):
                sums[first + place] += values[places[place]]
    return sums
