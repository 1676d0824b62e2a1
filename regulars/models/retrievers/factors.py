"""Matrix factorisation: item vectors are kept, a visitor's vector is computed from their history when they ask.

Source: Hu, Koren & Volinsky (2008), Collaborative Filtering for Implicit Feedback Datasets, ICDM, equation 4.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.factor_kernels import Coarse, coarse, nearest
from regulars.models.retrievers.fold_kernels import Fitted, vector_of
from regulars.models.retrievers.reached import NOWHERE, Reached, best

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

MOST_REACHED = 16_384
NOTHING_ALLOWED = np.zeros(0, bool)


@dataclass(frozen=True)
class Factors:
    """``vectors`` (n_products, n_factors); a product that had too few customers has a zero vector and is never proposed.

    ``regularization`` and ``alpha`` are those that the vectors were fitted with. Of at most the 16,384 longest vectors as many are
    looked through as their lengths demand, so that an answer's cost does not grow with the catalogue: a short one is seldom near
    the top.
    """

    vectors: Vectors
    regularization: float
    alpha: float

    @cached_property
    def gram(self) -> Floats:
        """The vectors' sum of outer products, with the regularisation added; shape (n_factors, n_factors)."""
        wide = self.vectors.astype(float)
        return np.asarray(wide.T @ wide + self.regularization * np.eye(wide.shape[1]))

    @cached_property
    def fitted(self) -> Rows:
        """Rows of the longest vectors, sorted; none that is zero."""
        lengths = np.einsum("ij,ij->i", self.vectors, self.vectors)
        longest = np.lexsort((np.arange(len(lengths)), -lengths))[:MOST_REACHED]
        return np.sort(longest[lengths[longest] > 0])

    def fold_in(self, known: Known) -> Floats:
        """The visitor's vector (n_factors,): the least-squares answer to their history."""
        return vector_of(known.arrays, self.arrays)

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first; nothing for an empty history."""
        return best(self.near_to(self.fold_in(known), n) if len(known.products) else NOWHERE, n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for an empty history."""
        told = self.vectors[rows] @ self.fold_in(known).astype(np.float32)
        return np.where(np.isin(rows, self.fitted) & bool(len(known.products)), told, 0.0).astype(float)

    def near_to(
        self, wanted: Floats, n: int, *, allowed: NDArray[np.bool_] | None = None, n_allowed: int = 0
    ) -> Reached:
        """Of a visitor's vector (n_factors,): whatever may be among the ``n`` best, and with ``n_allowed`` among the best allowed.

        ``allowed``, shape (n_products,).
        """
        mask = NOTHING_ALLOWED if allowed is None else allowed
        return nearest(self.rounded, self.vectors, wanted.astype(np.float32), n, mask, n_allowed)

    @cached_property
    def arrays(self) -> Fitted:
        """What compiled code reads to fold in."""
        return Fitted(np.require(self.vectors, np.float32, ["C", "W"]), self.gram, float(self.alpha))

    @cached_property
    def rounded(self) -> Coarse:
        """What compiled code reads to find what is near."""
        return coarse(self.vectors, self.fitted)


def confidences(weights: Floats, alpha: float) -> Floats:
    """1 + alpha log(1 + weight): how sure a summed strength makes us that the product is liked."""
    return np.asarray(1 + alpha * np.log1p(weights), dtype=float)
