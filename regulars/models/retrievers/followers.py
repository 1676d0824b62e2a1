"""Products that come next: in the same visit after the product looked at, or in the order after the last one.

Source: first-order Markov chains over sessions as in Ludewig & Jannach (2018), Evaluation of session-based recommendation
algorithms, UMUAI 28.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import NEWEST, Known
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.reached import Reached, best, scores_at

Floats = NDArray[np.float64]

LATEST_PRODUCTS = 30


@dataclass(frozen=True)
class Followers:
    """``near``: of each product those that follow it most, and how often; ``falling``: see ``reached``."""

    near: Neighbours
    falling: float = 0.6

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row."""
        return best(self.reached(known), n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what follows none of the latest products."""
        return scores_at(self.reached(known), rows)

    def reached(self, known: Known) -> Reached:
        """Summed over the latest visit; a product counts ``falling`` times as much for every later moment of the visit."""
        return self.near.reached(*self.asked(known))

    def asked(self, known: Known) -> tuple[Rows, Floats]:
        """The products of the latest visit, and how much each counts."""
        products, later = known.visited
        return products[:LATEST_PRODUCTS], self.fading[later[:LATEST_PRODUCTS]]

    @cached_property
    def fading(self) -> Floats:
        """How much a product counts after which there were 0, 1, 2 and so on other moments."""
        return np.power(self.falling, np.arange(NEWEST, dtype=float))
