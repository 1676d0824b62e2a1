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
    place = np.repeat(of.order_days.last, of.order_days.counts) - np.arange(len(of.days))  # 0 is the newest
    newest = {count: np.where(place < count, of.gaps, np.nan) for count in NEWEST}
    recent = np.where(of.days >= of.today - WITHIN_DAYS, of.gaps, np.nan)
    means = {count: _mean(gaps, of) for count, gaps in newest.items()}
    longest = {count: of.order_days.most(gaps) for count, gaps in newest.items()}
    return {
        **{f"gap_mean_last_{count}": mean for count, mean in means.items()},
        **{f"gap_max_last_{count}": gap for count, gap in longest.items()},
        "gap_max_90d": of.order_days.most(recent),
        "overdue_last_3_ratio": quotient(of.waited_days, means[3]),
        "overdue_max_6_ratio": quotient(of.waited_days, longest[6]),
    }


def _mean(gaps: Floats, of: Histories) -> Floats:
    """The mean of each customer's gaps that are not NaN."""
    return quotient(of.order_days.sums(np.nan_to_num(gaps)), of.order_days.sums(~np.isnan(gaps)))
