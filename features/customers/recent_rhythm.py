"""The newest gaps between a customer's order days: a rhythm that changed shows in them first."""

import numpy as np

from features.customers.histories import Floats, Histories, quotient

NEWEST = (3, 6)
WITHIN_DAYS = 90
FEATURES = (
    *(f"gap_mean_last_{count}" for count in NEWEST),
    *(f"gap_max_last_{count}" for count in NEWEST),
    "gap_max_90d",
    "overdue_last_3_ratio",
    "overdue_max_6_ratio",
)


def recent_rhythm(of: Histories) -> dict[str, Floats]:
    """Gaps are whole days, NaN with fewer than two order days.

    ``gap_mean_last_3`` is over the newest three gaps or as many as there are, ``gap_max_90d`` over the gaps that ended in the
    last 90 days. The ratios are the days since the last order day over the mean of the newest three gaps, and over the
    longest of the newest six.
    """
    at = of.order_days.last[:, None] - np.arange(max(NEWEST))  # the newest gap first
    newest = np.where(at > of.order_days.starts[:, None], of.gaps[np.maximum(at, 0)], np.nan)
    means = {count: _mean(newest[:, :count]) for count in NEWEST}
    longest = {count: np.fmax.reduce(newest[:, :count], axis=1) for count in NEWEST}
    recent = np.where(of.days >= of.today - WITHIN_DAYS, of.gaps, np.nan)
    return {
        **{f"gap_mean_last_{count}": mean for count, mean in means.items()},
        **{f"gap_max_last_{count}": gap for count, gap in longest.items()},
        "gap_max_90d": of.order_days.most(recent),
        "overdue_last_3_ratio": quotient(of.waited_days, means[3]),
        "overdue_max_6_ratio": quotient(of.waited_days, longest[6]),
    }


def _mean(gaps: Floats) -> Floats:
    """The mean of each row of ``gaps`` that are not NaN."""
    return quotient(np.nansum(gaps, axis=1), np.sum(~np.isnan(gaps), axis=1))
