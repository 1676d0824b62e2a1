"""How long ago a customer ordered first and last."""

import ibis

from features.arithmetic import DAY
from features.customers.orders import Orders

FEATURES = ("days_since_last_order", "days_since_first_order")


def recency(known: Orders) -> ibis.Table:
    """One row per customer: days, fractions included, since the last and the first order."""
    per_customer = known.orders.group_by("customer_id").agg(
        last=known.orders.ordered.max(), first=known.orders.ordered.min()
    )
    return per_customer.select(
        "customer_id",
        days_since_last_order=(known.now - per_customer.last).cast("float64") / float(DAY),
        days_since_first_order=(known.now - per_customer.first).cast("float64") / float(DAY),
    )
