"""How training for churn and for value begins: the shop's rhythm, what is asked, and of whom."""

from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from features.build import feature_names, read_customer_features
from features.shop import ShopRhythm, shop_rhythm
from regulars.as_of import Tables
from regulars.errors import MissingData


@dataclass(frozen=True)
class Eligible:
    """Whom a model is about, and how far it looks.

    ``everybody``: features of all customers, by customer_id; ``now``: those of them with an order in the ``lookback`` days before
    the moment. ``names``: the features that the shop's tables allow.
    """

    rhythm: ShopRhythm
    horizon: int
    lookback: int
    names: tuple[str, ...]
    everybody: pd.DataFrame
    now: pd.DataFrame


def eligible_at(tables: Tables, *, as_of: datetime, horizon_days: int | None, lookback_days: int | None) -> Eligible:
    """What was known just before ``as_of``; horizon and lookback (days) default to what the shop's rhythm says.

    Raises:
        MissingData: where no customer had ordered in the lookback.
    """
    rhythm = shop_rhythm(tables, as_of=as_of)
    lookback = lookback_days or rhythm.default_lookback_days
    everybody = read_customer_features(tables, as_of=as_of).sort_values("customer_id", ignore_index=True)
    now = everybody[everybody["days_since_last_order"] <= lookback]
    if now.empty:
        raise MissingData(
            f"no customer ordered in the {lookback} days before {as_of.isoformat()}; give a later --as-of"
        )
    return Eligible(
        rhythm, horizon_days or rhythm.default_horizon_days, lookback, feature_names(tables), everybody, now
    )
