"""(history, product) -> what the ranker reads; the same function made its training rows."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import DAY_S, Known
from regulars.models.retrieval import Catalogue, Clues, Retrieval
from regulars.models.retrievers.lookalikes import OWN_SHARE
from regulars.models.retrievers.reached import scores_at

Floats = NDArray[np.float64]

NEVER_DAYS = 3_650.0
FADING_DAYS = (7.0, 30.0, 90.0)
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
    "visit_count",
)
SESSIONS = ("sessions", "sessions_rarity", "sessions_after", "linear_visit")
SHARED = ("newest", "followers", "onward", *SESSIONS, "frequency")
RANKED = ("visitors", "linear", "newest", "followers", "onward", *SESSIONS, "lookalikes", "frequency", "popular")
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
    "visit_count",
    # the same against the other candidates: share of the highest, and rank
    "near_newest_share",
    "follows_share",
    "onward_share",
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


def pair_features(
    retrieval: Retrieval, known: Known, rows: Rows, *, moment: int, clues: Clues | None = None
) -> NDArray[np.float32]:
    """Shape (n_rows, n_names), columns as ``NAMES``; nan where a value is not defined.

    ``rows`` are all candidates: shares and ranks are among them. ``clues`` are the history's, where they are at hand.
    """
    if not len(rows):
        return np.zeros((0, len(NAMES)), np.float32)
    clues = retrieval.clues(known) if clues is None else clues
    own = _own(known, rows)
    product = _product(retrieval, rows, own[:, 4], moment=moment)
    near = _near(retrieval, known, rows, clues)
    against = _against_others(near, product[:, 2])
    common = _common(retrieval.catalogue, known, rows)
    visitor = np.broadcast_to(_visitor(retrieval.catalogue, known), (len(rows), 8))
    return np.hstack([own, product, near, against, common, visitor]).astype(np.float32)


def _own(known: Known, rows: Rows) -> Floats:
    """What the visitor did with each product itself; the values of those never touched are the defaults."""
    count = len(known.products)
    bought, place = known.bought, known.place
    day = np.floor(known.days)
    days_bought = _distinct(place[bought], day[bought], count)
    faded = [
        np.bincount(place, weights=bought * np.exp2(-known.days / half_life), minlength=count)
        for half_life in FADING_DAYS
    ]
    last, first = np.full(count, NEVER_DAYS), np.full(count, NEVER_DAYS)
    last[place[bought]] = known.days[bought]
    first[place[bought][::-1]] = known.days[bought][::-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = np.where(days_bought > 1, (first - last) / (days_bought - 1), np.nan)
        overdue = last / np.maximum(gap, 1.0)
    baskets = max(len(np.unique(known.days[bought])), 1)
    touched = np.empty(count)
    touched[place] = known.days
    from_end = np.empty(count)
    from_end[np.searchsorted(known.products, known.newest)] = np.arange(count)
    columns = [
        (days_bought, 0.0),
        *((column, 0.0) for column in faded),
        (last, NEVER_DAYS),
        (first, NEVER_DAYS),
        (gap, np.nan),
        (overdue, np.nan),
        (days_bought / baskets, 0.0),
        (np.bincount(place, minlength=count).astype(float), 0.0),
        (touched, NEVER_DAYS),
        (from_end, np.nan),
    ]
    defaults = np.array([missing for _, missing in columns])
    if not count:
        return np.tile(defaults, (len(rows), 1))
    table = np.vstack([np.column_stack([values for values, _ in columns]), defaults])
    at = np.minimum(np.searchsorted(known.products, rows), count - 1)
    return table[np.where(known.products[at] == rows, at, count)]


def _product(retrieval: Retrieval, rows: Rows, since: Floats, *, moment: int) -> Floats:
    catalogue, counts = retrieval.catalogue, retrieval.popular.counts[rows].astype(float)
    gap = catalogue.gap_days[rows].astype(float)
    overdue = np.where(since < NEVER_DAYS, since / np.maximum(gap, 1.0), np.nan)
    return np.column_stack(
        [
            counts,
            (counts[:, 1] + 0.1) / (counts[:, 2] + 0.1),
            catalogue.count_customers[rows],
            catalogue.repeat_rate[rows],
            gap,
            overdue,
            (moment - catalogue.first_seen_at[rows]) / DAY_S,
            catalogue.price[rows],
        ]
    )


def _near(retrieval: Retrieval, known: Known, rows: Rows, clues: Clues) -> Floats:
    """What each retriever says, columns as ``NEAR``."""
    found = {name: scores_at(reached, rows) for name, reached in clues.items()}
    visits, counts = np.unique(known.visit, return_counts=True)
    found["frequency"] = OWN_SHARE * found["own_frequency"] + (1 - OWN_SHARE) * found["lookalikes"]
    found["content"] = retrieval.content.scores(known, rows)
    found["factors_newest"] = _like_newest(retrieval.factors.vectors, known, rows)
    found["akin_newest"], found["akin_mean"], found["akin_second"] = retrieval.embedding.likeness(known, rows).T
    found["visit_count"] = scores_at((visits, counts.astype(float)), rows)
    return np.column_stack([found[name] for name in NEAR])


def _like_newest(vectors: NDArray[np.float32], known: Known, rows: Rows) -> Floats:
    """The cosine of each row's vector with that of the latest product."""
    if not len(known.rows):
        return np.zeros(len(rows))
    newest, own = vectors[known.rows[-1]], vectors[rows]
    lengths = np.linalg.norm(own, axis=1) * np.linalg.norm(newest)
    return np.asarray(own @ newest / np.maximum(lengths, 1e-9), dtype=float)


def _against_others(near: Floats, popular: Floats) -> Floats:
    columns = dict(zip(NEAR, near.T, strict=True)) | {"popular": popular}
    shares = [columns[name] / max(float(columns[name].max()), 1e-12) for name in SHARED]
    return np.column_stack([*shares, *(_ranks(columns[name]) for name in RANKED)])


def _ranks(scores: Floats) -> Floats:
    """1 for the highest score; nan where it is 0, which is where a retriever says nothing."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(-scores, kind="stable")] = np.arange(1, len(scores) + 1)
    return np.where(scores > 0, ranks, np.nan)


def _common(catalogue: Catalogue, known: Known, rows: Rows) -> Floats:
    usual = _usual_price(catalogue.price[known.products], known.weights)
    return np.column_stack(
        [
            _share(catalogue.category, known, rows),
            _share(catalogue.parent, known, rows),
            _share(catalogue.brand, known, rows),
            np.log(np.maximum(catalogue.price[rows], 0.01) / usual),
            _between(known.products, rows - 5, rows + 5),
            _between(known.products, rows - 25, rows + 25),
            np.abs(rows - known.rows[-1]) if len(known.rows) else np.full(len(rows), np.nan),
        ]
    )


def _between(products: Rows, low: Rows, high: Rows) -> Rows:
    """How many of the sorted ``products`` lie in [low, high] of each row. Rows are in the order of product ids, and shops
    number products as they take them in, so that those of one collection lie together."""
    return np.searchsorted(products, high, side="right") - np.searchsorted(products, low)


def _visitor(catalogue: Catalogue, known: Known) -> Floats:
    baskets = len(np.unique(known.days[known.bought]))
    lines = int(known.bought.sum())
    distinct = len(np.unique(known.rows[known.bought]))
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


def _share(group: NDArray[np.int32], known: Known, rows: Rows) -> Floats:
    """The share (0-1) of the history's weight that lies in each row's group; 0 where it has none."""
    total = float(known.weights.sum())
    wanted, inverse = np.unique(group[rows], return_inverse=True)
    if not total:
        return np.zeros(len(rows))
    own = group[known.products]
    place = np.minimum(np.searchsorted(wanted, own), len(wanted) - 1)
    hit = (wanted[place] == own) & (own >= 0)
    sums = np.bincount(place[hit], weights=known.weights[hit], minlength=len(wanted))
    return np.asarray(sums[inverse] / total, dtype=float)


def _usual_price(prices: NDArray[np.float32], weights: Floats) -> float:
    kept = np.isfinite(prices)
    if not weights[kept].sum():
        return float("nan")
    return max(float(np.average(prices[kept], weights=weights[kept])), 0.01)


def _distinct(place: Rows, day: Floats, count: int) -> Floats:
    """How many different days each place has."""
    if not len(place):
        return np.zeros(count)
    width = int(day.max()) + 1
    pairs = np.unique(place * width + day.astype(np.int64))
    return np.bincount(pairs // width, minlength=count).astype(float)
