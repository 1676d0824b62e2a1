"""A customer's orders and order days as expressions, which the families of service read. No features of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import ibis

from features.arithmetic import Moment, day_number, microseconds, microseconds_at


@dataclass(frozen=True)
class Orders(Moment):
    """What was known just before a moment, of known customers.

    ``orders``: one row per customer and order: customer_id, order_id, ordered (microseconds since 1970 of the order's first
    line), count_lines. ``days``: one row per customer and UTC day with an order: customer_id, day.
    """

    orders: ibis.Table
    days: ibis.Table


def customer_orders(known: Mapping[str, ibis.Table], *, as_of: datetime) -> Orders:
    """The orders of customers in ``known`` (see ``regulars.as_of.known_tables``)."""
    rows = known["orders"]
    lines = rows.filter(rows.customer_id.notnull()).select("customer_id", "order_id", "ordered_at")
    orders = lines.group_by(["customer_id", "order_id"]).agg(
        ordered=microseconds(lines.ordered_at.min()), count_lines=lines.count()
    )
    days = orders.select("customer_id", day=day_number(orders.ordered)).distinct()
    return Orders(orders=orders, days=days, now=microseconds_at(as_of))


def order_sums(known: Orders) -> ibis.Table:
    """One row per customer: customer_id, last_ordered (microseconds since 1970), total_orders, total_lines."""
    orders = known.orders
    return orders.group_by("customer_id").agg(
        last_ordered=orders.ordered.max(), total_orders=orders.count(), total_lines=orders.count_lines.sum()
    )
