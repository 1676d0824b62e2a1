"""A weighing part by part: what is reached, candidates and features, which the product makes in one compiled call."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.pair_columns import fill_columns
from regulars.models.pairs import AT, NAMES
from regulars.models.retrieval import NO_MASK, NO_ROWS, Retrieval, deeper
from regulars.models.retrievers import candidate_kernels
from regulars.models.retrievers.candidate_kernels import Reached
from regulars.models.retrievers.lookalikes import OWN_SHARE
from regulars.models.retrievers.reach_kernels import reach


def clues(retrieval: Retrieval, known: Known) -> Reached:
    """What each retriever reaches from the history: ``parts`` are those of ``PARTS``, one behind the other."""
    found: Reached = reach(known.arrays, retrieval.told, *retrieval.sums())
    return found


def candidates(
    retrieval: Retrieval, known: Known, *, repeat: str = "auto", allowed: NDArray[np.bool_] | None = None
) -> Rows:
    """The rows that any retriever proposes, sorted."""
    mask = NO_MASK if allowed is None else allowed
    found: Rows = candidate_kernels.candidates(
        known.arrays, clues(retrieval, known), retrieval.sources, deeper(repeat), mask, NO_ROWS, *retrieval.sums()
    )
    return found


def pair_features(retrieval: Retrieval, known: Known, rows: Rows, *, moment: int) -> NDArray[np.float32]:
    """Shape (n_rows, n_names), columns as ``NAMES``; ``rows``, sorted, are all candidates: shares and ranks are among them."""
    made, reached = np.empty((len(NAMES), len(rows)), np.float32), clues(retrieval, known)
    fill_columns(
        known.arrays, retrieval.products, retrieval.content.texts, reached.parts, retrieval.paths,
        reached.wanted.astype(np.float32), OWN_SHARE, rows, moment, AT, *retrieval.sums(),
        np.empty((len(NAMES), len(rows))), made,
    )  # fmt: skip
    return made.T
