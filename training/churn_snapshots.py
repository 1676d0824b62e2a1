"""A snapshot: what was known of every eligible customer at one moment, with what came true in the horizon after it, and at
what pace the shop then went.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.customers.season import FEATURES as SEASON
from regulars.models.buy_till_you_die import BuyTillYouDie
from regulars.models.churn import Season, season_shift
from training.splits import before

Floats = NDArray[np.float64]

LEAST_OF_EACH_CLASS = 30
NO_FEATURES = ("customer_id", "churned", "order_days", "orders", "money")


@dataclass(frozen=True)
class Snapshot:
    """Eligible customers at ``at``.

    ``features`` holds ``probability_no_order`` of ``buyers``, the buy-till-you-die model fitted then; ``churned`` is 0 or 1;
    ``season`` is the pace that the shop went at in the horizon after ``at``.
    """

    at: datetime
    features: pd.DataFrame
    churned: Floats
    buyers: BuyTillYouDie
    season: Season


def tree_names(names: Iterable[str]) -> tuple[str, ...]:
    """What trees read of the features ``names``: not the season, which stands beside them, but ``probability_no_order``."""
    return (*(name for name in names if name not in (*SEASON, "probability_no_order")), "probability_no_order")


def known_features(rows: pd.DataFrame) -> pd.DataFrame:
    """The features in ``rows`` as floats, without ids and labels."""
    return rows.drop(columns=[name for name in NO_FEATURES if name in rows]).astype(float)


def season_of(features: pd.DataFrame, buyers: BuyTillYouDie, *, horizon: int, pace: float) -> Season:
    """``pace`` with what it does to the customers in ``features`` on the whole."""
    return Season(pace, season_shift(features, buyers, horizon, pace))


def enough(taken: Sequence[Snapshot]) -> bool:
    """Whether ``taken`` shows at least ``LEAST_OF_EACH_CLASS`` who left and as many who stayed."""
    left = sum(float(snapshot.churned.sum()) for snapshot in taken)
    return min(left, sum(len(snapshot.churned) for snapshot in taken) - left) >= LEAST_OF_EACH_CLASS


def earlier_than(taken: Sequence[Snapshot], at: datetime, horizon: int) -> list[Snapshot]:
    """Those whose label windows had ended at ``at``."""
    allowed = set(before([snapshot.at for snapshot in taken], at, horizon_days=horizon))
    return [snapshot for snapshot in taken if snapshot.at in allowed]
