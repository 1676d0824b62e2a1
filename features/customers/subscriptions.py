"""Subscriptions: how many run, and when the next is due."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, count_where, microseconds
from features.customers.orders import Orders

READS = ("subscriptions",)
FEATURES = (
    "count_subscriptions",
    "count_subscriptions_paused",
    "count_subscriptions_cancelled",
    "days_to_renewal",
    "days_since_subscription_cancelled",
)


def subscriptions(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer who ever subscribed.

    ``count_subscriptions`` are those not cancelled, paused ones among them. ``days_to_renewal``: until the first of them that
    is still to come, null where none is announced.
    """
    rows = known["subscriptions"]
    rows = rows.select(
        "customer_id",
        renews=microseconds(rows.renews_at),
        paused=microseconds(rows.paused_at),
        cancelled=microseconds(rows.cancelled_at),
    )
    runs = rows.cancelled.isnull()
    none = ibis.null("int64")
    found = rows.group_by("customer_id").agg(
        count_subscriptions=count_where(rows, runs),
        count_subscriptions_paused=count_where(rows, runs & rows.paused.notnull()),
        count_subscriptions_cancelled=count_where(rows, rows.cancelled.notnull()),
        next=ibis.ifelse(runs & (rows.renews >= orders.now), rows.renews, none).min(),
        last=rows.cancelled.max(),
    )
    return found.mutate(
        days_to_renewal=(found["next"] - orders.now).cast("float64") / float(DAY),
        days_since_subscription_cancelled=(orders.now - found["last"]).cast("float64") / float(DAY),
    ).select("customer_id", *FEATURES)
