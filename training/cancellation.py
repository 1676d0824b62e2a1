"""Learns which subscriptions are cancelled: read, build snapshots, split by time, fit, evaluate beside baselines, fit on all."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.labels import subscription_labels
from features.subscriptions import cancellation_features, read_running_subscriptions
from regulars.as_of import Tables, known_tables
from regulars.errors import DataError, MissingData
from regulars.models.cancellation import AGE, AGE_EDGES, AgeShares, CancellationModel, Pair
from regulars.models.churn import probability
from training.baselines import fit_linear
from training.churn_level import level_beside
from training.churn_parts import fit_linear_beside
from training.metrics import CHURN_METRICS, metric_interval
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
    "feature_fraction": 0.5,
    "lambda_l2": 20.0,
    "most_snapshots": 12,
    "folds": 3,
}
HORIZONS = (7, 14, 28)
LEAST_CANCELLED = 50
AGE_STRENGTH = 20.0  # subscriptions' worth of belief that every age is cancelled as often as all
LEVEL_STRENGTH = 25.0  # cancellations' worth of belief that the level is right as it is
RENEWAL = (AGE, "subscription_days_to_renewal")
LEADING = (*RENEWAL, "subscription_is_paused", "subscription_days_paused", "count_subscriptions_cancelled")
REPORTED = ("auc", "log_loss", "brier", "ece")
TOO_FEW = (
    f"Fewer than {LEAST_CANCELLED} subscriptions that were cancelled, or that stayed, are known from earlier moments: the "
    "answer is the share that was cancelled of subscriptions of that age."
)


@dataclass(frozen=True)
class Running:
    """Subscriptions that ran at ``at``: ids and features, and whether each was cancelled in the horizon after it (0 or 1)."""

    at: datetime
    rows: pd.DataFrame
    cancelled: Floats


def train_cancellation(
    tables: Tables,
    *,
    as_of: datetime,
    horizon_days: int | None = None,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
) -> Trained:
    """The model fitted on all snapshots before ``as_of``, and a table of what it and its baselines reached.

    Judged at the newest snapshot, by a model that learnt only from snapshots whose horizon ended before it. The horizon
    defaults to 28 days, or to 14 or 7 where that is more than a quarter of the history.

    Raises:
        MissingData: where the shop has no subscriptions, or none ran a whole horizon before ``as_of``.
        DataError: where ``params`` names a setting that does not exist.
    """
    chosen = _settings(params)
    now = read_running_subscriptions(tables, as_of=as_of)
    first = _first(tables, as_of)
    history = (as_of - first).days
    horizon = horizon_days or max((days for days in HORIZONS if days <= history / 4), default=HORIZONS[0])
    step, most = max(7, horizon // 2), int(chosen["most_snapshots"])
    moments = snapshots(first, as_of, horizon_days=horizon, step_days=step, most=most)
    found = [_running(tables, at, as_of=as_of, horizon=horizon) for at in moments]
    taken = [running for running in found if len(running.rows)]
    if not taken:
        raise MissingData(
            f"no subscription is known to have run {horizon} days before {as_of.isoformat()}; give a later --as-of or a "
            "shorter --horizon"
        )
    log.info("cancellation: %s snapshots of %s days", len(taken), horizon)
    names = cancellation_features(tables)
    table = _judge(taken, names, horizon=horizon, chosen=chosen, seed=seed)
    pair = fit_pair(taken, names, horizon=horizon, chosen=chosen, seed=seed)
    model = CancellationModel(
        pair=pair, by_age=age_shares(taken), feature_names=names, horizon_days=horizon, as_of=as_of.isoformat()
    )
    settings = {"horizon_days": horizon, "seed": seed} | ({"params": dict(params)} if params else {})
    ours = table[table["model"] == "regulars"]
    metrics = {str(row.metric): float(row.value) for row in ours.itertuples()} | {"subscriptions": float(len(now))}
    return Trained(model, settings, metrics, table, notes=() if pair else (TOO_FEW,))


def age_shares(taken: Sequence[Running]) -> AgeShares:
    """The share cancelled by age over all snapshots, each age drawn to the share of all ages."""
    ages = np.concatenate([running.rows[AGE].to_numpy(float) for running in taken])
    cancelled = np.concatenate([running.cancelled for running in taken])
    overall = (cancelled.sum() + 0.5) / (len(cancelled) + 1.0)
    place = np.searchsorted(AGE_EDGES, ages, side="right")
    count = np.bincount(place, minlength=len(AGE_EDGES) + 1)
    left = np.bincount(place, weights=cancelled, minlength=len(AGE_EDGES) + 1)
    return AgeShares(tuple(map(float, (left + AGE_STRENGTH * overall) / (count + AGE_STRENGTH))))


def fit_pair(
    taken: Sequence[Running], names: Sequence[str], *, horizon: int, chosen: Mapping[str, Any], seed: int
) -> Pair | None:
    """Trees and logistic regression on all of ``taken`` (newest first), their level set by newer snapshots than those they
    were fitted on; None where fewer than ``LEAST_CANCELLED`` subscriptions were cancelled, or stayed.
    """
    if not _enough(taken):
        return None
    pair = _fit(taken, names, chosen=chosen, seed=seed)
    said, came = [], []
    for running in taken:
        earlier = _earlier(taken, running.at, horizon)
        if len(said) < int(chosen["folds"]) and _enough(earlier):
            said.append(_fit(earlier, names, chosen=chosen, seed=seed).logit(_known(running, names)))
            came.append(running.cancelled)
    if not said:
        return pair
    cancelled = np.concatenate(came)
    trust = cancelled.sum() / (cancelled.sum() + LEVEL_STRENGTH)
    return replace(pair, level=float(trust * level_beside(cancelled, np.concatenate(said))))


def _fit(taken: Sequence[Running], names: Sequence[str], *, chosen: Mapping[str, Any], seed: int) -> Pair:
    features = pd.concat([_known(running, names) for running in taken], ignore_index=True)
    cancelled = np.concatenate([running.cancelled for running in taken])
    base = level_beside(cancelled, np.zeros(len(cancelled)))
    named = ("learning_rate", "extra_trees", "num_leaves", "feature_fraction", "lambda_l2")
    settings = {name: chosen[name] for name in named} | {"objective": "binary", "seed": seed, "verbose": -1}
    settings |= {"deterministic": True, "force_row_wise": True}
    settings["min_data_in_leaf"] = max(5, min(int(chosen["min_data_in_leaf"]), len(cancelled) // 40))
    begin = np.full(len(cancelled), base)
    data = lightgbm.Dataset(features.to_numpy(float), cancelled, init_score=begin, free_raw_data=False)
    trees = lightgbm.train(settings, data, num_boost_round=int(chosen["trees"]))
    beside = np.zeros(len(cancelled))
    linear = fit_linear_beside(features, cancelled, tuple(names), beside=beside, level=base, leading=LEADING)
    return Pair(trees.model_to_string(), base, linear)


def _judge(
    taken: Sequence[Running], names: Sequence[str], *, horizon: int, chosen: Mapping[str, Any], seed: int
) -> pd.DataFrame:
    """The newest snapshot, judged by methods that learnt from earlier ones only; empty where these saw only one outcome."""
    test = taken[0]
    earlier = _earlier(taken, test.at, horizon)
    if not all(0 < _share(running) < 1 for running in ([test], earlier)):
        return pd.DataFrame(columns=list(COLUMNS))
    pair = fit_pair(earlier, names, horizon=horizon, chosen=chosen, seed=seed)
    shares = age_shares(earlier).of(test.rows[AGE].to_numpy(float))
    seen = pd.concat([running.rows[list(RENEWAL)] for running in earlier], ignore_index=True)
    linear = fit_linear(seen, np.concatenate([running.cancelled for running in earlier]), RENEWAL)
    answers = {
        "prevalence": np.full(len(shares), _share(earlier)),
        "share by age": shares,
        "logistic regression on age and renewal": probability(linear.logit(test.rows)),
        "regulars": probability(pair.logit(_known(test, names))) if pair else shares,
    }
    split = (
        f"{len(shares):,} subscriptions at {test.at:%Y-%m-%d}, cancelled in the next {horizon} days; "
        f"learnt on {len(earlier)} snapshots until {earlier[0].at:%Y-%m-%d}; intervals over subscriptions"
    )
    split += "" if pair else "; regulars is the share by age, too few cancellations being known then"
    rows = []
    for name, chance in answers.items():
        for metric in REPORTED:
            value = CHURN_METRICS[metric](test.cancelled, chance)
            low, high = metric_interval(CHURN_METRICS[metric], test.cancelled, chance, seed=seed, draws=300)
            rows.append((name, metric, value, low, high, split))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _running(tables: Tables, at: datetime, *, as_of: datetime, horizon: int) -> Running:
    labels = subscription_labels(tables, as_of=at, horizon_days=horizon, label_as_of=as_of).execute()
    rows = read_running_subscriptions(tables, as_of=at)
    rows = rows.merge(labels[["subscription_id", "cancelled"]], on="subscription_id")
    rows = rows.sort_values("subscription_id", ignore_index=True)
    return Running(at, rows.drop(columns="cancelled"), rows["cancelled"].to_numpy(float))


def _known(running: Running, names: Sequence[str]) -> pd.DataFrame:
    return running.rows[list(names)].astype(float)


def _share(taken: Sequence[Running]) -> float:
    """The share cancelled; 0 of none."""
    return float(np.mean(np.concatenate([running.cancelled for running in taken]))) if taken else 0.0


def _earlier(taken: Sequence[Running], at: datetime, horizon: int) -> list[Running]:
    allowed = set(before([running.at for running in taken], at, horizon_days=horizon))
    return [running for running in taken if running.at in allowed]


def _enough(taken: Sequence[Running]) -> bool:
    """Whether so many different subscriptions were cancelled, and so many stayed, in snapshots that may overlap."""
    ended: set[str] = set()
    stayed: set[str] = set()
    for running in taken:
        ids = running.rows["subscription_id"].to_numpy()
        ended.update(ids[running.cancelled > 0])
        stayed.update(ids[running.cancelled == 0])
    return min(len(ended), len(stayed)) >= LEAST_CANCELLED


def _first(tables: Tables, as_of: datetime) -> datetime:
    """A day after the first known subscription began; ``as_of`` where there is none."""
    rows = known_tables({"subscriptions": tables["subscriptions"]}, as_of=as_of)["subscriptions"]
    found = rows.started_at.min().execute()
    if pd.isna(found):
        return as_of
    return pd.Timestamp(found).to_pydatetime().replace(tzinfo=UTC) + timedelta(days=1)


def _settings(params: Mapping[str, Any] | None) -> dict[str, Any]:
    unknown = sorted(set(params or {}) - set(PARAMS))
    if unknown:
        raise DataError(f"cancellation has no setting {', '.join(unknown)}; it has {', '.join(PARAMS)}")
    return PARAMS | dict(params or {})
