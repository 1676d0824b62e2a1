"""What each offer does on average: own estimates drawn towards offers with the same attributes; rates for small trials."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.models.offers import Level
from regulars.models.responses import Linear

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_TO_POOL = 3
STRENGTH = 20.0
UNSEEN = 4.0  # variances of one estimate that a new offer beside one or two known ones may differ by


@dataclass(frozen=True)
class Pooled:
    """``levels`` in the order of the estimates; ``new_level`` over attributes, ``new_se``: for an offer never made."""

    levels: tuple[Level, ...]
    new_level: Linear
    new_se: float


def pooled_levels(estimates: Floats, errors: Floats, terms: Floats) -> Pooled:
    """Best linear unbiased predictions of the offers' effects, ``terms`` (n_offers, n_terms) saying what they have in common.

    Half of the variance between offers is taken to lie in their attributes, half in what is their own; fewer than three
    offers are left as they are. Variance between offers: DerSimonian & Laird, Controlled Clinical Trials 1986.

    >>> pooled = pooled_levels(np.array([1.0, 1.0, 4.0]), np.array([1.0, 1.0, 1.0]), np.zeros((3, 0)))
    >>> [round(level.mean, 2) for level in pooled.levels]
    [1.33, 1.33, 3.33]
    """
    count, width = terms.shape
    precision = 1 / np.maximum(errors, 1e-12) ** 2
    middle = float(np.average(estimates, weights=precision))
    if count < LEAST_TO_POOL:
        levels = tuple(Level(float(m), float(e)) for m, e in zip(estimates, errors, strict=True))
        return Pooled(levels, Linear((0.0,) * width, middle, False), float(np.sqrt(UNSEEN * np.mean(errors**2))))
    heterogeneity = float((precision * (estimates - middle) ** 2).sum())
    scale = precision.sum() - (precision**2).sum() / precision.sum()
    between = max(0.0, (heterogeneity - (count - 1)) / scale)
    if between == 0.0:
        se = float(np.sqrt(1 / precision.sum()))
        return Pooled(tuple(Level(middle, se) for _ in estimates), Linear((0.0,) * width, middle, False), se)
    shared = terms / np.sqrt(max((terms**2).sum(axis=1).mean(), 1e-12))
    share = 0.5 if width and np.any(terms) else 0.0
    alike = between * (share * shared @ shared.T + (1 - share) * np.eye(count))
    solved = np.linalg.inv(alike + np.diag(errors**2))
    middle = float((solved.sum(axis=0) @ estimates) / solved.sum())
    pull = solved @ (estimates - middle)
    means = middle + alike @ pull
    variances = np.diag(alike - alike @ solved @ alike) + 1 / solved.sum()
    factor = np.sqrt(max((terms**2).sum(axis=1).mean(), 1e-12))
    weights = between * share * (shared.T @ pull) / factor
    levels = tuple(Level(float(m), float(np.sqrt(max(v, 0.0)))) for m, v in zip(means, variances, strict=True))
    return Pooled(levels, Linear(tuple(map(float, weights)), middle, False), float(np.sqrt(between + 1 / solved.sum())))


def response_rates(arm: Ints, outcome: Floats, segment: pd.Series, *, logistic: bool) -> pd.DataFrame:
    """What is known of the outcome in each segment and arm: one row each with segment, arm, rows, mean, se.

    A segment's rate has a prior of 20 rows at its arm's rate, and that one of 20 rows at the rate of all offers (or, for
    no offer, at its own): beta posteriors, or normal ones where the outcome is an amount. Segments and arms without rows
    have the prior.

    >>> rates = response_rates(np.array([0, 1]), np.array([0.0, 1.0]), pd.Series(["a", "a"]), logistic=True)
    >>> rates["mean"].round(2).tolist()
    [0.0, 1.0]
    """
    spread = float(outcome.var()) or 1e-12
    offered = arm > 0
    lines = []
    for k in range(int(arm.max()) + 1):
        mine = arm == k
        whole = outcome[offered if k else ~offered]
        overall = _posterior(outcome[mine], float(whole.mean()) if len(whole) else 0.0, spread, logistic=logistic)
        for name in sorted(segment.unique()):
            found = outcome[mine & (segment == name).to_numpy()]
            mean, se = _posterior(found, overall[0], spread, logistic=logistic)
            lines.append((name, k, len(found), mean, se))
    return pd.DataFrame(lines, columns=["segment", "arm", "rows", "mean", "se"])


def _posterior(values: Floats, prior: float, spread: float, *, logistic: bool) -> tuple[float, float]:
    weight = len(values) + STRENGTH
    mean = float((values.sum() + STRENGTH * prior) / weight)
    variance = max(mean * (1 - mean), 1e-6) / (weight + 1) if logistic else spread / weight
    return mean, float(np.sqrt(variance))
