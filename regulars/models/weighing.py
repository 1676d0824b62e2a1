"""Candidates of a history with their features and scores, in one compiled call."""

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.kept import keep
from regulars.models.leaf_sets import no_trees
from regulars.models.pairs import AT, NAMES
from regulars.models.ranker import Ranker
from regulars.models.retrieval import NO_MASK, NO_ROWS, Retrieval, deeper
from regulars.models.retrievers.lookalikes import OWN_SHARE
from regulars.models.weigh_kernels import Model, Question, weigh

Floats = NDArray[np.float64]
UNRANKED = ("bought_faded_90d", "near_baskets", "popular_120d")
_UNRANKED = [NAMES.index(name) for name in UNRANKED], np.array([1.0, 0.1, 1e-4])


@dataclass(frozen=True)
class Weigher:
    """Weighs what the retrievers propose."""

    retrieval: Retrieval

    def scored(
        self,
        known: Known,
        ranker: Ranker | None,
        *,
        moment: int,
        repeat: str = "auto",
        allowed: NDArray[np.bool_] | None = None,
    ) -> tuple[Rows, Floats]:
        """The candidates and what the ``ranker`` says of each; where there is none, own purchases, then what is popular."""
        trees = ranker.kept if ranker is not None and ranker.count_features == len(NAMES) else None
        mask = NO_MASK if allowed is None else allowed
        question = Question(moment, deeper(repeat), mask, NO_ROWS)
        rows, made, scores = self._weighed(known, question, _no_trees() if trees is None else trees)
        if trees is None:
            features = made[:, : len(rows)].T
            scores = _unranked(features) if ranker is None else ranker.predict(features)
        return rows, scores

    def featured(
        self, known: Known, *, moment: int, repeat: str = "auto", also: Rows = NO_ROWS
    ) -> tuple[Rows, NDArray[np.float32]]:
        """The candidates, rows that are ``also`` to be among them, sorted, and the features of each, as ``NAMES``."""
        rows, made, _ = self._weighed(known, Question(moment, deeper(repeat), NO_MASK, also), _no_trees())
        return rows, made[:, : len(rows)].T

    def _weighed(self, known: Known, question: Question, trees: Any) -> Any:
        return weigh(self._kept, trees, known.parts, question, *self.retrieval.sums())

    @cached_property
    def _kept(self) -> Any:
        found = self.retrieval
        return keep(Model(found.told, found.sources, found.products, found.paths, AT, len(NAMES), OWN_SHARE))


@cache
def _no_trees() -> Any:
    return keep(no_trees(len(NAMES)))


def _unranked(features: NDArray[np.float32]) -> Floats:
    columns, weights = _UNRANKED
    return np.asarray(features[:, columns].astype(float) @ weights)
