"""Uplift and Qini curves: what is gained as more customers, those of highest expected uplift first, are made an offer.

Sources: Radcliffe, Direct Marketing Analytics Journal 2007 (Qini); Gutierrez & Gérardy, PMLR 2017 (uplift curve).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.off_policy import DRAWS, Draws, customer_draws

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """``share`` (n_points,) of customers treated, 0 to 1; ``gain`` (n_points,), outcome gained per customer of all.

    ``area``: between the curve and the straight line to its end (its mean height above it), with its 95 % interval.
    ``best_half``: the share of the whole gain that the half of highest expected uplift keeps.
    """

    share: Floats
    gain: Floats
    area: float
    low: float
    high: float
    best_half: float


def uplift_curve(scores: Floats, uplift: Floats, customer: NDArray[np.int64], *, seed: int = 0,
                 draws: int = DRAWS, points: int = 20) -> Curve:  # fmt: skip
    """The curve over rows ranked by ``uplift`` (n_rows,), from doubly robust or inverse-propensity ``scores`` (n_rows,).

    ``scores``: unbiased scores of each row's effect (offer against none). Equal uplifts share the gain of their group.

    >>> curve = uplift_curve(np.array([1.0, 0.0]), np.array([0.9, 0.1]), np.array([0, 1]), draws=10, points=2)
    >>> curve.gain.tolist(), curve.best_half, round(curve.area, 3)
    ([0.0, 0.5, 0.5], 1.0, 0.125)
    """
    groups = _groups(uplift)
    drawn = customer_draws(customer, seed=seed, draws=draws)
    shares, gains = _cumulative(groups, np.ones(len(scores)), scores)
    areas = [_area(*_cumulative(groups, weight, scores)) for weight in _row_weights(drawn)]
    low, high = np.quantile(areas, [0.025, 0.975])
    at = np.linspace(0, 1, points + 1)
    gain = np.interp(at, shares, gains)
    half = float(np.interp(0.5, shares, gains) / gains[-1]) if gains[-1] else float("nan")
    return Curve(at, gain, _area(shares, gains), float(low), float(high), half)


def qini_curve(outcome: Floats, treated: NDArray[np.bool_], uplift: Floats, customer: NDArray[np.int64], *,
               seed: int = 0, draws: int = DRAWS, points: int = 20) -> Curve:  # fmt: skip
    """Radcliffe's curve of a trial whose treatment was drawn evenly: outcomes of the treated less those of the others, scaled.

    At each share: treated outcomes so far - others' outcomes so far x treated so far / others so far, per customer treated.

    >>> outcome, treated = np.array([1.0, 0.0, 0.0, 0.0]), np.array([True, False, True, False])
    >>> qini_curve(outcome, treated, np.array([0.9, 0.9, 0.1, 0.1]), np.arange(4), draws=10, points=2).gain.tolist()
    [0.0, 0.5, 0.5]
    """
    groups = _groups(uplift)
    shares, gains = _qini(groups, np.ones(len(outcome)), outcome, treated)
    drawn = customer_draws(customer, seed=seed, draws=draws)
    areas = [_area(*_qini(groups, weight, outcome, treated)) for weight in _row_weights(drawn)]
    low, high = np.quantile(areas, [0.025, 0.975])
    at = np.linspace(0, 1, points + 1)
    gain = np.interp(at, shares, gains)
    half = float(np.interp(0.5, shares, gains) / gains[-1]) if gains[-1] else float("nan")
    return Curve(at, gain, _area(shares, gains), float(low), float(high), half)


def _groups(uplift: Floats) -> NDArray[np.int64]:
    """The place of each row's uplift among the distinct ones, highest first."""
    return np.asarray(np.unique(-uplift, return_inverse=True)[1])


def _row_weights(drawn: Draws) -> list[Floats]:
    return [counts[drawn.customer].astype(float) for counts in drawn.counts]


def _cumulative(groups: NDArray[np.int64], weight: Floats, scores: Floats) -> tuple[Floats, Floats]:
    count = np.cumsum(np.bincount(groups, weights=weight))
    gained = np.cumsum(np.bincount(groups, weights=weight * scores))
    whole = count[-1] or 1.0
    return np.append(0.0, count / whole), np.append(0.0, gained / whole)


def _qini(
    groups: NDArray[np.int64], weight: Floats, outcome: Floats, treated: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    there, here = weight * treated, weight * ~treated
    n1, n0 = (np.cumsum(np.bincount(groups, weights=each)) for each in (there, here))
    y1, y0 = (np.cumsum(np.bincount(groups, weights=each * outcome)) for each in (there, here))
    gain = (y1 - np.divide(y0 * n1, n0, out=np.zeros_like(y0), where=n0 > 0)) / (n1[-1] or 1.0)
    return np.append(0.0, (n1 + n0) / (n1[-1] + n0[-1])), np.append(0.0, gain)


def _area(share: Floats, gain: Floats) -> float:
    heights = gain - share * gain[-1]
    return float(np.trapezoid(heights, share))
