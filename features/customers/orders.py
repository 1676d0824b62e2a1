"""What the families read: a customer's order lines, orders and order days in whole units. No features of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import ibis

from features.arithmetic import DAY, day_number, microseconds, microseconds_at, money_units


@dataclass(frozen=True)
class Orders:
    """What was known just before a moment.

    ``lines``: one row per order line of a known customer: customer_id, order_id, product_id, ordered (microseconds since
    1970 of the order's first line), money and discount (ten-thousandths), has_coupon. ``orders``: one row per customer and
    order. ``days``: one row per customer and UTC day with an order: day. ``now`` is the moment in microseconds.
    """

    lines: ibis.Table
    orders: ibis.Table
    days: ibis.Table
    now: int

    @property
    def today(self) -> int:
        """The UTC day of the moment, as days since 1970."""
        return self.now // DAY

    def since(self, days: float) -> int:
        """The microseconds since 1970 at ``days`` before the moment."""
        return self.now - int(days * DAY)


def customer_orders(known: Mapping[str, ibis.Table], *, as_of: datetime) -> Orders:
    """The orders of customers in ``known`` (see ``regulars.as_of.known_tables``)."""
    rows = known["orders"]
    lines = rows.filter(rows.customer_id.notnull()).select(
        "customer_id",
        "order_id",
        "product_id",
        at=microseconds(rows.ordered_at),
        money=money_units(rows.quantity * rows.unit_price),
        discount=money_units(rows.discount),
        has_coupon=rows.coupon_id.notnull().ifelse(1, 0),
    )
    of_order = ibis.window(group_by=["customer_id", "order_id"])
    lines = lines.mutate(ordered=lines["at"].min().over(of_order)).drop("at")
    orders = lines.group_by(["customer_id", "order_id", "ordered"]).agg(
        money=lines.money.sum(), has_coupon=lines.has_coupon.max()
    )
    days = orders.select("customer_id", day=day_number(orders.ordered)).distinct()
    return Orders(lines, orders, days, microseconds_at(as_of))
