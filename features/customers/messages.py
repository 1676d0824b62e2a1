"""What the shop sent to a customer, and whether it was opened: interest, and contact fatigue."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, count_where, microseconds, ratio
from features.customers.orders import Orders

READS = ("messages",)
FEATURES = (
    "count_messages_30d",
    "count_messages_90d",
    "message_open_share_90d",
    "message_click_share_90d",
    "count_messages_since_opened",
    "days_since_last_opened",
    "count_unsubscribes",
    "days_since_unsubscribed",
)


def messages(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer who was written to.

    Shares are of the messages sent in the last 90 days, null without any. ``count_messages_since_opened``: sent after the last
    one that was opened, all of them where none was.
    """
    rows = known["messages"]
    rows = rows.select(
        "customer_id",
        sent=microseconds(rows.sent_at),
        opened=microseconds(rows.opened_at),
        clicked=microseconds(rows.clicked_at),
        left=microseconds(rows.unsubscribed_at),
    )
    recent = rows.sent >= orders.since(90)
    none = ibis.null("int64")
    found = rows.group_by("customer_id").agg(
        count_messages_30d=count_where(rows, rows.sent >= orders.since(30)),
        count_messages_90d=count_where(rows, recent),
        opened_90=count_where(rows, recent & rows.opened.notnull()),
        clicked_90=count_where(rows, recent & rows.clicked.notnull()),
        last_opened=rows.opened.max(),
        last_read=ibis.ifelse(rows.opened.notnull(), rows.sent, none).max(),
        count_unsubscribes=rows.left.count().cast("float64"),
        last_left=rows.left.max(),
    )
    after = rows.select("customer_id", "sent").inner_join(found.select("customer_id", "last_read"), "customer_id")
    after = after.filter(after.last_read.isnull() | (after.sent > after.last_read))
    unread = after.group_by("customer_id").agg(unread=after.count().cast("float64"))
    found = found.left_join(unread, "customer_id").drop("customer_id_right")
    return found.mutate(
        message_open_share_90d=ratio(found.opened_90, found.count_messages_90d),
        message_click_share_90d=ratio(found.clicked_90, found.count_messages_90d),
        count_messages_since_opened=ibis.coalesce(found.unread, 0.0),
        days_since_last_opened=(orders.now - found.last_opened).cast("float64") / float(DAY),
        days_since_unsubscribed=(orders.now - found.last_left).cast("float64") / float(DAY),
    ).select("customer_id", *FEATURES)
