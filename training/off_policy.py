"""What a policy would have brought, from a log of what another policy did.

A log has one row per decision: the action taken (0 for none, k for offer k), the probability with which it was taken, and
the outcome. A policy gives each row a probability for every action. Estimators: inverse propensity (IPS, Horvitz &
Thompson, JASA 1952), self-normalised (SNIPS, Swaminathan & Joachims, NeurIPS 2015), doubly robust (DR, Dudík, Langford &
Li, ICML 2011). Intervals by bootstrap over customers.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWS = 500
COLUMNS = ("estimator", "value", "low", "high")
THIN = 0.05


@dataclass(frozen=True)
class Log:
    """``action``, ``propensity``, ``outcome``, ``customer``: (n_rows,) each; ``expected`` (n_rows, n_actions), for DR.

    ``expected``: what a model that did not see the row expects of each action; None where there is none.
    ``net_of`` (n_actions,): what each action costs, in units of the outcome.
    """

    action: Ints
    propensity: Floats
    outcome: Floats
    customer: Ints
    net_of: Floats
    expected: Floats | None = None

    def scores(self) -> Floats:
        """Doubly robust net values (n_rows, n_actions); inverse-propensity ones where nothing is expected."""
        rows = np.arange(len(self.action))
        base = np.zeros((len(rows), len(self.net_of))) if self.expected is None else self.expected.copy()
        base[rows, self.action] += (self.outcome - base[rows, self.action]) / self.propensity
        return base - self.net_of


def evaluate(log: Log, policy: Floats, *, seed: int = 0, draws: int = DRAWS) -> pd.DataFrame:
    """The net value per decision of ``policy`` (n_rows, n_actions), one row per estimator with ``COLUMNS``.

    Estimators: ips, snips, dr (where the log has ``expected``), and effective_sample_size: Kish's, of n_rows, without
    interval (nan).

    >>> log = Log(np.array([0, 1]), np.array([0.5, 0.5]), np.array([0.0, 1.0]), np.array([0, 1]), np.zeros(2))
    >>> evaluate(log, np.array([[0.0, 1.0], [0.0, 1.0]]), draws=10).set_index("estimator")["value"].to_dict()
    {'ips': 1.0, 'snips': 1.0, 'effective_sample_size': 1.0}
    """
    rows = np.arange(len(log.action))
    weight = policy[rows, log.action] / log.propensity
    net = log.outcome - log.net_of[log.action]
    even = np.ones(len(rows))
    found = [("ips", weight * net, even), ("snips", weight * net, weight)]
    if log.expected is not None:
        found.append(("dr", (log.scores() * policy).sum(axis=1), even))
    drawn = customer_draws(log.customer, seed=seed, draws=draws)
    lines: list[tuple[str, float, float, float]] = [
        (name, float(top.sum() / bottom.sum()) if bottom.sum() else np.nan, *ratio_interval(top, bottom, drawn))
        for name, top, bottom in found
    ]
    lines.append(("effective_sample_size", effective_sample_size(weight), np.nan, np.nan))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def effective_sample_size(weight: Floats) -> float:
    """Kish's: the number of equally weighted rows that would be as sure; 0 where no row has weight.

    >>> effective_sample_size(np.array([1.0, 1.0, 0.0]))
    2.0
    """
    return float(weight.sum() ** 2 / (weight**2).sum()) if (weight > 0).any() else 0.0


def overlap(log: Log) -> dict[str, float]:
    """How far actions can be compared: least and 1 % smallest propensity, share of rows below 0.05, effective share of rows.

    >>> log = Log(np.array([0, 1]), np.array([0.5, 0.04]), np.zeros(2), np.array([0, 1]), np.zeros(2))
    >>> overlap(log)["share_below_0.05"]
    0.5
    """
    return {
        "propensity_least": float(log.propensity.min()),
        "propensity_1_percent": float(np.quantile(log.propensity, 0.01)),
        "share_below_0.05": float((log.propensity < THIN).mean()),
        "effective_share": effective_sample_size(1 / log.propensity) / len(log.propensity),
    }


@dataclass(frozen=True)
class Draws:
    """Bootstrap samples of customers: ``counts`` (draws, n_customers) and which customer each row is of."""

    counts: NDArray[np.int16]
    customer: Ints

    def sums(self, values: Floats) -> Floats:
        """The sum of ``values`` (n_rows,) in each draw."""
        by_customer = np.bincount(self.customer, weights=values, minlength=self.counts.shape[1])
        return np.asarray(self.counts @ by_customer)


def customer_draws(customer: Ints, *, seed: int, draws: int = DRAWS) -> Draws:
    """Customers drawn with replacement; all rows of one go together."""
    _, place = np.unique(customer, return_inverse=True)
    count = int(place.max()) + 1
    rng = np.random.default_rng(seed)
    counts = np.stack([np.bincount(rng.integers(count, size=count), minlength=count) for _ in range(draws)])
    return Draws(counts.astype(np.int16), place)


def ratio_interval(top: Floats, bottom: Floats, drawn: Draws) -> tuple[float, float]:
    """The 95 % percentile interval of sum(top) / sum(bottom); nan where no draw has a bottom."""
    sums, under = drawn.sums(top), drawn.sums(bottom)
    found = sums[under != 0] / under[under != 0]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)
