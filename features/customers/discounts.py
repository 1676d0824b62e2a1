"""How much of what a customer buys is bought with discounts and coupons."""

import ibis

from features.arithmetic import count_where, ratio
from features.customers.orders import Orders

FEATURES = ("discount_share_lines", "discount_share_money", "coupon_share_orders", "count_coupons_90d")


def discounts(known: Orders) -> ibis.Table:
    """One row per customer. A line's discount is what was taken off; its price is as paid.

    ``discount_share_money`` is discounts over what would have been paid without them.
    """
    orders = known.orders
    both = orders.group_by("customer_id").agg(
        count_lines=orders.count_lines.sum(),
        discounted=orders.count_discounted.sum(),
        discount=orders.discount.sum(),
        money=orders.money.sum(),
        count_orders=orders.count(),
        with_coupon=orders.has_coupon.sum(),
        count_coupons_90d=count_where((orders.has_coupon == 1) & (orders.ordered >= known.since(90))),
    )
    return both.select(
        "customer_id",
        "count_coupons_90d",
        discount_share_lines=ratio(both.discounted, both.count_lines),
        discount_share_money=ratio(both.discount, both.money + both.discount),
        coupon_share_orders=ratio(both.with_coupon, both.count_orders),
    ).select("customer_id", *FEATURES)
