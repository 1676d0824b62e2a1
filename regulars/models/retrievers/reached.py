"""Products that a retriever reaches, each with a score; sorted by row, so that the score of any product is found quickly."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows

Floats = NDArray[np.float64]
Reached = tuple[Rows, Floats]

LARGE = 200_000
NOWHERE: Reached = (np.zeros(0, np.int64), np.zeros(0))


def summed(rows: NDArray[np.int32] | Rows, scores: NDArray[np.float32] | Floats, *, among: int = LARGE + 1) -> Reached:
    """The distinct ``rows``, sorted, each with the sum of its ``scores`` (0 or more; sums of 0 are left out).

    ``among``: how many products there are, where known; up to 200,000 they are counted out, which is faster than sorting.

    >>> found, sums = summed(np.array([7, 3, 7]), np.array([1.0, 2.0, 0.5]), among=9)
    >>> found.tolist(), sums.tolist()
    ([3, 7], [2.0, 1.5])
    """
    if among <= LARGE:
        counted = np.bincount(rows, weights=scores, minlength=among).astype(float, copy=False)
        found = np.flatnonzero(counted > 0)
        return found, counted[found]
    found, place = np.unique(rows, return_inverse=True)
    sums = np.bincount(place, weights=scores, minlength=len(found)).astype(float, copy=False)
    return found[sums > 0].astype(np.int64), sums[sums > 0]


def best(reached: Reached, n: int) -> Rows:
    """Up to ``n`` rows with a score above 0, best first, ties by row."""
    found, scores = reached
    if len(found) > 4 * n:
        kept = np.flatnonzero(scores >= np.partition(scores, len(scores) - n)[len(scores) - n])
        found, scores = found[kept], scores[kept]
    order = np.lexsort((found, -scores))[:n]
    return found[order[scores[order] > 0]]


def scores_at(reached: Reached, rows: Rows) -> Floats:
    """The score of each of ``rows``; 0 for what was not reached."""
    found, scores = reached
    if not len(found):
        return np.zeros(len(rows))
    place = np.minimum(np.searchsorted(found, rows), len(found) - 1)
    return np.where(found[place] == rows, scores[place], 0.0)


def spans(starts: Rows, lengths: Rows) -> Rows:
    """The places start, start + 1, ... of each span, one span after the other.

    >>> spans(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)
