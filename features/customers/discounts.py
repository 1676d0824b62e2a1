"""How much of what a customer buys is bought with discounts and coupons."""

from features.customers.histories import Floats, Histories, quotient

FEATURES = ("discount_share_lines", "discount_share_money", "coupon_share_orders", "count_coupons_90d")


def discounts(of: Histories) -> dict[str, Floats]:
    """A line's discount is what was taken off; its price is as paid.

    ``discount_share_money`` is discounts over what would have been paid without them.
    """
    discount = of.lines.sums(of.discount)
    return {
        "discount_share_lines": quotient(of.lines.sums(of.discount > 0), of.lines.counts),
        "discount_share_money": quotient(discount, of.orders.sums(of.money) + discount),
        "coupon_share_orders": quotient(of.orders.sums(of.has_coupon), of.orders.counts),
        "count_coupons_90d": of.orders.sums(of.has_coupon & (of.ordered >= of.since(90))),
    }
