"""What the families read: a customer's orders, order days and products in whole units. No features of its own.

A family of one order table says which sums over it it needs and what it makes of them, so that all of them take one pass.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import ibis
from ibis import Value

from features.arithmetic import DAY, count_where, day_number, microseconds, microseconds_at, money_units
from regulars.as_of import moment


@dataclass(frozen=True)
class Orders:
    """What was known just before a moment, of known customers.

    ``orders``: one row per customer and order: customer_id, order_id, ordered (microseconds since 1970 of the order's first
    line), money and discount (ten-thousandths), count_lines, count_discounted, has_coupon (truth value). ``days``: one row
    per customer and UTC day with an order: day, money. ``products`` and ``recent_products``: one row per customer and
    product, ever and in the last 90 days. ``now`` is the moment in microseconds.
    """

    orders: ibis.Table
    days: ibis.Table
    products: ibis.Table
    recent_products: ibis.Table
    now: int

    @property
    def today(self) -> int:
        """The UTC day of the moment, as days since 1970."""
        return self.now // DAY

    def since(self, days: float) -> int:
        """The microseconds since 1970 at ``days`` before the moment."""
        return self.now - int(days * DAY)


RECENT_DAYS = 90


def customer_orders(known: Mapping[str, ibis.Table], *, as_of: datetime) -> Orders:
    """The orders of customers in ``known`` (see ``regulars.as_of.known_tables``)."""
    rows = known["orders"]
    now = microseconds_at(as_of)
    lines = rows.filter(rows.customer_id.notnull()).select(
        "customer_id",
        "order_id",
        "product_id",
        "ordered_at",
        money=money_units(rows.quantity * rows.unit_price),
        discount=money_units(rows.discount),
        coupon_id=rows.coupon_id,
    )
    orders = lines.group_by(["customer_id", "order_id"]).agg(
        ordered=microseconds(lines.ordered_at.min()),
        money=lines.money.sum(),
        discount=lines.discount.sum(),
        count_lines=lines.count(),
        count_discounted=count_where(lines, lines.discount > 0),
        has_coupon=lines.coupon_id.count() > 0,
    )
    dated = orders.select("customer_id", "money", day=day_number(orders.ordered))
    recent = lines.filter(lines.ordered_at >= moment(as_of) - timedelta(days=RECENT_DAYS))
    return Orders(
        orders=orders,
        days=dated.group_by(["customer_id", "day"]).agg(money=dated.money.sum()),
        products=lines.select("customer_id", "product_id").distinct(),
        recent_products=recent.select("customer_id", "product_id").distinct(),
        now=now,
    )


def order_sums(known: Orders) -> dict[str, Value]:
    """The sums over a customer's orders that several families read."""
    orders = known.orders
    return {
        "first_ordered": orders.ordered.min(),
        "last_ordered": orders.ordered.max(),
        "total_orders": orders.count(),
        "total_lines": orders.count_lines.sum(),
        "total_money": orders.money.sum(),
    }
