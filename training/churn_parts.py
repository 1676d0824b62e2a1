"""What a churn model is made of: its parts, fitted on snapshots, and the weights and spreads learnt where they had not looked.

A snapshot is what was known of every eligible customer at one moment, with what came true in the horizon after it, and at
what pace the shop then went. Trees and the linear model learn beside the pace, so that they do not take the season of their
moments for something about customers.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from features.customers.season import FEATURES as SEASON
from regulars.models.buy_till_you_die import BuyTillYouDie
from regulars.models.churn import (
    LINEAR,
    Blend,
    Linear,
    Season,
    component_logits,
    logit,
    probability,
    season_shift,
    silence,
)
from training.metrics import BINS
from training.splits import before

Floats = NDArray[np.float64]

LEAST_OF_EACH_CLASS = 30
USUAL_WEIGHTS = (0.6, 0.2, 0.2)
PULL_TO_USUAL = 0.05
USUAL_SEASON_ERROR = 0.2  # in logits, before any moment was seen
NO_FEATURES = ("customer_id", "churned", "order_days", "orders", "money")
SPREAD_BEFORE = 0.1  # what is believed of the spread of a fit, in logits, before any fold was seen
RIDGE = 1.0


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


@dataclass(frozen=True)
class Parts:
    """What a blend is made of; ``level`` is the logit that the trees begin with."""

    boosters: tuple[lightgbm.Booster, ...]
    level: float
    linear: Linear


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


def fit_parts(taken: Sequence[Snapshot], *, chosen: Mapping[str, Any], seed: int) -> Parts:
    """Bagged trees and a linear model on all snapshots, each beside the season's shift."""
    features = pd.concat([snapshot.features for snapshot in taken], ignore_index=True)
    churned = np.concatenate([snapshot.churned for snapshot in taken])
    shift = np.concatenate([np.full(len(snapshot.churned), snapshot.season.shift) for snapshot in taken])
    values = features[list(tree_names(features.columns))].to_numpy(float)
    rng = np.random.default_rng(seed)
    named = ("learning_rate", "extra_trees", "num_leaves", "feature_fraction", "lambda_l2")
    settings = {name: chosen[name] for name in named}
    settings |= {"objective": "binary", "deterministic": True, "force_row_wise": True, "verbose": -1}
    settings["min_data_in_leaf"] = max(5, min(int(chosen["min_data_in_leaf"]), len(churned) // 40))
    base = _level(churned, shift)
    boosters = []
    for member in range(int(chosen["members"])):
        drawn = np.sort(rng.integers(len(churned), size=len(churned)))
        data = lightgbm.Dataset(values[drawn], churned[drawn], init_score=base + shift[drawn], free_raw_data=False)
        boosters.append(lightgbm.train(settings | {"seed": seed + member}, data, num_boost_round=int(chosen["trees"])))
    return Parts(tuple(boosters), base, fit_linear_beside(features, churned, LINEAR, beside=shift, level=base))


def fit_linear_beside(
    features: pd.DataFrame, churned: Floats, names: tuple[str, ...], *, beside: Floats, level: float = 0.0
) -> Linear:
    """A logistic regression as ``baselines.fit_linear`` fits it, with ``beside`` (n_customers,) added to every logit.

    Newton's method from a flat start; the weights are drawn to 0 as one observation each would.

    >>> table = pd.DataFrame({"days_since_last_order": [1.0, 2.0, 30.0, 40.0]})
    >>> left = np.array([0.0, 0.0, 1.0, 1.0])
    >>> model = fit_linear_beside(table, left, ("days_since_last_order",), beside=np.zeros(4))
    >>> (model.logit(table) > 0).tolist()
    [False, False, True, True]
    """
    fills = tuple(float(features[name].max()) if features[name].notna().any() else 0.0 for name in names)
    bare = Linear(names, fills, (0.0,) * len(names), (1.0,) * len(names), (0.0,) * len(names), 0.0)
    flat = bare.design(features)
    means, scales = flat.mean(axis=0), np.where(flat.std(axis=0) > 0, flat.std(axis=0), 1.0)
    design = np.column_stack([np.ones(len(flat)), (flat - means) / scales])
    penalty = np.diag([1e-6, *[RIDGE] * len(names)])
    weights = np.zeros(design.shape[1])
    weights[0] = level
    for _ in range(30):
        chance = probability(design @ weights + beside)
        slope = design.T @ (churned - chance) - penalty @ weights
        bend = (design * (chance * (1 - chance))[:, None]).T @ design + penalty
        step = np.linalg.solve(bend, slope)
        weights = weights + np.clip(step, -2.0, 2.0)
        if np.abs(step).max() < 1e-8:
            break
    return Linear(
        names,
        fills,
        tuple(map(float, means)),
        tuple(map(float, scales)),
        tuple(map(float, weights[1:])),
        float(weights[0]),
    )


@dataclass(frozen=True)
class Learnt:
    """``parts`` (None for a shop too small for them) and how they are blended.

    In logits: ``spread`` of what customers of one answer really do, and by how much the probability model is ``off``.
    """

    parts: Parts | None
    blend: Blend
    spread: float
    off: float


def learn(taken: Sequence[Snapshot], *, horizon: int, chosen: Mapping[str, Any], seed: int) -> Learnt:
    """Parts fitted on all snapshots, and their weights learnt on the newest ones by parts that had not seen them."""
    if not enough(taken):
        return Learnt(None, Blend((0.0, 1.0, 0.0), 0.0), SPREAD_BEFORE, 0.0)
    folds = []
    for snapshot in taken:
        earlier = earlier_than(taken, snapshot.at, horizon)
        if len(folds) < int(chosen["folds"]) and enough(earlier):
            parts = fit_parts(earlier, chosen=chosen, seed=seed)
            folds.append((logits_at(parts, snapshot, horizon), snapshot.churned))
    blend = blend_weights(folds)
    off = lasting_error(taken, horizon=horizon)
    return Learnt(fit_parts(taken, chosen=chosen, seed=seed), blend, spread_of(folds, blend), off)


def logits_at(parts: Parts, snapshot: Snapshot, horizon: int) -> Floats:
    """Shape (n_customers, 3): trees, buy-till-you-die, linear."""
    members, others = component_logits(
        snapshot.features,
        boosters=parts.boosters,
        tree_level=parts.level,
        tree_names=tree_names(snapshot.features.columns),
        buyers=snapshot.buyers,
        linear=parts.linear,
        season=snapshot.season,
        horizon_days=horizon,
    )
    return np.column_stack([members.mean(axis=1), others])


def blend_weights(folds: Sequence[tuple[Floats, Floats]]) -> Blend:
    """The blend of least log loss over ``folds``, newest first, of (logits (n, 3), labels (n,)), pulled towards ``USUAL_WEIGHTS``.

    Weights are not negative. Each fold has an intercept of its own while the weights are learnt, since no prediction of the
    season is exact; the answer's is set by ``anchored``. Without folds: the usual weights.

    >>> blend_weights([]).weights
    (0.6, 0.2, 0.2)
    """
    usual = np.array(USUAL_WEIGHTS)
    if not folds:
        return Blend(USUAL_WEIGHTS, 0.0)

    def loss(values: Floats) -> float:
        weights, intercepts = values[:3], values[3:]
        parts = [
            np.mean(np.logaddexp(0.0, (1 - 2 * churned) * (logits @ weights + intercept)))
            for (logits, churned), intercept in zip(folds, intercepts, strict=True)
        ]
        return float(np.mean(parts) + PULL_TO_USUAL * np.sum((weights - usual) ** 2))

    start = np.concatenate([usual, np.zeros(len(folds))])
    bounds = [(0.0, 3.0)] * 3 + [(-3.0, 3.0)] * len(folds)
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds).x
    return Blend((float(found[0]), float(found[1]), float(found[2])), 0.0)


def anchored(
    blend: Blend,
    logits: Floats,
    features: pd.DataFrame,
    *,
    buyers: BuyTillYouDie,
    season: Season,
    horizon: int,
    off: float,
) -> Blend:
    """``blend`` with the intercept at which as many leave of the customers in ``features`` as their probability model says.

    What learnt from customers says who; how many in all is left to the buy-till-you-die model at the season's pace, moved by
    what that was ``off`` before: trees take a busy month for loyal customers.
    """
    said = logits @ np.asarray(blend.weights)
    stretched = float(silence(features, buyers, horizon * season.pace).mean())
    share = float(probability(float(logit(np.array([stretched]))[0]) + off))
    return Blend(blend.weights, _level(np.full(len(said), share), said))


def anchored_at(learnt: Learnt, logits: Floats, snapshot: Snapshot, *, horizon: int) -> Blend:
    """The blend of ``learnt``, anchored to the customers of ``snapshot``, of whom its parts say ``logits``."""
    return anchored(
        learnt.blend,
        logits,
        snapshot.features,
        buyers=snapshot.buyers,
        season=snapshot.season,
        horizon=horizon,
        off=learnt.off,
    )


def lasting_error(taken: Sequence[Snapshot], *, horizon: int) -> float:
    """What the buy-till-you-die model at the pace that was is off for good, in logits of the share that leaves.

    The mean over snapshots, as far as it stands out against how they differ and how far a season is usually off.

    >>> lasting_error([], horizon=28)
    0.0
    """
    if not taken:
        return 0.0
    off = []
    for snapshot in taken:
        said = float(silence(snapshot.features, snapshot.buyers, horizon * snapshot.season.pace).mean()) * len(
            snapshot.churned
        )
        off.append(_odds(float(snapshot.churned.sum()), len(snapshot.churned)) - _odds(said, len(snapshot.churned)))
    mean = float(np.mean(off))
    return mean * mean**2 / (mean**2 + USUAL_SEASON_ERROR**2 + float(np.var(off)))


def spread_of(folds: Sequence[tuple[Floats, Floats]], blend: Blend) -> float:
    """How far, in logits, the shares that left lie from what the blend said of them, beyond what chance alone does.

    One standard deviation over ten equal-count bins of each fold, after each fold's own level.

    >>> spread_of([], Blend((0.0, 1.0, 0.0), 0.0))
    0.1
    """
    squares, weight = SPREAD_BEFORE**2, 1.0
    for logits, churned in folds:
        said = logits @ np.asarray(blend.weights)
        said = said + _level(churned, said)
        bins = [part for part in np.array_split(np.argsort(said, kind="stable"), BINS) if len(part) >= BINS]
        for part in bins:
            count, expected, left = len(part), float(probability(said[part]).mean()), float(churned[part].sum())
            off = _odds(left, count) - _odds(count * expected, count)
            information = count * expected * (1 - expected)
            squares += max(off**2 - 1 / max(information, 1.0), 0.0) / len(bins)
        weight += 1.0 if bins else 0.0
    return float(np.sqrt(squares / weight))


def _odds(events: float, count: int) -> float:
    """The logarithm of the odds of ``events`` in ``count``, half an event added to both sides."""
    return float(np.log((events + 0.5) / (count - events + 0.5)))


def _level(churned: Floats, beside: Floats) -> float:
    """The constant that, added to ``beside``, gives as many who leave as left."""
    share = (churned.sum() + 0.5) / (len(churned) + 1.0)
    level = 0.0
    for _ in range(20):
        chance = probability(beside + level)
        level += float(np.clip((share - chance.mean()) / max(float((chance * (1 - chance)).mean()), 1e-6), -2.0, 2.0))
    return level
