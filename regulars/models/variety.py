"""Which of the best products stand together: no two variants of one, and as varied as was asked."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.retrieval import Retrieval

Floats = NDArray[np.float64]

DEEPER, MOST_DEEP = 4, 200
SAME_PARENT = 0.5


def one_of_each(rows: Rows, family: NDArray[np.int32]) -> NDArray[np.bool_]:
    """True for the first of ``rows`` of every family; a product of family -1 stands for itself.

    >>> one_of_each(np.array([4, 2, 3]), np.array([-1, -1, 0, -1, 0], np.int32)).tolist()
    [True, False, True]
    """
    families = family[rows]
    if (families < 0).all():
        return np.ones(len(rows), dtype=bool)
    named = np.where(families >= 0, families.astype(np.int64), -1 - rows)
    kept = np.zeros(len(rows), dtype=bool)
    kept[np.unique(named, return_index=True)[1]] = True
    return kept


def diversified(retrieval: Retrieval, rows: Rows, *, n: int, diversity: float) -> Rows:
    """Places in ``rows`` (best first) of up to ``n``: each the largest (1 - diversity) x relevance - diversity x likeness.

    Relevance falls evenly from 1 with the place among those looked at (four times ``n``, at most 200); likeness (0-1) is the
    largest to any chosen before: 1 of one category, 0.5 of one parent category, else the cosine of the item vectors.

    Source: maximal marginal relevance, Carbonell & Goldstein (1998), SIGIR.
    """
    deep = rows[: max(n, min(DEEPER * n, MOST_DEEP))]
    relevance = 1 - np.arange(len(deep)) / max(len(deep), 1)
    nearest = np.zeros(len(deep))
    left = np.ones(len(deep), dtype=bool)
    chosen: list[int] = []
    while left.any() and len(chosen) < n:
        worth = np.where(left, (1 - diversity) * relevance - diversity * nearest, -np.inf)
        place = int(np.argmax(worth))
        chosen.append(place)
        left[place] = False
        nearest = np.maximum(nearest, _likeness(retrieval, int(deep[place]), deep))
    return np.array(chosen, dtype=np.int64)


def _likeness(retrieval: Retrieval, row: int, rows: Rows) -> Floats:
    catalogue, vectors = retrieval.catalogue, retrieval.factors.vectors
    own = vectors[rows].astype(float)
    lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(vectors[row])
    alike = np.clip(own @ vectors[row] / np.maximum(lengths, 1e-9), 0, 1)
    for groups, share in ((catalogue.parent, SAME_PARENT), (catalogue.category, 1.0)):
        if groups[row] >= 0:
            alike = np.where(groups[rows] == groups[row], np.maximum(alike, share), alike)
    return np.asarray(alike, dtype=float)
