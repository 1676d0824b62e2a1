"""(history, product) -> what the ranker reads; the same function made its training rows."""

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.pair_columns import Places, fill_columns
from regulars.models.pair_kernels import COUNT_COMMON, COUNT_OWN, COUNT_PRODUCT
from regulars.models.retrieval import PARTS, Clues, Retrieval
from regulars.models.retrievers.lookalikes import OWN_SHARE

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


_ENDS = np.cumsum([COUNT_OWN, COUNT_PRODUCT, len(NEAR), len(SHARED), len(RANKED), COUNT_COMMON]).tolist()
_NEAR = {name: place for place, name in enumerate((*NEAR, "popular"))}
AT = Places(
    product=_ENDS[0],
    near=_ENDS[1],
    shares=_ENDS[2],
    ranks=_ENDS[3],
    common=_ENDS[4],
    visitor=_ENDS[5],
    since_bought=NAMES.index("days_since_bought"),
    popular=NAMES.index("popular_30d"),
    told=np.array([_NEAR.get(name, -1) for name in PARTS]),
    shared=np.array([_NEAR[name] for name in SHARED]),
    ranked=np.array([_NEAR[name] for name in RANKED]),
    own_frequency=_NEAR["own_frequency"],
    lookalikes=_NEAR["lookalikes"],
    frequency=_NEAR["frequency"],
    content=_NEAR["content"],
    factors=_NEAR["factors"],
    factors_newest=_NEAR["factors_newest"],
    akin=_NEAR["akin_newest"],
    transition=_NEAR["transition"],
    visit_count=_NEAR["visit_count"],
)


def pair_features(
    retrieval: Retrieval, known: Known, rows: Rows, *, moment: int, clues: Clues | None = None
) -> NDArray[np.float32]:
    """Shape (n_rows, n_names), columns as ``NAMES``, each in one piece; nan where a value is not defined.

    ``rows``, sorted, are all candidates: shares and ranks are among them. ``clues`` are the history's, where they are at hand.
    """
    made = np.empty((len(NAMES), len(rows)), np.float32)
    if not len(rows):
        return made.T
    clues = retrieval.clues(known) if clues is None else clues
    fill_columns(
        known.arrays,
        retrieval.products,
        retrieval.content.texts,
        clues.parts,
        retrieval.paths,
        clues.wanted.astype(np.float32),
        OWN_SHARE,
        rows,
        moment,
        AT,
        *retrieval.sums(),
        np.empty((len(NAMES), len(rows))),
        made,
    )  # fmt: skip
    return made.T
