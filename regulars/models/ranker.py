"""Several LambdaMART models that learnt from different parts of the examples, their scores added.

Each alone depends on which rows and features it happened to see; their sum does so less (Breiman, Bagging Predictors, Machine
Learning 24, 1996; for LambdaMART: Ganjisaffar, Caruana & Lopes, Bagging Gradient-Boosted Trees for High Precision, Low Variance
Ranking Models, SIGIR 2011).
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.models.kept import keep
from regulars.models.leaf_sets import leaf_sets
from regulars.models.trees import flat_trees


class Ranker:
    """``texts``: the models as LightGBM writes them, at least one."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self._trees = [flat_trees(text) for text in self.texts]
        plain = all(trees.link == "identity" and trees.are_plain for trees in self._trees)
        self._sets = leaf_sets([trees.nodes for trees in self._trees]) if plain else None  # all at once where all are

    @property
    def count_features(self) -> int:
        """How many features are read."""
        return self._trees[0].count_features

    @cached_property
    def kept(self) -> Any:
        """The ``Sets`` for float32, kept for compiled code; None where not all trees are plain."""
        return None if self._sets is None else keep(self._sets.of_32)

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores, shape (n_rows,), for ``features`` (n_rows, n_features)."""
        if self._sets is not None and features.shape[1] == self.count_features:
            return self._sets.sums(features)
        return np.sum([trees.predict(features) for trees in self._trees], axis=0)

    def save(self, folder: Path, name: str) -> None:
        """Write one file per model into ``folder``."""
        for number, text in enumerate(self.texts):
            (folder / f"{name}-{number}.txt").write_text(text)

    @classmethod
    def load(cls, folder: Path, name: str) -> "Ranker | None":
        """What ``save`` wrote; None where nothing was."""
        files = sorted(folder.glob(f"{name}-*.txt"), key=lambda file: int(file.stem.rpartition("-")[2]))
        return cls([file.read_text() for file in files]) if files else None
