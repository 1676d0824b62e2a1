"""BG/NBD and MBG/NBD: customers order at their own steady rate until, after some order, they silently leave for good.

A customer is three numbers, in days: ``x`` repeat order days, ``t_x`` from the first to the last order day,
``T`` from the first order day to now. Four parameters describe the whole shop: order rates are Gamma(r, alpha), the
chance to leave after an order is Beta(a, b). In the BG/NBD nobody leaves after the first order; in the modified one (MBG/NBD)
that is a chance to leave like every other. With it, all equations hold for x + 1 chances to leave instead of x.

Source: Fader, Hardie & Lee (2005), "Counting Your Customers" the Easy Way: An Alternative to the Pareto/NBD
Model, Marketing Science 24(2), 275-284. Equation numbers below are the paper's. The modified model: Batislam, Denizel &
Filiztekin (2007), Empirical Validation and Comparison of Models for Customer Base Analysis, International Journal of Research in
Marketing 24(3), 201-209.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import betaln, gammaln, hyp2f1

Floats = NDArray[np.float64]

STARTS = ((0.5, 0.5, 2.0), (1.0, 0.2, 2.0), (0.25, 0.8, 2.5))  # r, a, b; alpha comes from the shop's own rate
LOG_BOUNDS = (-7.0, 12.0)  # from a thousandth to 160,000 (days, for alpha): beyond it nothing changes
DECISIVE = 5.0  # logarithm of the likelihood ratio at which a shop is said to be one of the modified model
PRIOR = 0.5  # customers' worth of pull towards 1 on each parameter's logarithm, so that few data stay finite


@dataclass(frozen=True)
class BuyTillYouDie:
    """The four parameters of one shop at one moment; time is in days.

    ``modified``: customers may leave after their first order, too (MBG/NBD).
    Methods take arrays ``x``, ``t_x`` and ``T`` of one shape and return one value per customer.
    """

    r: float
    alpha: float
    a: float
    b: float
    modified: bool = False

    def probability_alive(self, x: Floats, t_x: Floats, T: Floats) -> Floats:
        """The probability (0-1) that a customer has not left for good; 1 without a chance to leave.

        Source: Fader, Hardie & Lee (2008), Computing P(alive) Using the BG/NBD Model, equation 2.
        """
        x, t_x, T = _customers(x, t_x, T)
        chances = x + self.modified
        log_odds_left = np.log(self.a / (self.b + np.maximum(chances, 1) - 1)) + (self.r + x) * np.log(
            (self.alpha + T) / (self.alpha + t_x)
        )
        return np.where(chances > 0, 1 / (1 + np.exp(np.minimum(log_odds_left, 700))), 1.0)

    def probability_no_order(self, x: Floats, t_x: Floats, T: Floats, *, days: float) -> Floats:
        """The probability (0-1) that no order comes within the next ``days``.

        Having left, or alive with the rate's posterior Gamma(r + x, alpha + T) giving no order.
        """
        x, t_x, T = _customers(x, t_x, T)
        silent = ((self.alpha + T) / (self.alpha + T + days)) ** (self.r + x)
        return 1 - self.probability_alive(x, t_x, T) * (1 - silent)

    def expected_orders(self, x: Floats, t_x: Floats, T: Floats, *, days: float) -> Floats:
        """The expected number of order days within the next ``days`` (equation 10)."""
        x, t_x, T = _customers(x, t_x, T)
        r, alpha, a, b = self.r, self.alpha, self.a, self.b
        if abs(a - 1) < 1e-6:  # the equation divides by a - 1; its limit is approached from beside
            return replace(self, a=1 + 1e-5).expected_orders(x, t_x, T, days=days)
        shrink = ((alpha + T) / (alpha + T + days)) ** (r + x)
        chances = x + self.modified
        series = hyp2f1(r + x, b + chances, a + b + chances - 1, days / (alpha + T + days))
        orders_if_alive = (a + b + chances - 1) / (a - 1) * (1 - shrink * series)
        return np.asarray(orders_if_alive * self.probability_alive(x, t_x, T), dtype=float)

    def to_json(self) -> dict[str, Any]:
        """The parameters by name, and whether the model is the modified one."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "BuyTillYouDie":
        """What ``to_json`` gave."""
        r, alpha, a, b = (float(saved[name]) for name in ("r", "alpha", "a", "b"))
        return cls(r, alpha, a, b, modified=bool(saved["modified"]))


def fit_buy_till_you_die(x: Floats, t_x: Floats, T: Floats, *, decisive: float = DECISIVE) -> BuyTillYouDie:
    """The parameters of largest likelihood (equation 6); customers with a missing value are left out.

    The modified model where the logarithm of the likelihood ratio exceeds ``decisive``, else the BG/NBD. Equal customers are
    counted once with their number, so the cost is that of the distinct histories. A weak prior, worth half a customer, keeps
    the answer finite for few customers or without any repeat order.
    """
    x, t_x, T = _customers(x, t_x, T)
    known = np.isfinite(x) & np.isfinite(t_x) & np.isfinite(T)
    rows, counts = np.unique(np.column_stack([x, t_x, T])[known], axis=0, return_counts=True)
    if not len(rows):
        return BuyTillYouDie(1.0, 30.0, 1.0, 1.0)
    total = float(counts.sum())
    days_per_order = (float(counts @ rows[:, 2]) + 30.0) / (float(counts @ rows[:, 0]) + 1.0)

    def loss(logs: Floats, modified: bool) -> float:
        likelihood = float(counts @ _log_likelihood(np.exp(logs), *rows.T, modified=modified))
        pull = logs - np.array([0.0, np.log(days_per_order), 0.0, 0.0])
        return (PRIOR * float(pull @ pull) - likelihood) / total

    def fitted(start: Floats, modified: bool) -> Any:
        return minimize(loss, start, args=(modified,), method="L-BFGS-B", bounds=[LOG_BOUNDS] * 4)

    fits = [fitted(np.log([r, r * days_per_order, a, b]), False) for r, a, b in STARTS]
    best = min(fits, key=lambda fit: float(fit.fun))
    other = fitted(best.x, True)
    modified = (float(best.fun) - float(other.fun)) * total > decisive
    r, alpha, a, b = (float(value) for value in np.exp((other if modified else best).x))
    return BuyTillYouDie(r, alpha, a, b, modified=modified)


def _log_likelihood(parameters: Floats, x: Floats, t_x: Floats, T: Floats, *, modified: bool) -> Floats:
    """The log-likelihood of each customer (equation 6)."""
    r, alpha, a, b = parameters
    chances = x + modified
    ordering = gammaln(r + x) - gammaln(r) + r * np.log(alpha)
    alive = betaln(a, b + chances) - betaln(a, b) - (r + x) * np.log(alpha + T)
    left_beta = betaln(a + 1, b + np.maximum(chances, 1) - 1) - betaln(a, b)
    left = np.where(chances > 0, left_beta - (r + x) * np.log(alpha + t_x), -np.inf)
    return np.asarray(ordering + np.logaddexp(alive, left), dtype=float)


def _customers(x: Floats, t_x: Floats, T: Floats) -> tuple[Floats, Floats, Floats]:
    """The three arrays as floats, made possible: nothing negative, the last order not after now."""
    x, t_x, T = (np.maximum(np.asarray(values, dtype=float), 0.0) for values in (x, t_x, T))
    return x, np.minimum(t_x, T), T
