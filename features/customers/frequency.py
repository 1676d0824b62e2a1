"""How often a customer ordered and how much was spent, ever and within windows [now - days, now)."""

import ibis
from ibis import Value

from features.arithmetic import as_money, count_where, ratio, sum_where
from features.customers.orders import Orders

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


def frequency_sums(known: Orders) -> dict[str, Value]:
    """The sums that ``frequency`` reads."""
    orders = known.orders
    return {
        "most_money": orders.money.max(),
        **{f"orders_{days}": count_where(orders, orders.ordered >= known.since(days)) for days in COUNTED_DAYS},
        **{f"spent_{days}": sum_where(orders.ordered >= known.since(days), orders.money) for days in SPENT_DAYS},
    }


def frequency(sums: ibis.Table) -> dict[str, Value]:
    """Numbers of orders, and money in the shop's currency."""
    return {
        "count_orders": sums.total_orders.cast("float64"),
        **{f"count_orders_{days}d": sums[f"orders_{days}"] for days in COUNTED_DAYS},
        "money_total": as_money(sums.total_money),
        **{f"money_{days}d": as_money(sums[f"spent_{days}"]) for days in SPENT_DAYS},
        "money_per_order": ratio(as_money(sums.total_money), sums.total_orders),
        "money_max_order": as_money(sums.most_money),
    }
