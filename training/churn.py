"""Learns who leaves: read, build snapshots, split by time, fit, evaluate beside baselines, fit on all.

A snapshot is what was known of every eligible customer at one moment, with what came true in the horizon after it. Fitted
in one go, trees would be trusted where they only remember: the weights of the blend are learnt on later snapshots than the
ones its parts were fitted on.
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
from scipy.optimize import minimize

from features.build import FEATURES, customer_features
from features.customers.season import FEATURES as SEASON
from features.labels import churn_labels
from features.shop import shop_rhythm
from regulars.as_of import Tables
from regulars.errors import DataError, MissingData
from regulars.models.buy_till_you_die import BuyTillYouDie, fit_buy_till_you_die
from regulars.models.churn import (
    LINEAR,
    RHYTHM,
    Blend,
    ChurnModel,
    Linear,
    logit,
    probability,
    tree_logits,
    with_silence,
)
from training.baselines import RECENCY, RFM, fit_linear, fit_plain_trees
from training.metrics import CHURN_METRICS, metric_interval
from training.results import COLUMNS, Trained
from training.splits import before, snapshots

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

PARAMS: dict[str, Any] = {
    "members": 5,
    "trees": 200,
    "learning_rate": 0.03,
    "num_leaves": 12,
    "min_data_in_leaf": 60,
    "feature_fraction": 0.5,
    "lambda_l2": 5.0,
    "most_snapshots": 12,
    "folds": 3,
}
LEAST_OF_EACH_CLASS = 30
PULL_TO_EQUAL = 0.05
REPORTED = ("auc", "ece", "brier", "log_loss")
TREE_NAMES = (*(name for name in FEATURES if name not in SEASON), "probability_no_order")
TOO_SMALL = (
    f"Fewer than {LEAST_OF_EACH_CLASS} customers who left, or who stayed, are known from earlier moments: "
    "the answers are those of the buy-till-you-die model alone."
)


@dataclass(frozen=True)
class Snapshot:
    """Eligible customers at ``at``: features with ``probability_no_order`` of a model fitted then, and labels (0 or 1)."""

    at: datetime
    features: pd.DataFrame
    churned: Floats


@dataclass(frozen=True)
class Parts:
    """What a blend is made of."""

    boosters: tuple[lightgbm.Booster, ...]
    linear: Linear


def train_churn(
    tables: Tables,
    *,
    as_of: datetime,
    horizon_days: int | None = None,
    lookback_days: int | None = None,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
) -> Trained:
    """The model fitted on all snapshots before ``as_of``, and a table of what it and its baselines reached.

    Judged at the newest snapshot, by a model that learnt only from snapshots whose labels ended before it. Horizon and
    lookback default to what the shop's rhythm says.

    Raises:
        MissingData: where no customer had ordered before ``as_of``.
        DataError: where ``params`` names a setting that does not exist.
    """
    chosen = _settings(params)
    rhythm = shop_rhythm(tables, as_of=as_of)
    horizon = horizon_days or rhythm.default_horizon_days
    lookback = lookback_days or rhythm.default_lookback_days
    moments = _moments(as_of, history=rhythm.days_of_history, horizon=horizon, chosen=chosen)
    taken = [_snapshot(tables, at, as_of=as_of, horizon=horizon, lookback=lookback) for at in moments]
    taken = [snapshot for snapshot in taken if len(snapshot.churned)]
    log.info("churn: %s snapshots of %s days", len(taken), horizon)
    now = customer_features(tables, as_of=as_of).execute().sort_values("customer_id")
    now = now[now["days_since_last_order"] <= lookback]
    if now.empty:
        raise MissingData(
            f"no customer ordered in the {lookback} days before {as_of.isoformat()}; give a later --as-of"
        )
    table = _judge(taken, horizon=horizon, chosen=chosen, seed=seed)
    settings = {"horizon_days": horizon, "lookback_days": lookback, "seed": seed}
    settings |= {"params": dict(params)} if params else {}
    parts, blend = _fit_blend(taken, horizon=horizon, chosen=chosen, seed=seed)
    model = ChurnModel(
        boosters=parts.boosters if parts else (),
        tree_names=TREE_NAMES,
        buyers=_buyers(now),
        linear=parts.linear if parts else None,
        blend=blend,
        feature_names=FEATURES,
        horizon_days=horizon,
        lookback_days=lookback,
        as_of=as_of.isoformat(),
    )
    ours = table[table["model"] == "regulars"]
    metrics = {str(row.metric): float(row.value) for row in ours.itertuples()} | {"customers": float(len(now))}
    notes = [rhythm.explanation] if horizon_days is None else []
    return Trained(model, settings, metrics, table, notes=tuple(notes + ([] if parts else [TOO_SMALL])))


def _settings(params: Mapping[str, Any] | None) -> dict[str, Any]:
    unknown = sorted(set(params or {}) - set(PARAMS))
    if unknown:
        raise DataError(f"churn has no setting {', '.join(unknown)}; it has {', '.join(PARAMS)}")
    return PARAMS | dict(params or {})


def _snapshot(tables: Tables, at: datetime, *, as_of: datetime, horizon: int, lookback: int) -> Snapshot:
    rows = customer_features(tables, as_of=at).execute()
    labels = churn_labels(tables, as_of=at, horizon_days=horizon, lookback_days=lookback, label_as_of=as_of).execute()
    both = rows.merge(labels, on="customer_id").sort_values("customer_id", ignore_index=True)
    features = both[list(FEATURES)].astype(float)
    silent = with_silence(features, _buyers(both), horizon) if len(both) else features
    return Snapshot(at, silent, both["churned"].to_numpy(float))


def _buyers(rows: pd.DataFrame) -> BuyTillYouDie:
    days, span, age = (rows[name].to_numpy(float) for name in RHYTHM)
    return fit_buy_till_you_die(days - 1, span, age)


def _enough(taken: Sequence[Snapshot]) -> bool:
    left = sum(float(snapshot.churned.sum()) for snapshot in taken)
    return min(left, sum(len(snapshot.churned) for snapshot in taken) - left) >= LEAST_OF_EACH_CLASS


def _fit_parts(taken: Sequence[Snapshot], *, chosen: Mapping[str, Any], seed: int) -> Parts:
    features = pd.concat([snapshot.features for snapshot in taken], ignore_index=True)
    churned = np.concatenate([snapshot.churned for snapshot in taken])
    values = features[list(TREE_NAMES)].to_numpy(float)
    rng = np.random.default_rng(seed)
    settings = {name: chosen[name] for name in ("learning_rate", "num_leaves", "feature_fraction", "lambda_l2")}
    settings |= {
        "objective": "binary",
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    settings["min_data_in_leaf"] = max(5, min(int(chosen["min_data_in_leaf"]), len(churned) // 40))
    boosters = []
    for member in range(int(chosen["members"])):
        drawn = np.sort(rng.integers(len(churned), size=len(churned)))
        data = lightgbm.Dataset(values[drawn], churned[drawn], free_raw_data=False)
        boosters.append(lightgbm.train(settings | {"seed": seed + member}, data, num_boost_round=int(chosen["trees"])))
    return Parts(tuple(boosters), fit_linear(features, churned, LINEAR))


def _component_logits(parts: Parts, snapshot: Snapshot) -> Floats:
    """Shape (n_customers, 3): trees, buy-till-you-die, linear."""
    trees = tree_logits(parts.boosters, snapshot.features[list(TREE_NAMES)]).mean(axis=1)
    silent = logit(snapshot.features["probability_no_order"].to_numpy())
    return np.column_stack([trees, silent, parts.linear.logit(snapshot.features)])


def _fit_blend(
    taken: Sequence[Snapshot], *, horizon: int, chosen: Mapping[str, Any], seed: int
) -> tuple[Parts | None, Blend]:
    """Parts fitted on all snapshots, and their weights learnt on the newest ones by parts that had not seen them."""
    if not _enough(taken):
        return None, Blend((0.0, 1.0, 0.0), 0.0)
    folds = []
    for snapshot in taken:
        earlier = _earlier(taken, snapshot.at, horizon)
        if len(folds) < int(chosen["folds"]) and _enough(earlier):
            parts = _fit_parts(earlier, chosen=chosen, seed=seed)
            folds.append((_component_logits(parts, snapshot), snapshot.churned))
    return _fit_parts(taken, chosen=chosen, seed=seed), blend_weights(folds)


def blend_weights(folds: Sequence[tuple[Floats, Floats]]) -> Blend:
    """The blend of least log loss over ``folds`` of (logits (n, 3), labels (n,)), pulled towards equal weights.

    Weights are not negative. Each fold has an intercept of its own while the weights are learnt, since base rates move
    with the season; the answer's is their mean. Without folds: equal weights.

    >>> blend_weights([]).weights
    (0.3333333333333333, 0.3333333333333333, 0.3333333333333333)
    """
    equal = np.full(3, 1 / 3)
    if not folds:
        return Blend((1 / 3, 1 / 3, 1 / 3), 0.0)

    def loss(values: Floats) -> float:
        weights, intercepts = values[:3], values[3:]
        parts = [
            np.mean(np.logaddexp(0.0, (1 - 2 * churned) * (logits @ weights + intercept)))
            for (logits, churned), intercept in zip(folds, intercepts, strict=True)
        ]
        return float(np.mean(parts) + PULL_TO_EQUAL * np.sum((weights - equal) ** 2))

    start = np.concatenate([equal, np.zeros(len(folds))])
    bounds = [(0.0, 3.0)] * 3 + [(-3.0, 3.0)] * len(folds)
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds).x
    return Blend((float(found[0]), float(found[1]), float(found[2])), float(found[3:].mean()))


def _earlier(taken: Sequence[Snapshot], at: datetime, horizon: int) -> list[Snapshot]:
    allowed = set(before([snapshot.at for snapshot in taken], at, horizon_days=horizon))
    return [snapshot for snapshot in taken if snapshot.at in allowed]


def _judge(taken: Sequence[Snapshot], *, horizon: int, chosen: Mapping[str, Any], seed: int) -> pd.DataFrame:
    """The newest snapshot, judged by methods that learnt from earlier ones only; empty where there are too few."""
    if not taken:
        return pd.DataFrame(columns=list(COLUMNS))
    test = taken[0]
    earlier = _earlier(taken, test.at, horizon)
    if not _enough(earlier) or not 0 < test.churned.mean() < 1:
        return pd.DataFrame(columns=list(COLUMNS))
    split = (
        f"{len(test.churned):,} customers at {test.at:%Y-%m-%d}, no order in the next {horizon} days; "
        f"learnt on {len(earlier)} snapshots until {earlier[0].at:%Y-%m-%d}"
    )
    rows = []
    for name, chance in _predictions(earlier, test, horizon=horizon, chosen=chosen, seed=seed).items():
        for metric in REPORTED:
            value = CHURN_METRICS[metric](test.churned, chance)
            low, high = metric_interval(CHURN_METRICS[metric], test.churned, chance, seed=seed, draws=300)
            rows.append((name, metric, value, low, high, split))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def churn_baselines(
    tables: Tables, features: pd.DataFrame, *, as_of: datetime, horizon_days: int, lookback_days: int, seed: int
) -> dict[str, Floats]:
    """What the plain methods, having learnt from what was known before ``as_of``, say of ``features`` (n_customers rows).

    Empty where too little was known.
    """
    chosen = PARAMS
    history = shop_rhythm(tables, as_of=as_of).days_of_history
    moments = _moments(as_of, history=history, horizon=horizon_days, chosen=chosen)
    earlier = [_snapshot(tables, at, as_of=as_of, horizon=horizon_days, lookback=lookback_days) for at in moments]
    earlier = [snapshot for snapshot in earlier if len(snapshot.churned)]
    if not _enough(earlier):
        return {}
    known = features[list(FEATURES)].astype(float)
    return _plain(earlier, with_silence(known, _buyers(features), horizon_days), seed=seed)


def _moments(as_of: datetime, *, history: int, horizon: int, chosen: Mapping[str, Any]) -> list[datetime]:
    first = as_of - timedelta(days=history) + timedelta(days=max(horizon, 14))
    step = max(7, horizon // 2)
    return snapshots(first, as_of, horizon_days=horizon, step_days=step, most=int(chosen["most_snapshots"]))


def _predictions(
    earlier: Sequence[Snapshot], test: Snapshot, *, horizon: int, chosen: Mapping[str, Any], seed: int
) -> dict[str, Floats]:
    parts, blend = _fit_blend(earlier, horizon=horizon, chosen=chosen, seed=seed)
    found = _plain(earlier, test.features, seed=seed)
    if parts is not None:
        found["regulars"] = probability(_component_logits(parts, test) @ np.asarray(blend.weights) + blend.intercept)
    return found


def _plain(earlier: Sequence[Snapshot], given: pd.DataFrame, *, seed: int) -> dict[str, Floats]:
    """The baselines' probabilities for ``given``, features with ``probability_no_order``."""
    features = pd.concat([snapshot.features for snapshot in earlier], ignore_index=True)
    churned = np.concatenate([snapshot.churned for snapshot in earlier])
    plain = fit_plain_trees(features[list(FEATURES)], churned, seed=seed)
    return {
        "prevalence": np.full(len(given), churned.mean()),
        "recency": probability(fit_linear(features, churned, RECENCY).logit(given)),
        "RFM logistic regression": probability(fit_linear(features, churned, RFM).logit(given)),
        "BG/NBD": given["probability_no_order"].to_numpy(),
        "LightGBM": np.asarray(plain.predict(given[list(FEATURES)].to_numpy(float))),
    }
