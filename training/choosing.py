"""Chooses among meta-learners by the cross-fitted value of the decisions that follow from them.

Every row is judged by learners that saw other customers only, on several partitions into folds, whose mean counts. Where
choosing for each customer surely gains over the best single choice (the lower end of its one-sided 95 % interval is above 0),
the learner that gains most is taken. Else nobody's choice is personal, and the learner whose differences between customers
come closest to doubly robust scores of them is taken, for ranking.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.uplift import (
    Learner,
    Sample,
    doubly_robust,
    learners,
    outcome_models,
    predicted_outcomes,
    with_best_prior,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MANY_ROWS = 40_000
AGAIN = 2
MUCH = 300_000  # rows x offers: beyond, learners are tried on a part of the customers and on one partition
CLOSE = 1.645
SURE = 1.645  # standard errors that a gain lies above 0


@dataclass(frozen=True)
class Choice:
    """``learner``: its name; ``prior``: of its linear models. ``gain``, ``gain_se``: of choosing per customer.

    ``estimates``, ``errors`` (n_offers,): average uplifts and their standard errors over customers. ``slope``: how much of
    the raw differences between customers was found again, 0 to 1. The gain is over the best single choice, per customer.
    ``values``: learner -> gain.
    """

    learner: str
    prior: float
    estimates: Floats
    errors: Floats
    slope: float
    personal: bool
    gain: float
    gain_se: float
    values: Mapping[str, float]


def folds_of(customer: Ints, *, seed: int, count: int) -> Ints:
    """The fold (n_rows,) of each row; all rows of a customer are in one."""
    _, place = np.unique(customer, return_inverse=True)
    drawn = np.random.default_rng(seed).permutation(int(place.max()) + 1) % count
    return np.asarray(drawn[place])


def choose_learner(sample: Sample, customer: Ints, *, costs: Floats, seed: int, again: int = AGAIN) -> Choice:
    """The learner whose cross-fitted decisions are worth most; ``costs`` (n_offers,) in units of the outcome.

    ``again``: how often all are judged again, on other folds. Where rows x offers are many, learners are judged once, on
    customers drawn to be so few that they are not; averages are always of all.
    """
    sample = with_best_prior(sample, folds_of(customer, seed=seed, count=3))
    known = learners(sample)
    whole = _Trial(sample, customer, costs, seed)
    if len(customer) * len(costs) > MUCH:
        drawn = _drawn(customer, share=MUCH / (len(customer) * len(costs)), seed=seed)
        trials = [_Trial(sample.rows(drawn), customer[drawn], costs, seed)]
    else:
        trials = [whole, *(_Trial(sample, customer, costs, seed + more) for more in range(1, 1 + again))]
    tried = {name: [trial.judge(learn) for trial in trials] for name, learn in known.items()}
    gains = {name: float(np.mean([found.gain for found in judged])) for name, judged in tried.items()}
    leader = max(gains, key=lambda name: gains[name])
    closest = max(tried, key=lambda name: float(np.mean([found.explained for found in tried[name]])))
    gain_se = float(np.mean([found.gain_se for found in tried[leader]]))
    personal = gains[leader] > SURE * gain_se > 0
    best = leader if personal else closest
    estimates, errors = _means(whole.effects, customer)
    slope = float(np.mean([found.slope for found in tried[best]]))
    return Choice(best, sample.prior, estimates, errors, slope, personal, gains[leader], gain_se, gains)


def _drawn(customer: Ints, *, share: float, seed: int) -> NDArray[np.bool_]:
    """Which rows (n_rows,) are of the drawn ``share`` of customers."""
    _, place = np.unique(customer, return_inverse=True)
    return np.asarray((np.random.default_rng(seed).random(int(place.max()) + 1) < share)[place])


@dataclass(frozen=True)
class _Judged:
    """``gain`` over the best single choice with its standard error; ``slope``; ``explained``: see ``_Trial.judge``."""

    gain: float
    gain_se: float
    slope: float
    explained: float


class _Trial:
    """One partition of the customers into folds, and what does not depend on the learner."""

    def __init__(self, sample: Sample, customer: Ints, costs: Floats, seed: int) -> None:
        self.sample, self.customer, self.costs = sample, customer, costs
        self.fold = folds_of(customer, seed=seed, count=3 if len(customer) > MANY_ROWS else 5)
        scores = cross_fitted_scores(sample, self.fold, len(costs))
        self.effects = scores[:, 1:] - scores[:, :1]
        self.others = np.stack([self.effects[self.fold != g].mean(axis=0) for g in range(self.fold.max() + 1)])

    def judge(self, learn: Learner) -> _Judged:
        """``explained``: how much closer to the scores its uplifts come than the offers' averages, squared, per row."""
        raw = self._out_of_fold(learn)
        uplift = np.zeros_like(raw)
        for g in np.unique(self.fold):
            here = self.fold == g
            uplift[here] = self.others[g] + found_again(raw[~here], self.effects[~here]) * raw[here]
        level = self.others[self.fold]
        explained = float(((self.effects - level) ** 2 - (self.effects - uplift) ** 2).sum(axis=1).mean())
        means, ses = _means(self._gain(uplift)[:, None], self.customer)
        return _Judged(float(means[0]), float(ses[0]), found_again(raw, self.effects), explained)

    def _out_of_fold(self, learn: Learner) -> Floats:
        """Raw effects (n_rows, n_offers) less their mean on the rows that were learnt from."""
        raw = np.zeros_like(self.effects)
        names = range(1, raw.shape[1] + 1)
        design = self.sample.design
        for g in np.unique(self.fold):
            fitted = learn(self.sample.rows(self.fold != g))
            centre = fitted.predict(design[self.fold != g], names).mean(axis=0)
            raw[self.fold == g] = fitted.predict(design[self.fold == g], names) - centre
        return raw

    def _gain(self, uplift: Floats) -> Floats:
        """Per row, how much better choosing for the customer is than the best single choice of the other folds."""
        net = np.hstack([np.zeros((len(uplift), 1)), self.effects - self.costs])
        single = best_actions(self.others, self.costs)[self.fold]
        rows = np.arange(len(net))
        return np.asarray(net[rows, best_actions(uplift, self.costs)] - net[rows, single])


def cross_fitted_scores(sample: Sample, fold: Ints, offers: int) -> Floats:
    """Doubly robust scores (n_rows, 1 + n_offers), expected outcomes from linear models of the other folds."""
    return doubly_robust(sample, cross_fitted_outcomes(sample, fold, offers))


def cross_fitted_outcomes(sample: Sample, fold: Ints, offers: int) -> Floats:
    """Expected outcomes (n_rows, 1 + n_offers) from linear models of the other folds."""
    expected = np.zeros((len(fold), offers + 1))
    for g in np.unique(fold):
        expected[fold == g] = predicted_outcomes(
            outcome_models(sample.rows(fold != g)), sample.design[fold == g], offers
        )
    return expected


def best_actions(uplift: Floats, costs: Floats) -> Ints:
    """The action (n_rows,) of highest net uplift: 0 for none, k for offer k."""
    net = np.hstack([np.zeros((len(uplift), 1)), uplift - costs])
    return np.asarray(net.argmax(axis=1))


def found_again(raw: Floats, effects: Floats) -> float:
    """How much of the differences ``raw`` is found again in ``effects``, over all offers, 0 to 1.

    The slope of one on the other. Learners are drawn to zero already, so that a slope is 1 unless it is surely below, and
    0 unless it is surely above (95 %, one-sided).

    >>> found_again(np.array([[1.0], [-1.0], [1.0], [-1.0]]), np.array([[2.0], [0.0], [2.0], [0.0]]))
    1.0
    """
    x, y = raw - raw.mean(axis=0), effects - effects.mean(axis=0)
    power = float((x**2).sum())
    if power == 0.0:
        return 0.0
    slope = float((x * y).sum()) / power
    error = float(np.sqrt(((x * (y - slope * x)).sum(axis=1) ** 2).sum())) / power
    if slope <= CLOSE * error:
        return 0.0
    return 1.0 if slope + CLOSE * error >= 1.0 else slope


def _means(values: Floats, customer: Ints) -> tuple[Floats, Floats]:
    """Means (n_columns,) over rows with standard errors that take all rows of a customer together."""
    _, place = np.unique(customer, return_inverse=True)
    mean = values.mean(axis=0)
    apart = np.column_stack([np.bincount(place, weights=column) for column in (values - mean).T])
    return mean, np.sqrt((apart**2).sum(axis=0)) / len(values)
