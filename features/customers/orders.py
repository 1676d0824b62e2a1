"""What the families read: a customer's orders, products and order days in whole units. No features of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import ibis

from features.arithmetic import DAY, count_where, day_number, microseconds, microseconds_at, money_units


@dataclass(frozen=True)
class Orders:
    """What was known just before a moment, of known customers.

    ``orders``: one row per customer and order: customer_id, order_id, ordered (microseconds since 1970 of the order's first
    line), money and discount (ten-thousandths), count_lines, count_discounted, has_coupon. ``products``: one row per
    customer and product: first and last (``ordered`` of its first and last order), count_lines, and count_first, those of
    its first order. ``days``: one row per customer and UTC day with an order: day. ``now`` is the moment in microseconds.
    """

    orders: ibis.Table
    products: ibis.Table
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
    orders = lines.group_by(["customer_id", "order_id"]).agg(
        ordered=lines["at"].min(),
        money=lines.money.sum(),
        discount=lines.discount.sum(),
        count_lines=lines.count(),
        count_discounted=count_where(lines.discount > 0),
        has_coupon=lines.has_coupon.max(),
    )
    days = orders.select("customer_id", day=day_number(orders.ordered)).distinct()
    return Orders(orders, _products(lines, orders), days, microseconds_at(as_of))


def _products(lines: ibis.Table, orders: ibis.Table) -> ibis.Table:
    times = orders.select("customer_id", "order_id", "ordered")
    timed = lines.select("customer_id", "order_id", "product_id").inner_join(times, ["customer_id", "order_id"])
    apart = timed.group_by(["customer_id", "product_id", "ordered"]).agg(count_lines=timed.count())
    return apart.group_by(["customer_id", "product_id"]).agg(
        first=apart.ordered.min(),
        last=apart.ordered.max(),
        count_lines=apart.count_lines.sum(),
        count_first=apart.count_lines.argmin(apart.ordered),
    )
