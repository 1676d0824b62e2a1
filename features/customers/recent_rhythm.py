"""The newest gaps between a customer's order days: a rhythm that changed shows in them first."""

import ibis

from features.arithmetic import DAY, ratio
from features.customers.orders import Orders

NEWEST = (3, 6)
WITHIN_DAYS = 90
FEATURES = (
    *(f"gap_mean_last_{count}" for count in NEWEST),
    *(f"gap_max_last_{count}" for count in NEWEST),
    "gap_max_90d",
    "overdue_last_3_ratio",
    "overdue_max_6_ratio",
)


def recent_rhythm(known: Orders) -> ibis.Table:
    """One row per customer; gaps are whole days, null with fewer than two order days.

    ``gap_mean_last_3`` is over the newest three gaps or as many as there are, ``gap_max_90d`` over the gaps that ended in the
    last 90 days. The ratios are the days since the last order day over the mean of the newest three gaps, and over the
    longest of the newest six.
    """
    newest_first = ibis.window(group_by="customer_id", order_by=known.days.day.desc())
    days = known.days.mutate(
        gap=known.days.day - known.days.day.lead(1).over(newest_first),
        place=ibis.row_number().over(newest_first),
    )
    none = ibis.null("int64")
    inside = {count: ibis.ifelse(days.place < count, days.gap, none) for count in NEWEST}
    recent = ibis.ifelse(days.day >= known.today - WITHIN_DAYS, days.gap, none)
    sums = days.group_by("customer_id").agg(
        last=days.day.max(),
        gap_max_90d=recent.max().cast("float64"),
        **{f"gap_max_last_{count}": gap.max().cast("float64") for count, gap in inside.items()},
        **{f"gap_sum_{count}": gap.sum() for count, gap in inside.items()},
        **{f"gap_count_{count}": gap.count() for count, gap in inside.items()},
    )
    waited = known.now / float(DAY) - sums["last"].cast("float64")
    means = {count: ratio(sums[f"gap_sum_{count}"], sums[f"gap_count_{count}"]) for count in NEWEST}
    return sums.mutate(
        **{f"gap_mean_last_{count}": mean for count, mean in means.items()},
        overdue_last_3_ratio=ratio(waited, means[3]),
        overdue_max_6_ratio=ratio(waited, sums.gap_max_last_6),
    ).select("customer_id", *FEATURES)
