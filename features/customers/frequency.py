"""How often a customer ordered and how much was spent, ever and within windows [now - days, now)."""

import numpy as np

from features.arithmetic import UNITS
from features.customers.histories import Floats, Histories, quotient

COUNTED_DAYS = (7, 14, 30, 60, 90, 180, 365)
SPENT_DAYS = (30, 90, 365)
FEATURES = (
    "count_orders",
    *(f"count_orders_{days}d" for days in COUNTED_DAYS),
    "money_total",
    *(f"money_{days}d" for days in SPENT_DAYS),
    "money_per_order",
    "money_max_order",
)


def frequency(of: Histories) -> dict[str, Floats]:
    """Numbers of orders, and money in the shop's currency."""
    orders, ordered, money = of.orders, of.ordered, of.money
    count, total = orders.counts.astype(np.float64), orders.sums(money) / UNITS
    return {
        "count_orders": count,
        **{f"count_orders_{days}d": orders.sums(ordered >= of.since(days)) for days in COUNTED_DAYS},
        "money_total": total,
        **{
            f"money_{days}d": orders.sums(np.where(ordered >= of.since(days), money, 0.0)) / UNITS
            for days in SPENT_DAYS
        },
        "money_per_order": quotient(total, count),
        "money_max_order": orders.most(money) / UNITS,
    }
