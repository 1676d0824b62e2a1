"""Products that a retriever reaches, each with a score; sorted by row, so that the score of any product is found quickly."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.retrievers.kernels import SUMS, add_rows, collected, looked_up
from regulars.models.selection import highest

Floats = NDArray[np.float64]
Reached = tuple[Rows, Floats]

NOWHERE: Reached = (np.zeros(0, np.int64), np.zeros(0))


def summed(rows: NDArray[np.int32] | Rows, scores: NDArray[np.float32] | Floats) -> Reached:
    """The distinct ``rows``, sorted, each with the sum of its ``scores`` (0 or more; sums of 0 are left out).

    >>> found, sums = summed(np.array([7, 3, 7]), np.array([1.0, 2.0, 0.5]))
    >>> found.tolist(), sums.tolist()
    ([3, 7], [2.0, 1.5])
    """
    sums, touched = SUMS.of(int(rows.max(initial=-1)) + 1)
    add_rows(rows, scores.astype(np.float64, copy=False), sums, touched)
    return collected(sums, touched)


def best(reached: Reached, n: int) -> Rows:
    """Up to ``n`` rows with a score above 0, best first, ties by row."""
    return highest(*reached, n)


def scores_at(reached: Reached, rows: Rows) -> Floats:
    """The score of each of ``rows``; 0 for what was not reached."""
    return looked_up(*reached, rows)
