"""What goes with the products of a page or a cart: neighbours, the same category, new products by their words."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrieval import ALL_OF, NO_ROWS, Retrieval
from regulars.models.retrievers.reached import scores_at

Floats = NDArray[np.float64]

SHARE_OF_HISTORY = 0.1
SHARE_OF_POPULARITY = 1e-4
SHARE_OF_CATEGORY = 1e-3
SHARE_OF_WORDS = 5e-3
NEW_BESIDE, POPULAR_BESIDE = 30, 100
# how much being bought together, and being liked by the same visitors, counts
SHARES: Mapping[str, tuple[float, float]] = {
    "product": (1.0, 0.5),
    "cart": (1.0, 0.1),
    "similar": (0.2, 1.0),
    "bought_together": (1.0, 0.0),
}


def around(retrieval: Retrieval, page: Rows, known: Known, *, allowed: NDArray[np.bool_] | None = None) -> Rows:
    """Rows that may stand beside ``page``, sorted; with ``allowed`` also the most popular of those."""
    alike = np.flatnonzero(np.isin(retrieval.catalogue.category, known_groups(retrieval, page)))
    popular = alike[np.lexsort((alike, -retrieval.popular.scores(known, alike)))][:POPULAR_BESIDE]
    ones = np.ones(len(page))
    fresh = retrieval.content.fresh.astype(np.int64)
    likeness = retrieval.content.likeness(page, ones, fresh)
    parts = [
        retrieval.baskets.reached(page, ones)[0],
        retrieval.visitors.reached(page, ones)[0],
        popular,
        fresh[np.lexsort((fresh, -likeness))[:NEW_BESIDE]],
        retrieval.popular.order[:POPULAR_BESIDE],
    ]
    allowed_ones = NO_ROWS if allowed is None else retrieval.popular_of(allowed, ALL_OF)
    return np.unique(np.concatenate([*parts, allowed_ones]))


def beside_scores(
    retrieval: Retrieval, page: Rows, known: Known, rows: Rows, *, shares: tuple[float, float]
) -> tuple[Floats, NDArray[np.bool_]]:
    """What goes with the page, a little of what goes with the visitor, popularity to break ties; and what is a neighbour."""
    ones = np.ones(len(page))
    near = shares[0] * scores_at(retrieval.baskets.reached(page, ones), rows)
    near = near + shares[1] * scores_at(retrieval.visitors.reached(page, ones), rows)
    own = scores_at(retrieval.visitors.reached(*known.strongest), rows)
    usual = own / max(float(own.max(initial=0.0)), 1e-9)
    category = np.isin(retrieval.catalogue.category[rows], known_groups(retrieval, page))
    popular = retrieval.popular.scores(known, rows)
    popular = popular / max(float(popular.max(initial=0.0)), 1e-9)
    words = retrieval.content.likeness(page, ones, rows)
    return (
        near
        + 0.1 * SHARE_OF_HISTORY * usual
        + SHARE_OF_CATEGORY * category
        + SHARE_OF_WORDS * words
        + SHARE_OF_POPULARITY * popular
    ), near > 0


def known_groups(retrieval: Retrieval, rows: Rows) -> NDArray[np.int32]:
    """The categories of ``rows``, sorted."""
    groups = np.unique(retrieval.catalogue.category[rows])
    return groups[groups >= 0]
