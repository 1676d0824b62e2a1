"""The visitor's own purchases, those of lately counting most (personal top)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.reached import Reached, best, scores_at

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Repeat:
    """Purchases counted with half the weight for every ``half_life_days`` that have passed."""

    half_life_days: float = 60.0

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row; only what was bought."""
        return best(self.reached(known), n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what was never bought."""
        return scores_at(self.reached(known), rows)

    def reached(self, known: Known) -> Reached:
        """Every product of the history and its faded count."""
        weights = known.bought * np.exp2(-known.days / self.half_life_days)
        return known.products, np.bincount(known.place, weights=weights, minlength=len(known.products)).astype(float)
