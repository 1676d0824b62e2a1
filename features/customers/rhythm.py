"""The rhythm of a customer's order days: gaps between them, how regular they are, and how overdue the next one is.

``count_order_days``, ``days_first_to_last`` and ``age_days`` are what buy-till-you-die models read: x + 1, t_x and T of
Fader, Hardie & Lee, Marketing Science 24(2), 2005.
"""

import ibis

from features.arithmetic import DAY, as_money, ratio
from features.customers.orders import Orders

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


def rhythm(known: Orders) -> ibis.Table:
    """One row per customer; gaps are whole days, null with fewer than two order days (deviation: three).

    ``money_last_order`` is what was spent on the last day with an order, be it one order or two.
    """
    in_order = ibis.window(group_by="customer_id", order_by=known.days.day)
    days = known.days.mutate(
        gap=known.days.day - known.days.day.lag(1).over(in_order),
        is_last=known.days.day.lead(1).over(in_order).isnull(),
    )
    sums = days.group_by("customer_id").agg(
        count_days=days.count(),
        first=days.day.min(),
        last=days.day.max(),
        squares=(days.gap * days.gap).sum(),
        gap_max=days.gap.max(),
        gap_last=days.is_last.ifelse(days.gap, ibis.null("int64")).max(),
        money_last=days.is_last.ifelse(days.money, ibis.null("float64")).max(),
    )
    span = (sums["last"] - sums["first"]).cast("float64")
    gaps = (sums.count_days - 1).cast("float64")
    mean = ratio(span, gaps)
    variance = ratio(sums.squares.cast("float64") - span * mean, gaps - 1.0)
    deviation = ibis.ifelse(gaps >= 2.0, ibis.greatest(variance, 0.0).sqrt(), ibis.null("float64"))
    waited = known.now / float(DAY) - (sums["last"].cast("float64"))
    return sums.select(
        "customer_id",
        count_order_days=sums.count_days.cast("float64"),
        days_first_to_last=span,
        age_days=(known.today - sums["first"]).cast("float64"),
        gap_mean_days=mean,
        gap_std_days=deviation,
        gap_last_days=sums.gap_last.cast("float64"),
        gap_max_days=sums.gap_max.cast("float64"),
        overdue_ratio=ratio(waited, mean),
        overdue_zscore=ratio(waited - mean, deviation),
        money_last_order=as_money(sums.money_last),
    )
