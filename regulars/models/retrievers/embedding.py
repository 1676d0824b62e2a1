"""Products as vectors: close together where visits go through them in the same company, also where none went through both.

Source: Levy & Goldberg (2014), Neural Word Embedding as Implicit Matrix Factorization, NIPS (a factorisation of shifted
positive pointwise mutual information); products as words and visits as sentences: Barkan & Koenigstein (2016), Item2Vec, MLSP.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.neighbours import ONES, Neighbours
from regulars.models.retrievers.reached import Reached, best, scores_at

Floats = NDArray[np.float64]

LATEST_PRODUCTS = 9


@dataclass(frozen=True)
class Embedding:
    """``vectors`` (n_products, n_dimensions) of length 1, or 0 where too few visits hold the product; ``rows`` and
    ``similarity`` (n_products, k): the nearest by cosine, as in ``Neighbours``."""

    vectors: NDArray[np.float32]
    rows: NDArray[np.int32]
    similarity: NDArray[np.float32]

    @cached_property
    def near(self) -> Neighbours:
        """The nearest products of each."""
        return Neighbours(self.rows, self.similarity)

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row."""
        return best(self.reached(known), n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what is near none of the visit's products."""
        return scores_at(self.reached(known), rows)

    def reached(self, known: Known) -> Reached:
        """What is near the products of the latest visit, all alike."""
        return self.near.reached(*self.asked(known))

    def asked(self, known: Known) -> tuple[Rows, Floats]:
        """The products of the latest visit, and how much each counts."""
        products = _latest(known)
        return products, ONES[: len(products)]

    def likeness(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows, 3): cosine with the latest product of the visit, the mean over its products, and the one before
        the latest; nan where there is none."""
        found = np.full((len(rows), 3), np.nan)
        products = _latest(known)[: 0 if self.near.are_none else None]
        if len(products):
            cosines = self.vectors[rows] @ self.vectors[products].T
            found[:, 0] = cosines[:, 0]
            found[:, 1] = cosines.mean(axis=1)
            if len(products) > 1:
                found[:, 2] = cosines[:, 1]
        return found


def _latest(known: Known) -> Rows:
    return known.visited[0][:LATEST_PRODUCTS]
