"""What everybody wants lately: the answer for who has no history, and what fills up a short one."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.candidate_kernels import Popular as Arrays

Floats = NDArray[np.float64]

HALF_LIVES_DAYS = (1.0, 7.0, 30.0, 120.0)
RANKS_BY = 2


@dataclass(frozen=True)
class Popular:
    """``counts`` (n_products, 4): interactions per product in 10,000, fading with half-lives of 1, 7, 30 and 120 days."""

    counts: NDArray[np.float32]

    @cached_property
    def order(self) -> Rows:
        """All rows, most popular first, ties by row."""
        wanted = self.counts[:, RANKS_BY]
        return np.lexsort((np.arange(len(wanted)), -wanted))

    @cached_property
    def arrays(self) -> Arrays:
        """What compiled code reads."""
        return Arrays(np.ascontiguousarray(self.counts[:, RANKS_BY]), self.order)

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first; the same for everybody."""
        return self.order[:n]

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,)."""
        return self.counts[rows, RANKS_BY].astype(float)
