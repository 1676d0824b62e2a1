"""Batch answers: the same models as the service's, over every customer of the lake."""

import json
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from features.build import customer_features_by_slice
from features.standing import STANDING_READS, buyers_standing, stage_with_risk
from features.subscriptions import beside_customers, running_subscriptions
from regulars.as_of import Tables
from regulars.errors import ModelMissing
from regulars.models.cancellation import CancellationModel
from regulars.models.churn import ChurnModel
from regulars.models.offers import OfferModel
from regulars.models.value import ValueModel
from regulars.settings import Settings
from training.tracking import Tracking, Version


def load_churn(tracking: Tracking, version: Version) -> ChurnModel:
    """The churn model of a registered version."""
    with tempfile.TemporaryDirectory() as scratch:
        return ChurnModel.load(tracking.fetch(version, Path(scratch)))


def load_value(tracking: Tracking, version: Version) -> ValueModel:
    """The value model of a registered version."""
    with tempfile.TemporaryDirectory() as scratch:
        return ValueModel.load(tracking.fetch(version, Path(scratch)))


def value_for(tracking: Tracking, *, as_of: datetime) -> ValueModel | None:
    """The value model that answers at ``as_of``; None where none was trained on what was known by then."""
    try:
        return load_value(tracking, tracking.version_for("value", as_of=as_of))
    except ModelMissing:
        return None


def cancellation_for(tracking: Tracking, *, as_of: datetime) -> CancellationModel | None:
    """The cancellation model that answers at ``as_of``; None where none was trained on what was known by then."""
    try:
        version = tracking.version_for("cancellation", as_of=as_of)
    except ModelMissing:
        return None
    with tempfile.TemporaryDirectory() as scratch:
        return CancellationModel.load(tracking.fetch(version, Path(scratch)))


def load_offers(tracking: Tracking, version: Version) -> OfferModel:
    """The offer model of a registered version."""
    with tempfile.TemporaryDirectory() as scratch:
        return OfferModel.load(tracking.fetch(version, Path(scratch)))


def score_customers(
    tables: Tables,
    model: ChurnModel,
    *,
    as_of: datetime,
    settings: Settings,
    value: ValueModel | None = None,
    cancellation: CancellationModel | None = None,
) -> pd.DataFrame:
    """One row per customer with an order in [as_of - lookback, as_of), sorted by customer_id.

    Columns: customer_id, churn_probability, churn_low, churn_high (0-1), risk (low, medium, high), reasons (JSON), method
    (blend, or buy_till_you_die where the shop is too small for it), with a value model what it predicts, next_order_at
    (UTC) with its bounds and value_at_risk (churn_probability x predicted_value), with a cancellation model and subscriptions
    cancellation_probability (0-1, the highest of those that run; null without one), who they are (see
    ``features.standing``), support_priority, and the features that a profile shows. ``support_priority`` is the place (0-1, 1
    first) in a queue by value at risk; without a value model by churn_probability x the last year's money.
    """
    scores, facts, everybody = [], [], []
    running = None
    if cancellation is not None and "subscriptions" in tables:
        running = running_subscriptions(tables, as_of=as_of).execute()
    for features in customer_features_by_slice(tables, as_of=as_of):
        everybody.append(features[["customer_id", *STANDING_READS]])
        eligible = features[features["days_since_last_order"] <= model.lookback_days]
        eligible = eligible.sort_values("customer_id").set_index("customer_id")
        answered = _predicted(eligible, model, value, as_of=as_of, settings=settings)
        if cancellation is not None and running is not None:
            mine = beside_customers(running[running["customer_id"].isin(eligible.index)], eligible.reset_index())
            answered["cancellation_probability"] = cancellation.of_customers(mine).reindex(answered.index)
        scores.append(answered)
        facts.append(eligible[[*SHOWN, "money_365d"]])
    scored, known = _together(scores), _together(facts)
    standing = buyers_standing(
        tables,
        pd.concat(everybody),
        as_of=as_of,
        lookback_days=model.lookback_days,
        loyal_orders=settings.loyal_orders,
        tiers=settings.tiers,
    ).loc[scored.index]
    standing["stage"] = [stage_with_risk(*pair) for pair in zip(standing["stage"], scored["risk"], strict=True)]
    at_stake = scored["churn_probability"] * known["money_365d"] if value is None else scored["value_at_risk"]
    scored = scored.join(standing).assign(support_priority=at_stake.rank(pct=True))
    return scored.join(known[list(SHOWN)]).reset_index()


def _predicted(
    eligible: pd.DataFrame, model: ChurnModel, value: ValueModel | None, *, as_of: datetime, settings: Settings
) -> pd.DataFrame:
    """What the models say of the customers in ``eligible``, each by itself; indexed as ``eligible``."""
    predicted, explained = model.explained(eligible)
    reasons = [json.dumps([vars(reason) for reason in found]) for found in explained]
    levels = [settings.risk_medium, settings.risk_high]
    risk = np.array(["low", "medium", "high"])[np.digitize(predicted["churn_probability"], levels)]
    scored = predicted.assign(risk=risk, reasons=reasons, method=model.method)
    if value is not None:
        scored = scored.join(_worth(value.predict(eligible), as_of=as_of))
        scored["value_at_risk"] = scored["churn_probability"] * scored["predicted_value"]
    return scored


def _together(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The rows of all ``parts``, sorted; of none but empty ones, the first."""
    return pd.concat([part for part in parts if len(part)] or parts[:1]).sort_index()


def _worth(predicted: pd.DataFrame, *, as_of: datetime) -> pd.DataFrame:
    """``predicted`` with the moments that its days from now come to; beyond ten years it is ten years."""
    now = pd.Timestamp(as_of).tz_convert("UTC").tz_localize(None)
    columns = {}
    for name, bound in (("next_order_days", "next_order_at"), ("next_order_days_low", "next_order_low"),
                        ("next_order_days_high", "next_order_high")):  # fmt: skip
        days = predicted[name].clip(upper=FURTHEST_DAYS)
        columns[bound] = now + pd.to_timedelta((days * 86_400).round(), unit="s")
    kept = predicted.drop(columns=[name for name in predicted if name.startswith("next_order_days")])
    return kept.assign(**columns)


FURTHEST_DAYS = 3_650.0
SHOWN = (
    "count_orders",
    "money_total",
    "money_per_order",
    "days_since_last_order",
    "days_since_first_order",
    "gap_mean_days",
)
