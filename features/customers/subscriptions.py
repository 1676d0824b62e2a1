"""Subscriptions: how many run, and when the next is due."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, count_where, microseconds
from features.customers.orders import Orders
from regulars.as_of import RECEIVED

READS = ("subscriptions",)
FEATURES = (
    "count_subscriptions",
    "count_subscriptions_paused",
    "count_subscriptions_cancelled",
    "days_to_renewal",
    "days_since_subscription_cancelled",
)


def announced_then(rows: ibis.Table) -> ibis.Table:
    """All versions of subscriptions, ``renews_at`` only where the row says when it was received.

    An export without that holds today's renewals, of cancelled subscriptions the last, and would tell the past who stayed.
    """
    return rows.mutate(renews_at=ibis.ifelse(rows[RECEIVED].notnull(), rows.renews_at, ibis.null("timestamp")))


def subscriptions(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer who ever subscribed.

    ``count_subscriptions`` are those not cancelled, paused ones among them. ``days_to_renewal``: until the first of them that
    is still to come, null where none is announced, or nobody says when it was (``announced_then``).
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
