"""Wish lists: what a customer put aside for later."""

import ibis
from ibis import Value

from features.arithmetic import DAY, count_where
from features.customers.orders import Orders

REMOVED = ("Product Removed from Wishlist",)
FEATURES = ("count_wishes", "count_wishes_30d", "days_since_last_wish")


def wish_sums(rows: ibis.Table, orders: Orders) -> dict[str, Value]:
    """The sums over ``visits`` that ``wishes`` reads."""
    wished = rows.kind == "wish"
    return {
        "wished": count_where(rows, wished),
        "unwished": count_where(rows, rows.name.isin(REMOVED)),
        "wished_30": count_where(rows, wished & (rows["at"] >= orders.since(30))),
        "last_wish": ibis.ifelse(wished, rows["at"], ibis.null("int64")).max(),
    }


def wishes(sums: ibis.Table, orders: Orders) -> dict[str, Value]:
    """What is still on the list, at least 0; what was added in the last 30 days; days since the last addition."""
    return {
        "count_wishes": ibis.greatest(sums.wished - sums.unwished, 0.0),
        "count_wishes_30d": sums.wished_30,
        "days_since_last_wish": (orders.now - sums.last_wish).cast("float64") / float(DAY),
    }
