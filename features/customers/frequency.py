"""How often a customer ordered and how much was spent, ever and within windows [now - days, now)."""

import ibis

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
    "money_last_order",
    "money_max_order",
)


def frequency(known: Orders) -> ibis.Table:
    """One row per customer: numbers of orders, and money in the shop's currency.

    ``money_last_order`` is that of the last moment at which the customer ordered, be it one order or two.
    """
    orders = known.orders
    sums = orders.group_by("customer_id").agg(
        count_orders=orders.count().cast("float64"),
        total=orders.money.sum(),
        most=orders.money.max(),
        **{f"count_orders_{d}d": count_where(orders.ordered >= known.since(d)) for d in COUNTED_DAYS},
        **{f"spent_{d}": sum_where(orders.ordered >= known.since(d), orders.money) for d in SPENT_DAYS},
    )
    moments = orders.group_by(["customer_id", "ordered"]).agg(money=orders.money.sum())
    latest = moments.group_by("customer_id").agg(last=moments.money.argmax(moments.ordered))
    sums = sums.inner_join(latest, "customer_id")
    return sums.mutate(
        money_total=as_money(sums.total),
        money_per_order=ratio(as_money(sums.total), sums.count_orders),
        money_last_order=as_money(sums["last"]),
        money_max_order=as_money(sums.most),
        **{f"money_{d}d": as_money(sums[f"spent_{d}"]) for d in SPENT_DAYS},
    ).select("customer_id", *FEATURES)
