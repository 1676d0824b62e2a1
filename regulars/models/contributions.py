"""What each feature contributes to the answer of many small trees, exactly, by tables.

A tree of few splits sends a customer one of few ways: for each pattern of yes and no at its splits the Shapley values of
its features are worked out once, and a customer's contributions are sums of what is looked up. They are those of LightGBM's
``pred_contrib`` up to rounding, some twenty times as fast.

Source: Lundberg, Erion & Lee (2018), Consistent Individualized Feature Attribution for Tree Ensembles, arXiv:1802.03888;
a feature that is not known splits by the shares of customers that each branch was fitted on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import factorial
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray

from regulars.models.compiled import compiled

MOST_SPLITS = 6  # a table of 64 patterns
ROWS_AT_ONCE = 256  # of customers, so that their sums stay in the cache
ZERO = 1e-35  # what LightGBM takes for zero
MISSING = {"None": 0, "Zero": 1, "NaN": 2}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Tables:
    """All trees, one after the other.

    Of each split its column, threshold, what counts as missing (0 nothing, 1 zero, 2 nan) and whether that goes left; of each
    tree where its splits, its columns and its table begin. A table holds a row per pattern and a value per column.
    """

    columns: Ints
    thresholds: Floats
    missing: Ints
    default_left: NDArray[np.bool_]
    split_starts: Ints
    moved: Ints
    moved_starts: Ints
    values: Floats
    value_starts: Ints

    def contributions(self, features: Floats) -> Floats:
        """Shape of ``features``, (n_customers, n_features): what each moves the sum of all trees by, against their mean."""
        found = np.zeros(features.shape)
        _add(
            np.ascontiguousarray(features),
            self.columns,
            self.thresholds,
            self.missing,
            self.default_left,
            self.split_starts,
            self.moved,
            self.moved_starts,
            self.values,
            self.value_starts,
            found,
        )
        return found


def tables_of(boosters: Sequence[lightgbm.Booster]) -> Tables | None:
    """The trees of all ``boosters`` as tables; None where any has more than ``MOST_SPLITS`` splits or one by category."""
    trees = [info["tree_structure"] for booster in boosters for info in booster.dump_model()["tree_info"]]
    splits = [found for found in map(_splits, trees) if found]
    if any(len(found) > MOST_SPLITS or any(node["decision_type"] != "<=" for node in found) for found in splits):
        return None
    every = [node for found in splits for node in found]
    moved = [sorted({node["split_feature"] for node in found}) for found in splits]
    values = [_table(found, columns) for found, columns in zip(splits, moved, strict=True)]
    return Tables(
        columns=np.array([node["split_feature"] for node in every], np.int64),
        thresholds=np.array([node["threshold"] for node in every], float),
        missing=np.array([MISSING[node["missing_type"]] for node in every], np.int64),
        default_left=np.array([node["default_left"] for node in every], bool),
        split_starts=_starts(splits),
        moved=np.array([column for columns in moved for column in columns], np.int64),
        moved_starts=_starts(moved),
        values=np.concatenate([np.zeros(0), *(table.ravel() for table in values)]),
        value_starts=_starts([table.ravel() for table in values]),
    )


def _starts(parts: Sequence[Any]) -> Ints:
    return np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)


def _splits(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """All splits at and below ``node``, itself first."""
    if "split_feature" not in node:
        return []
    return [node, *_splits(node["left_child"]), *_splits(node["right_child"])]


def _table(splits: Sequence[Mapping[str, Any]], columns: Sequence[int]) -> Floats:
    """Shapley values (n_patterns, n_columns); bit k of a pattern is set where split k goes left."""
    patterns = np.arange(2 ** len(splits))
    left = {id(node): (patterns >> place & 1).astype(bool) for place, node in enumerate(splits)}
    count = len(columns)

    def expected(node: Mapping[str, Any], known: int) -> Floats:
        """What is expected of each pattern where only the columns in ``known`` (bits) are known."""
        if "split_feature" not in node:
            return np.full(len(patterns), node["leaf_value"])
        yes, no = (expected(node[child], known) for child in ("left_child", "right_child"))
        if known >> columns.index(node["split_feature"]) & 1:
            return np.where(left[id(node)], yes, no)
        share = _count(node["left_child"]) / node["internal_count"]
        return np.asarray(share * yes + (1 - share) * no, dtype=float)

    answers = [expected(splits[0], known) for known in range(2**count)]
    found = np.zeros((len(patterns), count))
    for place in range(count):
        for known in range(2**count):
            if not known >> place & 1:
                size = known.bit_count()
                weight = factorial(size) * factorial(count - size - 1) / factorial(count)
                found[:, place] += weight * (answers[known | 1 << place] - answers[known])
    return found


def _count(node: Mapping[str, Any]) -> int:
    return int(node["internal_count"] if "split_feature" in node else node["leaf_count"])


@compiled
def _add(
    features: Floats,
    columns: Ints,
    thresholds: Floats,
    missing: Ints,
    default_left: NDArray[np.bool_],
    split_starts: Ints,
    moved: Ints,
    moved_starts: Ints,
    values: Floats,
    value_starts: Ints,
    found: Floats,
) -> None:
    """Add to ``found`` what each tree's table says of each customer."""
    for begin in range(0, len(features), ROWS_AT_ONCE):
        end = min(begin + ROWS_AT_ONCE, len(features))
        for tree in range(len(split_starts) - 1):
            first, last = split_starts[tree], split_starts[tree + 1]
            begun, ended = moved_starts[tree], moved_starts[tree + 1]
            for row in range(begin, end):
                pattern = 0
                for split in range(first, last):
                    value = features[row, columns[split]]
                    if np.isnan(value) and missing[split] != 2:
                        value = 0.0
                    if (missing[split] == 2 and np.isnan(value)) or (missing[split] == 1 and abs(value) <= ZERO):
                        goes_left = default_left[split]
                    else:
                        goes_left = value <= thresholds[split]
                    if goes_left:
                        pattern |= 1 << (split - first)
                at = value_starts[tree] + pattern * (ended - begun)
                for place in range(begun, ended):
                    found[row, moved[place]] += values[at + place - begun]
