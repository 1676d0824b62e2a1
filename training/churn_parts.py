"""What a churn model is made of: its parts, fitted on snapshots, and the weights and spreads learnt where they had not looked.

Trees and the linear model learn beside the shop's pace, so that they do not take the season of their moments for something
about customers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import minimize

from regulars.models.churn import Blend, Linear, component_logits, probability, signed_log
from training.churn_level import Level, level_beside, level_learnt, odds
from training.churn_snapshots import Snapshot, earlier_than, enough, tree_names
from training.metrics import BINS

Floats = NDArray[np.float64]

USUAL_WEIGHTS = (0.6, 0.1, 0.3)
PULL_TO_USUAL = 0.05
SPREAD_BEFORE = 0.1  # what is believed of the spread of a fit, in logits, before any fold was seen
LEADING = ("days_since_last_order", "count_orders", "money_total", "gap_mean_days", "age_days")
RIDGE, RIDGE_LEADING = 300.0, 10.0  # observations' worth of pull of a weight to 0
MOST_LINEAR_ROWS = 200_000


@dataclass(frozen=True)
class Parts:
    """What a blend is made of; ``level`` is the logit that the trees begin with."""

    boosters: tuple[lightgbm.Booster, ...]
    level: float
    linear: Linear


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
    base = level_beside(churned, shift)
    boosters = []
    for member in range(int(chosen["members"])):
        drawn = np.sort(rng.integers(len(churned), size=len(churned)))
        data = lightgbm.Dataset(values[drawn], churned[drawn], init_score=base + shift[drawn], free_raw_data=False)
        boosters.append(lightgbm.train(settings | {"seed": seed + member}, data, num_boost_round=int(chosen["trees"])))
    some = slice(None, None, -(-len(churned) // MOST_LINEAR_ROWS))
    linear = fit_linear_beside(
        features[some], churned[some], tree_names(features.columns), beside=shift[some], level=base
    )
    return Parts(tuple(boosters), base, linear)


def fit_linear_beside(
    features: pd.DataFrame,
    churned: Floats,
    names: tuple[str, ...],
    *,
    beside: Floats,
    level: float = 0.0,
    leading: Sequence[str] = LEADING,
) -> Linear:
    """A logistic regression with ``beside`` (n_customers,) added to every logit; a missing value counts as the median.

    Newton's method from a flat start. Weights are drawn to 0 (ridge), those of ``leading`` features least: in a small shop
    the others hardly count.

    >>> table = pd.DataFrame({"days_since_last_order": [1.0, 2.0, 30.0, 40.0]})
    >>> left = np.array([0.0, 0.0, 1.0, 1.0])
    >>> model = fit_linear_beside(table, left, ("days_since_last_order",), beside=np.zeros(4))
    >>> (model.logit(table) > 0).tolist()
    [False, False, True, True]
    """
    fills = tuple(float(features[name].median()) if features[name].notna().any() else 0.0 for name in names)
    filled = features[list(names)].fillna(dict(zip(names, fills, strict=True))).to_numpy(float)
    flat = signed_log(filled)
    means, spread = flat.mean(axis=0), flat.std(axis=0)
    scales = np.where(spread > 1e-9, spread, 1.0)
    bare = Linear(names, fills, tuple(map(float, means)), tuple(map(float, scales)), (0.0,) * len(names), 0.0)
    design = np.column_stack([np.ones(len(flat)), bare.design(features)])
    penalty = np.diag([1e-6, *(RIDGE_LEADING if name in leading else RIDGE for name in names)])
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
    return replace(bare, weights=tuple(map(float, weights[1:])), intercept=float(weights[0]))


@dataclass(frozen=True)
class Learnt:
    """``parts`` (None for a shop too small for them) and how they are blended.

    ``spread``, in logits, of what customers of one answer really do; ``level``: how many leave in all.
    """

    parts: Parts | None
    blend: Blend
    spread: float
    level: Level


def learn(taken: Sequence[Snapshot], *, horizon: int, chosen: Mapping[str, Any], seed: int) -> Learnt:
    """Parts fitted on all snapshots, and their weights learnt on the newest ones by parts that had not seen them."""
    if not enough(taken):
        return Learnt(None, Blend((0.0, 1.0, 0.0), 0.0), SPREAD_BEFORE, Level())
    folds = []
    for snapshot in taken:
        earlier = earlier_than(taken, snapshot.at, horizon)
        if len(folds) < int(chosen["folds"]) and enough(earlier):
            parts = fit_parts(earlier, chosen=chosen, seed=seed)
            folds.append((logits_at(parts, snapshot, horizon), snapshot.churned))
    blend = blend_weights(folds)
    level = level_learnt(taken, horizon=horizon)
    return Learnt(fit_parts(taken, chosen=chosen, seed=seed), blend, spread_of(folds, blend), level)


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
    (0.6, 0.1, 0.3)
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


def spread_of(folds: Sequence[tuple[Floats, Floats]], blend: Blend) -> float:
    """How far, in logits, the shares that left lie from what the blend said of them, beyond what chance alone does.

    One standard deviation over ten equal-count bins of each fold, after each fold's own level.

    >>> spread_of([], Blend((0.0, 1.0, 0.0), 0.0))
    0.1
    """
    squares, weight = SPREAD_BEFORE**2, 1.0
    for logits, churned in folds:
        said = logits @ np.asarray(blend.weights)
        said = said + level_beside(churned, said)
        bins = [part for part in np.array_split(np.argsort(said, kind="stable"), BINS) if len(part) >= BINS]
        for part in bins:
            count, expected, left = len(part), float(probability(said[part]).mean()), float(churned[part].sum())
            off = odds(left, count) - odds(count * expected, count)
            information = count * expected * (1 - expected)
            squares += max(off**2 - 1 / max(information, 1.0), 0.0) / len(bins)
        weight += 1.0 if bins else 0.0
    return float(np.sqrt(squares / weight))
