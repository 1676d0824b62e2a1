"""Learns who leaves: read, build snapshots, split by time, fit, evaluate beside baselines, fit on all.

Fitted in one go, trees would be trusted where they only remember: the weights of the blend are learnt on later snapshots
than the ones its parts were fitted on. Base rates move with the season: every snapshot carries the pace at which the shop
went, and the answer the pace that is predicted.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.build import read_customer_features
from features.labels import churn_labels
from features.order_days import order_days
from features.shop import shop_rhythm
from regulars.as_of import Tables
from regulars.errors import DataError
from regulars.models.buy_till_you_die import BuyTillYouDie, fit_buy_till_you_die
from regulars.models.churn import RHYTHM, ChurnModel, Season, Spread, probability, usual_silence, with_silence
from training.baselines import RECENCY, RFM, fit_linear, fit_plain_trees
from training.churn_level import anchored
from training.churn_parts import learn, logits_at
from training.churn_snapshots import (
    LEAST_OF_EACH_CLASS,
    Snapshot,
    earlier_than,
    enough,
    known_features,
    season_of,
    tree_names,
)
from training.eligible import eligible_at
from training.metrics import CHURN_METRICS, metric_interval
from training.pace import pace_before
from training.results import COLUMNS, Trained
from training.splits import snapshots

log = logging.getLogger(__name__)

Floats = NDArray[np.float64]

PARAMS: dict[str, Any] = {
    "members": 5,
    "trees": 300,
    "learning_rate": 0.03,
    "extra_trees": True,
    "num_leaves": 6,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.3,
    "lambda_l2": 20.0,
    "most_snapshots": 12,
    "folds": 3,
}
REPORTED = ("auc", "ece", "brier", "log_loss")
DRAWN_BUYERS = 20
USUAL_SEASON_ERROR = 0.2  # in logits, before any moment was seen
TOO_SMALL = (
    f"Fewer than {LEAST_OF_EACH_CLASS} customers who left, or who stayed, are known from earlier moments: "
    "the answers are those of the buy-till-you-die model alone."
)


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
    asked = eligible_at(tables, as_of=as_of, horizon_days=horizon_days, lookback_days=lookback_days)
    horizon, lookback, now = asked.horizon, asked.lookback, asked.now
    buyers, days = buyers_of(asked.everybody), order_days(tables, as_of=as_of)
    moments = _moments(as_of, history=asked.rhythm.days_of_history, horizon=horizon, chosen=chosen)
    taken = _snapshots(tables, moments, days, buyers, as_of=as_of, horizon=horizon, lookback=lookback)
    log.info("churn: %s snapshots of %s days", len(taken), horizon)
    table = _judge(taken, days, horizon=horizon, chosen=chosen, seed=seed)
    settings = {"horizon_days": horizon, "lookback_days": lookback, "seed": seed}
    settings |= {"params": dict(params)} if params else {}
    learnt = learn(taken, horizon=horizon, chosen=chosen, seed=seed)
    here = snapshot_of(
        as_of, now, np.zeros(len(now)), buyers, horizon=horizon, pace=pace_before(days, buyers).ahead(horizon)
    )
    blend, season = learnt.blend, here.season
    if learnt.parts is not None:
        blend = anchored(blend, logits_at(learnt.parts, here, horizon), here, horizon=horizon, level=learnt.level)
    model = ChurnModel(
        boosters=learnt.parts.boosters if learnt.parts else (),
        tree_level=learnt.parts.level if learnt.parts else 0.0,
        tree_names=tree_names(asked.names),
        buyers=buyers,
        drawn_buyers=() if learnt.parts else _drawn_buyers(asked.everybody, seed=seed),
        linear=learnt.parts.linear if learnt.parts else None,
        blend=blend,
        season=season,
        spread=Spread(learnt.spread, learnt.level.follows * _season_spread(taken, days, horizon=horizon)),
        usual_silence=usual_silence(now, buyers, season, horizon),
        feature_names=asked.names,
        horizon_days=horizon,
        lookback_days=lookback,
        as_of=as_of.isoformat(),
    )
    ours = table[table["model"] == "regulars"]
    metrics = {str(row.metric): float(row.value) for row in ours.itertuples()} | {"customers": float(len(now))}
    notes = [asked.rhythm.explanation] if horizon_days is None else []
    return Trained(model, settings, metrics, table, notes=tuple(notes + ([] if learnt.parts else [TOO_SMALL])))


def _settings(params: Mapping[str, Any] | None) -> dict[str, Any]:
    unknown = sorted(set(params or {}) - set(PARAMS))
    if unknown:
        raise DataError(f"churn has no setting {', '.join(unknown)}; it has {', '.join(PARAMS)}")
    return PARAMS | dict(params or {})


def _snapshots(
    tables: Tables,
    moments: Sequence[datetime],
    days: pd.DataFrame,
    steady: BuyTillYouDie,
    *,
    as_of: datetime,
    horizon: int,
    lookback: int,
) -> list[Snapshot]:
    """One per moment at which anybody was eligible, newest first; paces are counted against the shop ``steady``."""
    pace = pace_before(days, steady)
    found = []
    for at in moments:
        rows = read_customer_features(tables, as_of=at)
        labels = churn_labels(
            tables, as_of=at, horizon_days=horizon, lookback_days=lookback, label_as_of=as_of
        ).execute()
        both = rows.merge(labels, on="customer_id").sort_values("customer_id", ignore_index=True)
        if len(both):
            was = pace.during((as_of - at).days, horizon)
            labels = both["churned"].to_numpy(float)
            found.append(snapshot_of(at, both, labels, buyers_of(rows), horizon=horizon, pace=was))
    return found


def snapshot_of(
    at: datetime, rows: pd.DataFrame, churned: Floats, buyers: BuyTillYouDie, *, horizon: int, pace: float
) -> Snapshot:
    """The snapshot of the features in ``rows`` with the labels ``churned``."""
    features = with_silence(known_features(rows), buyers, horizon)
    return Snapshot(at, features, churned, buyers, season_of(features, buyers, horizon=horizon, pace=pace))


def buyers_of(rows: pd.DataFrame) -> BuyTillYouDie:
    """The buy-till-you-die model of all customers in ``rows``: without those who lapsed long ago nobody would ever leave."""
    days, span, age = (rows[name].to_numpy(float) for name in RHYTHM)
    return fit_buy_till_you_die(days - 1, span, age)


def _drawn_buyers(rows: pd.DataFrame, *, seed: int) -> tuple[BuyTillYouDie, ...]:
    """Fits to customers drawn with replacement: how little a small shop says."""
    rng = np.random.default_rng(seed)
    return tuple(buyers_of(rows.iloc[rng.integers(len(rows), size=len(rows))]) for _ in range(DRAWN_BUYERS))


def _season_spread(taken: Sequence[Snapshot], days: pd.DataFrame, *, horizon: int) -> float:
    """How far, in logits, the season was predicted wrong at earlier moments: one standard deviation.

    As if one moment more had been wrong by ``USUAL_SEASON_ERROR``.
    """
    squares = [USUAL_SEASON_ERROR**2]
    for snapshot in taken:
        guessed = _season_ahead(snapshot, taken, days, horizon=horizon)
        squares.append((guessed.shift - snapshot.season.shift) ** 2)
    return float(np.sqrt(np.mean(squares)))


def _season_ahead(snapshot: Snapshot, taken: Sequence[Snapshot], days: pd.DataFrame, *, horizon: int) -> Season:
    """The season that was predicted for a snapshot from what was known at its moment."""
    ago = (taken[0].at - snapshot.at).days + horizon
    pace = pace_before(days, snapshot.buyers, days_ago=ago).ahead(horizon)
    return season_of(snapshot.features, snapshot.buyers, horizon=horizon, pace=pace)


def _judge(
    taken: Sequence[Snapshot], days: pd.DataFrame, *, horizon: int, chosen: Mapping[str, Any], seed: int
) -> pd.DataFrame:
    """The newest snapshot, judged by methods that learnt from earlier ones only; empty where there are too few."""
    if not taken:
        return pd.DataFrame(columns=list(COLUMNS))
    test = taken[0]
    earlier = earlier_than(taken, test.at, horizon)
    if not enough(earlier) or not 0 < test.churned.mean() < 1:
        return pd.DataFrame(columns=list(COLUMNS))
    split = (
        f"{len(test.churned):,} customers at {test.at:%Y-%m-%d}, no order in the next {horizon} days; "
        f"learnt on {len(earlier)} snapshots until {earlier[0].at:%Y-%m-%d}"
    )
    rows = []
    test = replace(test, season=_season_ahead(test, taken, days, horizon=horizon))
    for name, chance in _predictions(earlier, test, horizon=horizon, chosen=chosen, seed=seed).items():
        for metric in REPORTED:
            value = CHURN_METRICS[metric](test.churned, chance)
            low, high = metric_interval(CHURN_METRICS[metric], test.churned, chance, seed=seed, draws=300)
            rows.append((name, metric, value, low, high, split))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def churn_baselines(
    tables: Tables,
    features: pd.DataFrame,
    *,
    everybody: pd.DataFrame,
    as_of: datetime,
    horizon_days: int,
    lookback_days: int,
    seed: int,
) -> dict[str, Floats]:
    """What the plain methods, having learnt from what was known before ``as_of``, say of ``features`` (n_customers rows).

    ``everybody``: the features of all customers then, eligible or not.
    Empty where too little was known.
    """
    history = shop_rhythm(tables, as_of=as_of).days_of_history
    moments = _moments(as_of, history=history, horizon=horizon_days, chosen=PARAMS)
    buyers, days = buyers_of(everybody), order_days(tables, as_of=as_of)
    earlier = _snapshots(tables, moments, days, buyers, as_of=as_of, horizon=horizon_days, lookback=lookback_days)
    if not enough(earlier):
        return {}
    return _plain(earlier, with_silence(known_features(features), buyers, horizon_days), seed=seed)


def _moments(as_of: datetime, *, history: int, horizon: int, chosen: Mapping[str, Any]) -> list[datetime]:
    first = as_of - timedelta(days=history) + timedelta(days=max(horizon, 14))
    step = max(7, horizon // 2)
    return snapshots(first, as_of, horizon_days=horizon, step_days=step, most=int(chosen["most_snapshots"]))


def _predictions(
    earlier: Sequence[Snapshot], test: Snapshot, *, horizon: int, chosen: Mapping[str, Any], seed: int
) -> dict[str, Floats]:
    learnt = learn(earlier, horizon=horizon, chosen=chosen, seed=seed)
    found = _plain(earlier, test.features, seed=seed)
    if learnt.parts is not None:
        logits = logits_at(learnt.parts, test, horizon)
        blend = anchored(learnt.blend, logits, test, horizon=horizon, level=learnt.level)
        found["regulars"] = probability(logits @ np.asarray(blend.weights) + blend.intercept)
    return found


def _plain(earlier: Sequence[Snapshot], given: pd.DataFrame, *, seed: int) -> dict[str, Floats]:
    """The baselines' probabilities for ``given``, features with ``probability_no_order``.

    BG/NBD is the shop's own, the modified one where that is decidedly likelier.
    """
    features = pd.concat([snapshot.features for snapshot in earlier], ignore_index=True)
    churned = np.concatenate([snapshot.churned for snapshot in earlier])
    names = [name for name in features.columns if name != "probability_no_order"]
    plain = fit_plain_trees(features[names], churned, seed=seed)
    return {
        "prevalence": np.full(len(given), churned.mean()),
        "recency": probability(fit_linear(features, churned, RECENCY).logit(given)),
        "RFM logistic regression": probability(fit_linear(features, churned, RFM).logit(given)),
        "BG/NBD": given["probability_no_order"].to_numpy(),
        "LightGBM": np.asarray(plain.predict(given[names].to_numpy(float))),
    }
