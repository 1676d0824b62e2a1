"""The rhythm of a customer's order days: gaps between them, how regular they are, and how overdue the next one is.

``count_order_days``, ``days_first_to_last`` and ``age_days`` are what buy-till-you-die models read: x + 1, t_x and T of
Fader, Hardie & Lee, Marketing Science 24(2), 2005.
"""

import numpy as np

from features.arithmetic import UNITS
from features.customers.histories import Floats, Histories, quotient

FEATURES = (
    "count_order_days",
    "days_first_to_last",
    "age_days",
    "gap_mean_days",
    "gap_std_days",
    "gap_last_days",
    "gap_max_days",
    "overdue_ratio",
    "overdue_zscore",
    "money_last_order",
)


def rhythm(of: Histories) -> dict[str, Floats]:
    """Gaps are whole days, NaN with fewer than two order days (deviation: three).

    ``money_last_order`` is what was spent on the last day with an order, be it one order or two.
    """
    dated, last = of.order_days, of.order_days.last
    first = of.days[dated.starts]
    span = (of.days[last] - first).astype(np.float64)
    gaps = dated.counts - 1.0
    mean = quotient(span, gaps)
    squares = dated.sums(np.nan_to_num(of.gaps) ** 2)
    variance = quotient(squares - span * mean, gaps - 1.0)
    deviation = np.sqrt(np.where(gaps >= 2.0, np.maximum(variance, 0.0), np.nan))
    return {
        "count_order_days": dated.counts.astype(np.float64),
        "days_first_to_last": span,
        "age_days": (of.today - first).astype(np.float64),
        "gap_mean_days": mean,
        "gap_std_days": deviation,
        "gap_last_days": of.gaps[last],
        "gap_max_days": dated.most(of.gaps),
        "overdue_ratio": quotient(of.waited_days, mean),
        "overdue_zscore": quotient(of.waited_days - mean, deviation),
        "money_last_order": of.day_money[last] / UNITS,
    }
