"""(history, product) -> what the ranker reads; the same function made its training rows."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.pair_kernels import (
    COUNT_COMMON,
    COUNT_OWN,
    COUNT_PRODUCT,
    group_share,
    likeness_columns,
    looked_up_columns,
    own_columns,
    place_columns,
    product_columns,
    rank_rows,
    share_rows,
    turned,
)
from regulars.models.retrieval import Catalogue, Clues, Retrieval
from regulars.models.retrievers.kernels import SUMS
from regulars.models.retrievers.lookalikes import OWN_SHARE

Floats = NDArray[np.float64]

WITHIN = (5, 25)
NEAR = (
    "baskets",
    "visitors",
    "newest",
    "recent",
    "linear",
    "followers",
    "following",
    "second",
    "next_step",
    "step_before",
    "two_steps",
    "onward",
    "sessions",
    "sessions_rarity",
    "sessions_after",
    "linear_visit",
    "lookalikes",
    "own_frequency",
    "frequency",
    "factors",
    "content",
    "factors_newest",
    "akin_newest",
    "akin_mean",
    "akin_second",
    "transition",
    "transition_newest",
    "visit_count",
)
SESSIONS = ("sessions", "sessions_rarity", "sessions_after", "linear_visit")
SHARED = ("newest", "followers", "onward", "transition", *SESSIONS, "frequency")
RANKED = (
    "visitors",
    "linear",
    "newest",
    "followers",
    "onward",
    "transition",
    *SESSIONS,
    "lookalikes",
    "frequency",
    "popular",
)
NAMES = (
    # the visitor and this product
    "bought_days",
    "bought_faded_7d",
    "bought_faded_30d",
    "bought_faded_90d",
    "days_since_bought",
    "days_since_first_bought",
    "own_gap_days",
    "own_overdue",
    "own_basket_share",
    "count_touched",
    "days_since_touched",
    "place_from_end",
    # the product
    "popular_1d",
    "popular_7d",
    "popular_30d",
    "popular_120d",
    "popular_trend",
    "count_customers",
    "repeat_rate",
    "gap_days",
    "overdue",
    "product_age_days",
    "price",
    # what else the visitor did
    "near_baskets",
    "near_visitors",
    "near_newest",
    "near_recent",
    "near_linear",
    "follows",
    "follows_newest",
    "near_second",
    "next_step",
    "step_before",
    "two_steps",
    "onward",
    "in_sessions",
    "in_sessions_rarity",
    "in_sessions_after",
    "near_linear_visit",
    "of_lookalikes",
    "own_frequency",
    "frequency",
    "factors",
    "content",
    "factors_newest",
    "akin_newest",
    "akin_mean",
    "akin_second",
    "transition",
    "transition_newest",
    "visit_count",
    # the same against the other candidates: share of the highest, and rank
    "near_newest_share",
    "follows_share",
    "onward_share",
    "transition_share",
    "in_sessions_share",
    "in_sessions_rarity_share",
    "in_sessions_after_share",
    "near_linear_visit_share",
    "frequency_share",
    "near_visitors_rank",
    "near_linear_rank",
    "near_newest_rank",
    "follows_rank",
    "onward_rank",
    "transition_rank",
    "in_sessions_rank",
    "in_sessions_rarity_rank",
    "in_sessions_after_rank",
    "near_linear_visit_rank",
    "of_lookalikes_rank",
    "frequency_rank",
    "popular_rank",
    # what they have in common
    "category_share",
    "parent_share",
    "brand_share",
    "price_against_usual",
    "ids_within_5",
    "ids_within_25",
    "ids_from_newest",
    # the visitor
    "count_baskets",
    "count_products",
    "count_interactions",
    "products_per_basket",
    "days_since_any",
    "repeat_share",
    "visit_length",
    "newest_known_by",
)


_PLACES = {name: place for place, name in enumerate((*NEAR, "popular"))}
_SHARED, _RANKED = (np.array([_PLACES[name] for name in names]) for names in (SHARED, RANKED))
_PARTS = np.cumsum([0, COUNT_OWN, COUNT_PRODUCT, len(NEAR), len(SHARED), len(RANKED), COUNT_COMMON])
_OWN, _PRODUCT, _NEAR, _SHARES, _RANKS, _COMMON = (slice(a, b) for a, b in pairwise(_PARTS.tolist()))
_SINCE_BOUGHT, _POPULAR = NAMES.index("days_since_bought"), NAMES.index("popular_30d")


def pair_features(
    retrieval: Retrieval, known: Known, rows: Rows, *, moment: int, clues: Clues | None = None
) -> NDArray[np.float32]:
    """Shape (n_rows, n_names), columns as ``NAMES``; nan where a value is not defined.

    ``rows``, sorted, are all candidates: shares and ranks are among them. ``clues`` are the history's, where they are at hand.
    """
    made = np.empty((len(rows), len(NAMES)), np.float32)
    if not len(rows):
        return made
    clues = retrieval.clues(known) if clues is None else clues
    columns, catalogue = np.empty((len(NAMES), len(rows))), retrieval.catalogue
    counts = own_columns(known.products, known.place, known.days, known.bought, rows, columns[_OWN])
    product_columns(
        retrieval.popular.counts,
        catalogue.count_customers,
        catalogue.repeat_rate,
        catalogue.gap_days,
        catalogue.first_seen_at,
        catalogue.price,
        rows,
        columns[_SINCE_BOUGHT],
        moment,
        columns[_PRODUCT],
    )
    compared = np.empty((len(NEAR) + 1, len(rows)))
    _near(retrieval, known, rows, clues, compared)
    compared[-1] = columns[_POPULAR]
    columns[_NEAR] = compared[:-1]
    share_rows(compared, _SHARED, columns[_SHARES])
    rank_rows(compared, _RANKED, columns[_RANKS])
    _common(catalogue, known, rows, columns[_COMMON])
    columns[_COMMON.stop :] = _visitor(catalogue, known, *counts)[:, None]
    turned(columns, made)
    return made


def _near(retrieval: Retrieval, known: Known, rows: Rows, clues: Clues, into: Floats) -> None:
    """What each retriever says, one row of ``into`` for each of ``NEAR``."""
    told = np.empty((len(_TOLD), len(rows)))
    found = [clues[name] for name in _TOLD]
    ends = np.cumsum([len(reached) for reached, _ in found])
    looked_up_columns(
        np.concatenate([reached for reached, _ in found]),
        np.concatenate([scores for _, scores in found]),
        ends,
        rows,
        told,
    )
    into[_PLACES_TOLD] = told
    visit = np.sort(known.visit)
    into[_PLACES["visit_count"]] = np.searchsorted(visit, rows, side="right") - np.searchsorted(visit, rows)
    own, others = into[_PLACES["own_frequency"]], into[_PLACES["lookalikes"]]
    into[_PLACES["frequency"]] = OWN_SHARE * own + (1 - OWN_SHARE) * others
    into[_PLACES["content"]] = retrieval.content.scores(known, rows)
    into[_LIKE] = 0.0
    if len(known.rows):
        vectors = retrieval.factors.vectors
        likeness = np.empty((2, len(rows)))
        likeness_columns(vectors, clues.wanted.astype(np.float32), vectors[known.rows[-1]], rows, likeness)
        into[_LIKE] = likeness
    into[_AKIN] = retrieval.embedding.likeness(known, rows).T
    into[_TRANSITION] = retrieval.transitions.chances(known, rows)


_APART = (
    "frequency",
    "factors",
    "content",
    "factors_newest",
    "akin_newest",
    "akin_mean",
    "akin_second",
    "transition",
    "transition_newest",
    "visit_count",
)
_TOLD = tuple(name for name in NEAR if name not in _APART)
_PLACES_TOLD = np.array([_PLACES[name] for name in _TOLD])
_LIKE = [_PLACES["factors"], _PLACES["factors_newest"]]
_TRANSITION = [_PLACES["transition"], _PLACES["transition_newest"]]
_AKIN = [_PLACES["akin_newest"], _PLACES["akin_mean"], _PLACES["akin_second"]]


def _common(catalogue: Catalogue, known: Known, rows: Rows, into: Floats) -> None:
    """What the products have in common with the history's, one row of ``into`` each.

    Rows are in the order of product ids, and shops number products as they take them in, so that those of one collection lie
    together.
    """
    sums, _ = SUMS.of(len(catalogue.category))
    for place, group in enumerate((catalogue.category, catalogue.parent, catalogue.brand)):
        group_share(group, known.products, known.weights, rows, sums, into[place])
    usual = _usual_price(catalogue.price[known.products], known.weights)
    newest = int(known.rows[-1]) if len(known.rows) else -1
    place_columns(catalogue.price, usual, known.products, newest, rows, WITHIN, into[3:])


def _visitor(catalogue: Catalogue, known: Known, baskets: int, lines: int, distinct: int) -> Floats:
    return np.array(
        [
            baskets,
            len(known.products),
            len(known.rows),
            lines / baskets if baskets else np.nan,
            known.days[-1] if len(known.days) else np.nan,
            1 - distinct / lines if lines else np.nan,
            len(known.visit),
            catalogue.count_customers[known.rows[-1]] if len(known.rows) else np.nan,
        ]
    )


def _usual_price(prices: NDArray[np.float32], weights: Floats) -> float:
    """The mean price of what the history holds, by weight; nan where none is known."""
    kept = np.isfinite(prices)
    total = float(weights[kept].sum())
    return max(float(prices[kept].astype(float) @ weights[kept]) / total, 0.01) if total else float("nan")
