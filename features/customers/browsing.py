"""Looking around: how much lately, and how much since the last order without buying."""

import ibis
from ibis import Value

from features.arithmetic import DAY, count_where
from features.customers.orders import Orders

FEATURES = (
    "count_views_7d",
    "count_views_30d",
    "count_visit_days_30d",
    "count_views_since_order",
    "days_since_last_visit",
)


def browsing_sums(rows: ibis.Table, orders: Orders) -> dict[str, Value]:
    """The sums over ``visits`` that ``browsing`` reads."""
    viewed = rows.kind == "view"
    recent = rows["at"] >= orders.since(30)
    return {
        "views_7": count_where(rows, viewed & (rows["at"] >= orders.since(7))),
        "views_30": count_where(rows, viewed & recent),
        "visit_days": ibis.ifelse(recent, rows.day, ibis.null("int64")).nunique(),
        "views_since": count_where(rows, viewed & (rows["at"] >= rows.last_ordered)),
        "last_visit": rows["at"].max(),
    }


def browsing(sums: ibis.Table, orders: Orders) -> dict[str, Value]:
    """Numbers of product views and of UTC days with any event; days since the last event."""
    return {
        "count_views_7d": sums.views_7,
        "count_views_30d": sums.views_30,
        "count_visit_days_30d": sums.visit_days.cast("float64"),
        "count_views_since_order": sums.views_since,
        "days_since_last_visit": (orders.now - sums.last_visit).cast("float64") / float(DAY),
    }
