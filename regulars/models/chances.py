"""From a ranker's score, which only orders, to the probability that the product is wanted within a stated window."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Chances:
    """``knots`` (n_knots, 2): scores in rising order and the probability (0-1, never falling) at each; straight between them.

    Source: isotonic regression, Zadrozny & Elkan (2002), Transforming Classifier Scores into Accurate Multiclass
    Probability Estimates, KDD.
    """

    knots: NDArray[np.float64]

    def of(self, scores: Floats) -> Floats:
        """The probability (0-1) of each score; that of the nearest knot outside of them. Shape (n_scores,).

        >>> Chances(np.array([[-1.0, 0.0], [1.0, 0.5]])).of(np.array([0.0, 9.0])).tolist()
        [0.25, 0.5]
        """
        return np.asarray(np.interp(scores, self.knots[:, 0], self.knots[:, 1]), dtype=float)
