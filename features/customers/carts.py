"""A cart left behind: what was put into it since the last order."""

import ibis
from ibis import Value

from features.arithmetic import DAY, count_where
from features.customers.orders import Orders

REMOVED = ("Product Removed", "remove_from_cart")
FEATURES = ("count_left_in_cart", "days_since_left_in_cart")


def cart_sums(rows: ibis.Table) -> dict[str, Value]:
    """The sums over ``visits`` that ``carts`` reads."""
    since = rows["at"] >= rows.last_ordered
    added = since & (rows.kind == "cart")
    return {
        "added": count_where(rows, added),
        "removed": count_where(rows, since & rows.name.isin(REMOVED)),
        "last_added": ibis.ifelse(added, rows["at"], ibis.null("int64")).max(),
    }


def carts(sums: ibis.Table, orders: Orders) -> dict[str, Value]:
    """What was added less what was removed since the last order, at least 0; days since the last addition, null without one."""
    left = ibis.greatest(sums.added - sums.removed, 0.0)
    since = (orders.now - sums.last_added).cast("float64") / float(DAY)
    return {
        "count_left_in_cart": left,
        "days_since_left_in_cart": ibis.ifelse(left > 0, since, ibis.null("float64")),
    }
