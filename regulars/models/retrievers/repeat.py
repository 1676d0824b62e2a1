"""The visitor's own purchases, those of lately counting most (personal top)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Repeat:
    """Purchases counted with half the weight for every ``half_life_days`` that have passed."""

    half_life_days: float = 60.0

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row; only what was bought."""
        counted = self._counted(known)
        order = np.lexsort((known.products, -counted))[:n]
        return known.products[order[counted[order] > 0]]

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what was never bought."""
        return at_products(known, self._counted(known), rows)

    def _counted(self, known: Known) -> Floats:
        weights = known.bought * np.exp2(-known.days / self.half_life_days)
        return np.bincount(known.place, weights=weights, minlength=len(known.products)).astype(float)


def at_products(known: Known, values: Floats, rows: Rows, *, missing: float = 0.0) -> Floats:
    """The value of each of ``rows`` where ``values`` has one per distinct product of the history, else ``missing``."""
    if not len(known.products):
        return np.full(len(rows), missing)
    place = np.searchsorted(known.products, rows)
    place[place == len(known.products)] = 0
    return np.where(known.products[place] == rows, values[place], missing)
