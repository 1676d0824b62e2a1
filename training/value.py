"""Learns what customers will be worth: read, build snapshots, split by time, fit, evaluate beside baselines, fit on all.

Probability models know each customer's future of any length, but nothing else than how often, how lately and for how much they
ordered. Trees learn, on shorter stretches of the past than the horizon where history is short, by what factor they are off.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.build import read_customer_features
from features.customers.season import FEATURES as SEASON
from features.labels import value_labels
from features.order_days import order_days
from regulars.as_of import Tables
from regulars.errors import DataError
from regulars.models.buy_till_you_die import fit_buy_till_you_die
from regulars.models.churn import RHYTHM
from regulars.models.gamma_gamma import fit_gamma_gamma
from regulars.models.value import SPEND_TRUST, YEAR, Steady, ValueModel, factor, levels_of
from training.churn_snapshots import known_features
from training.eligible import eligible_at
from training.metrics import VALUE_METRICS, metric_interval
from training.pace import YEAR_WEEKS, Pace, pace_before
from training.results import COLUMNS, Trained
from training.splits import before, snapshots

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

PARAMS: dict[str, Any] = {
    "trees": 150,
    "learning_rate": 0.03,
    "extra_trees": True,
    "num_leaves": 6,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.3,
    "lambda_l2": 20.0,
    "most_snapshots": 6,
}
LEAST_CUSTOMERS = 200
SHORTEST_STRETCH = 14
SEASON_DAYS = 90
TOO_SMALL = (
    f"Fewer than {LEAST_CUSTOMERS} customers who ordered again are known from earlier moments: the values are those of the "
    "buy-till-you-die and Gamma-Gamma models alone."
)


@dataclass(frozen=True)
class Stretch:
    """Eligible customers at ``at``: features, and the order days and money of the ``days`` after it, that went at ``pace``."""

    at: datetime
    days: int
    features: pd.DataFrame
    order_days: Floats
    money: Floats
    steady: Steady
    pace: float


def train_value(
    tables: Tables,
    *,
    as_of: datetime,
    horizon_days: int | None = None,
    lookback_days: int | None = None,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
) -> Trained:
    """The model fitted on all that was known before ``as_of``, and a table of what it and its baselines reached.

    Judged on the newest stretch of the past, by a model that learnt only from stretches that had ended before it.

    Raises:
        MissingData: where no customer had ordered before ``as_of``.
        DataError: where ``params`` names a setting that does not exist.
    """
    chosen = _settings(params)
    asked = eligible_at(tables, as_of=as_of, horizon_days=horizon_days, lookback_days=lookback_days)
    horizon, lookback, now, history = asked.horizon, asked.lookback, asked.now, asked.rhythm.days_of_history
    steady = steady_of(asked.everybody)
    pace = pace_before(order_days(tables, as_of=as_of), steady.buyers)
    length = min(horizon, max(SHORTEST_STRETCH, history // 3))
    first = as_of - timedelta(days=history - max(length, SHORTEST_STRETCH))
    moments = snapshots(
        first, as_of, horizon_days=length, step_days=max(7, length // 2), most=int(chosen["most_snapshots"])
    )
    taken = []
    for at in moments:
        rows = read_customer_features(tables, as_of=at)
        labels = value_labels(
            tables, as_of=at, horizon_days=length, lookback_days=lookback, label_as_of=as_of
        ).execute()
        both = rows.merge(labels, on="customer_id").sort_values("customer_id", ignore_index=True)
        if len(both):
            went = pace.during((as_of - at).days, length)
            taken.append(stretch_of(at, both, steady_of(rows), days=length, pace=went))
    log.info("value: %s stretches of %s days", len(taken), length)
    order_trees, spend_trees = fit_factors(taken, chosen=chosen, seed=seed)
    model = ValueModel(
        steady=steady,
        order_trees=order_trees,
        spend_trees=spend_trees,
        levels=levels_of(steady, order_trees, spend_trees, known_features(now), horizon),
        pace=pace_of(pace, horizon),
        pace_year=pace_of(pace, YEAR),
        feature_names=asked.names,
        horizon_days=horizon,
        lookback_days=lookback,
        as_of=as_of.isoformat(),
    )
    table = _judge(taken, chosen=chosen, seed=seed)
    settings = {"horizon_days": horizon, "lookback_days": lookback, "seed": seed}
    settings |= {"params": dict(params)} if params else {}
    ours = table[table["model"] == "regulars"]
    metrics = {str(row.metric): float(row.value) for row in ours.itertuples()} | {"customers": float(len(now))}
    notes = [] if order_trees is not None else [TOO_SMALL]
    return Trained(model, settings, metrics, table, notes=tuple(notes))


def pace_of(pace: Pace, days: int) -> float:
    """The pace predicted for ``days``: 1 for more than a season where no year is known, since what is special now fades."""
    return 1.0 if days > SEASON_DAYS and len(pace.came) <= YEAR_WEEKS else pace.ahead(days)


def steady_of(rows: pd.DataFrame) -> Steady:
    """The probability models of all customers in ``rows``: features, one row per customer."""
    count, span, age = (rows[name].to_numpy(float) for name in RHYTHM)
    spent = rows["money_total"].to_numpy(float) / np.maximum(count, 1.0)
    orders = float(rows["count_orders"].sum())
    return Steady(
        fit_buy_till_you_die(count - 1, span, age),
        fit_gamma_gamma(count, spent),
        orders / max(float(count.sum()), 1.0),
    )


def stretch_of(at: datetime, rows: pd.DataFrame, steady: Steady, *, days: int, pace: float) -> Stretch:
    """The stretch of the features and the labels of ``value_labels`` in ``rows``."""
    known = known_features(rows)
    came, money = rows["order_days"].to_numpy(float), rows["money"].to_numpy(float)
    return Stretch(at, days, known, came, money, steady, pace)


def fit_factors(
    taken: Sequence[Stretch], *, chosen: Mapping[str, Any], seed: int
) -> tuple[lightgbm.Booster | None, lightgbm.Booster | None]:
    """Trees for how often and for how much, each beginning from the probability models; None where too little was seen."""
    if not taken:
        return None, None
    known = pd.concat([stretch.features for stretch in taken], ignore_index=True)
    known = known.drop(columns=list(SEASON))
    came = np.concatenate([stretch.order_days for stretch in taken])
    money = np.concatenate([stretch.money for stretch in taken])
    if (came > 0).sum() < LEAST_CUSTOMERS:
        return None, None
    often = np.concatenate(
        [stretch.steady.order_days(stretch.features, stretch.days * stretch.pace) for stretch in taken]
    )
    much = np.concatenate([stretch.steady.spend(stretch.features) for stretch in taken])
    order_trees = _trees("poisson", known, came, np.log(often), None, chosen=chosen, seed=seed)
    paid = (came > 0) & (money > 0)
    if paid.sum() < LEAST_CUSTOMERS:
        return order_trees, None
    each = money[paid] / came[paid]
    begin = np.log(np.maximum(much[paid], 1e-6))
    return order_trees, _trees("gamma", known[paid], each, begin, came[paid], chosen=chosen, seed=seed)


def _trees(
    objective: str,
    known: pd.DataFrame,
    target: Floats,
    begin: Floats,
    weight: Floats | None,
    *,
    chosen: Mapping[str, Any],
    seed: int,
) -> lightgbm.Booster:
    named = ("learning_rate", "extra_trees", "num_leaves", "feature_fraction", "lambda_l2")
    settings = {name: chosen[name] for name in named} | {"objective": objective, "seed": seed, "verbose": -1}
    settings |= {"deterministic": True, "force_row_wise": True, "boost_from_average": False}
    settings["min_data_in_leaf"] = max(5, min(int(chosen["min_data_in_leaf"]), len(target) // 40))
    data = lightgbm.Dataset(
        known.to_numpy(float), target, init_score=begin, weight=weight, feature_name=list(known), free_raw_data=False
    )
    return lightgbm.train(settings, data, num_boost_round=int(chosen["trees"]))


def _judge(taken: Sequence[Stretch], *, chosen: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """The newest stretch, judged by what was learnt from those that had ended before it; empty where there is none."""
    if not taken:
        return pd.DataFrame(columns=list(COLUMNS))
    test = taken[0]
    allowed = set(before([stretch.at for stretch in taken], test.at, horizon_days=test.days))
    earlier = [stretch for stretch in taken if stretch.at in allowed]
    order_trees, spend_trees = fit_factors(earlier, chosen=chosen, seed=seed)
    levels = levels_of(test.steady, order_trees, spend_trees, test.features, test.days)
    often = factor(order_trees, test.features) / levels[0]
    much = factor(spend_trees, test.features) ** SPEND_TRUST / levels[1]
    said = test.steady.order_days(test.features, test.days)
    spend = test.steady.spend(test.features)
    age = np.maximum(test.features["age_days"].to_numpy(float), test.days)
    past = test.features["count_order_days"].to_numpy(float) / age * test.days
    spent = test.features["money_total"].to_numpy(float) / age * test.days
    answers = {
        "as in the past": (past, spent),
        "BG/NBD and Gamma-Gamma": (said, said * spend),
        "regulars": (said * often, said * often * spend * much),
    }
    split = (
        f"{len(test.money):,} customers at {test.at:%Y-%m-%d}, order days and money of the next {test.days} days; "
        f"learnt on {len(earlier)} stretches before"
    )
    rows = []
    for name, (days, money) in answers.items():
        for thing, truth, guess in (("orders", test.order_days, days), ("value", test.money, money)):
            for metric, measure in VALUE_METRICS.items():
                low, high = metric_interval(measure, truth, guess, seed=seed, draws=200)
                rows.append((name, f"{metric}_{thing}", measure(truth, guess), low, high, split))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _settings(params: Mapping[str, Any] | None) -> dict[str, Any]:
    unknown = sorted(set(params or {}) - set(PARAMS))
    if unknown:
        raise DataError(f"value has no setting {', '.join(unknown)}; it has {', '.join(PARAMS)}")
    return PARAMS | dict(params or {})
