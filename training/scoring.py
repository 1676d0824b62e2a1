"""Batch answers: the same models as the service's, over every customer of the lake."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from features.assignments import customers_at
from features.build import read_customer_features
from features.standing import customer_standing, stage_with_risk
from regulars.as_of import Tables, known_tables
from regulars.errors import ModelMissing
from regulars.models.churn import ChurnModel
from regulars.models.offers import OfferModel
from regulars.models.value import ValueModel
from regulars.settings import Settings
from training.tracking import Tracking, Version

EXPLORE_SHARE = 0.1


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


def load_offers(tracking: Tracking, version: Version) -> OfferModel:
    """The offer model of a registered version."""
    with tempfile.TemporaryDirectory() as scratch:
        return OfferModel.load(tracking.fetch(version, Path(scratch)))


def score_customers(
    tables: Tables, model: ChurnModel, *, as_of: datetime, settings: Settings, value: ValueModel | None = None
) -> pd.DataFrame:
    """One row per customer with an order in [as_of - lookback, as_of), sorted by customer_id.

    Columns: customer_id, churn_probability, churn_low, churn_high (0-1), risk (low, medium, high), reasons (JSON), method
    (blend, or buy_till_you_die where the shop is too small for it), with a value model what it predicts, next_order_at
    (UTC) with its bounds and value_at_risk (churn_probability x predicted_value), who they are (see
    ``features.standing``), support_priority, and the features that a profile shows. ``support_priority`` is the place (0-1, 1
    first) in a queue by value at risk; without a value model by churn_probability x the last year's money.
    """
    features = read_customer_features(tables, as_of=as_of)
    eligible = features[features["days_since_last_order"] <= model.lookback_days]
    eligible = eligible.sort_values("customer_id").set_index("customer_id")
    predicted = model.predict(eligible)
    reasons = [json.dumps([asdict(reason) for reason in found]) for found in model.reasons(eligible)]
    levels = [settings.risk_medium, settings.risk_high]
    risk = np.array(["low", "medium", "high"])[np.digitize(predicted["churn_probability"], levels)]
    scored = predicted.assign(risk=risk, reasons=reasons, method=model.method)
    if value is not None:
        scored = scored.join(_worth(value.predict(eligible), as_of=as_of))
        scored["value_at_risk"] = scored["churn_probability"] * scored["predicted_value"]
    standing = customer_standing(
        tables,
        features,
        as_of=as_of,
        lookback_days=model.lookback_days,
        loyal_orders=settings.loyal_orders,
        tiers=settings.tiers,
    ).loc[eligible.index]
    standing["stage"] = [stage_with_risk(*pair) for pair in zip(standing["stage"], scored["risk"], strict=True)]
    at_stake = scored["churn_probability"] * eligible["money_365d"] if value is None else scored["value_at_risk"]
    scored = scored.join(standing).assign(support_priority=at_stake.rank(pct=True))
    return scored.reset_index().merge(eligible[list(SHOWN)].reset_index(), on="customer_id")


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


def offers_running(tables: Tables, *, as_of: datetime) -> list[str]:
    """The ids of offers that may be made at ``as_of`` (starts_at <= as_of < ends_at), in order."""
    if "offers" not in tables:
        return []
    offers = known_tables({"offers": tables["offers"]}, as_of=as_of)["offers"].execute().sort_values("offer_id")
    at = pd.Timestamp(as_of).tz_convert("UTC").tz_localize(None)
    begun = offers["starts_at"].isna() | (offers["starts_at"] <= at)
    over = offers["ends_at"].notna() & (offers["ends_at"] <= at)
    return list(offers.loc[begun & ~over, "offer_id"])


def offer_values(
    tables: Tables, model: OfferModel, *, as_of: datetime, customers: Sequence[str] | None = None
) -> pd.DataFrame:
    """Expected uplift and value of every running offer: one row per customer (default: all known) and offer."""
    about = customers_at(tables, as_of=as_of)
    if customers is not None:
        about = about.reindex(pd.Index(customers, name="customer_id"))
    return model.decide(about, offers=offers_running(tables, as_of=as_of))


def decide_customers(
    tables: Tables,
    model: OfferModel,
    *,
    as_of: datetime,
    customers: Sequence[str],
    explore: bool,
    seed: int = 0,
) -> pd.DataFrame:
    """One row per customer: customer_id, offer_id (empty for none), expected_uplift, expected_value, propensity.

    The best running offer whose expected value is above zero, else none. With ``explore``, one decision in ten is drawn
    evenly from all running offers and none; ``propensity`` is the probability with which the decision was made.
    """
    values = offer_values(tables, model, as_of=as_of, customers=customers)
    none = pd.DataFrame({"customer_id": list(customers), "offer_id": "", "expected_uplift": 0.0, "expected_value": 0.0})
    options = pd.concat([none, values], ignore_index=True)
    ranked = options.sort_values(["customer_id", "expected_value", "offer_id"], ascending=[True, False, True])
    best = ranked.drop_duplicates("customer_id").set_index("customer_id").loc[list(customers)]
    if not explore:
        return best.assign(propensity=1.0).reset_index()
    return _explored(options, best, seed=seed)


def _explored(options: pd.DataFrame, best: pd.DataFrame, *, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    choices = sorted(options["offer_id"].unique())
    drawn = np.array(choices)[rng.integers(len(choices), size=len(best))]
    exploring = rng.random(len(best)) < EXPLORE_SHARE
    made = np.where(exploring, drawn, best["offer_id"])
    share = EXPLORE_SHARE / len(choices)
    propensity = np.where(made == best["offer_id"], 1 - EXPLORE_SHARE + share, share)
    keyed = options.set_index(["customer_id", "offer_id"])
    found = keyed.loc[list(zip(best.index, made, strict=True))].reset_index()
    return found.assign(propensity=propensity)
