"""How much of what a customer buys is bought with discounts and coupons."""

import ibis
from ibis import Value

from features.arithmetic import count_where, ratio
from features.customers.orders import Orders

FEATURES = ("discount_share_lines", "discount_share_money", "coupon_share_orders", "count_coupons_90d")


def discount_sums(known: Orders) -> dict[str, Value]:
    """The sums that ``discounts`` reads."""
    orders = known.orders
    return {
        "discounted_lines": orders.count_discounted.sum(),
        "total_discount": orders.discount.sum(),
        "orders_with_coupon": count_where(orders, orders.has_coupon),
        "coupons_90": count_where(orders, orders.has_coupon & (orders.ordered >= known.since(90))),
    }


def discounts(sums: ibis.Table) -> dict[str, Value]:
    """A line's discount is what was taken off; its price is as paid.

    ``discount_share_money`` is discounts over what would have been paid without them.
    """
    return {
        "discount_share_lines": ratio(sums.discounted_lines, sums.total_lines),
        "discount_share_money": ratio(sums.total_discount, sums.total_money + sums.total_discount),
        "coupon_share_orders": ratio(sums.orders_with_coupon, sums.total_orders),
        "count_coupons_90d": sums.coupons_90,
    }
