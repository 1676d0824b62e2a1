"""Gamma-Gamma: what customers spend on an order day, from the few that were seen of each.

What a customer spends varies around their own mean; the means vary over the shop. Three parameters describe the shop:
spending is Gamma(p, v) of a customer whose v is Gamma(q, gamma). Few order days are pulled to the shop's mean, many are not.

Source: Fader & Hardie (2013), The Gamma-Gamma Model of Monetary Value, http://www.brucehardie.com/notes/025/.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import gammaln

Floats = NDArray[np.float64]

LOG_BOUNDS = (-6.0, 12.0)
LEAST_Q = 1.0  # the mean over customers is p * gamma / (q - 1): it exists only above
PRIOR = 0.5


@dataclass(frozen=True)
class GammaGamma:
    """The three parameters of one shop; money is in its currency."""

    p: float
    q: float
    gamma: float

    def expected_spend(self, count: Floats, mean: Floats) -> Floats:
        """The mean money per order day that is expected of customers who spent ``mean`` on each of ``count`` (equation 5)."""
        count, mean = np.maximum(np.asarray(count, float), 0.0), np.maximum(np.asarray(mean, float), 0.0)
        return np.asarray(self.p * (self.gamma + count * mean) / (self.p * count + self.q - 1), dtype=float)

    def to_json(self) -> dict[str, float]:
        """The parameters by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, saved: Mapping[str, Any]) -> "GammaGamma":
        """What ``to_json`` gave."""
        return cls(**{name: float(saved[name]) for name in ("p", "q", "gamma")})


def fit_gamma_gamma(count: Floats, mean: Floats) -> GammaGamma:
    """The parameters of largest likelihood (equation 1a); customers who spent nothing, or of whom nothing is known, are left out.

    A weak prior, worth half a customer, keeps the answer finite for few customers or where all spend the same.

    >>> fit_gamma_gamma(np.zeros(0), np.zeros(0)).expected_spend(np.array([0.0]), np.array([0.0])).tolist()
    [1.0]
    """
    count, mean = np.asarray(count, float), np.asarray(mean, float)
    known = (count > 0) & (mean > 0) & np.isfinite(mean)
    x, m = count[known], mean[known]
    if not len(x):
        return GammaGamma(1.0, 2.0, 1.0)
    usual = float((x @ m) / x.sum())

    def unfold(logs: Floats) -> tuple[float, float, float]:
        p, q = float(np.exp(logs[0])), LEAST_Q + float(np.exp(logs[1]))
        return p, q, usual * float(np.exp(logs[2]))

    def loss(logs: Floats) -> float:
        p, q, gamma = unfold(logs)
        px = p * x
        each = gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(gamma / (gamma + x * m))
        each = each + px * np.log(x * m / (gamma + x * m))
        return float((PRIOR * logs @ logs - each.sum()) / len(x))

    best = minimize(loss, np.array([0.5, 0.5, 0.0]), method="L-BFGS-B", bounds=[LOG_BOUNDS] * 3)
    return GammaGamma(*unfold(best.x))
