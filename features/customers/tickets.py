"""A customer's complaints and questions: how many, how fast they were answered, how it ended."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, SECOND, count_where, microseconds, ratio, sum_of
from features.customers.orders import Orders

READS = ("tickets",)
OPEN_DAYS = 90
THOUSANDTHS = 1_000.0
HOUR_S = 3_600.0
FEATURES = (
    "count_tickets",
    "count_tickets_90d",
    "count_tickets_since_order",
    "count_open_tickets",
    "hours_to_first_response_mean",
    "hours_to_resolution_mean",
    "ticket_satisfaction_mean",
    "days_since_last_ticket",
)


def tickets(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer with a ticket; ``sums`` are those of ``order_sums``.

    Hours count from opening, over tickets that were answered or resolved by now. ``count_open_tickets``: opened in the last 90
    days and not resolved. ``ticket_satisfaction_mean`` is 0-1, over those that were rated.
    """
    rows = known["tickets"]
    rows = rows.select(
        "customer_id",
        opened=microseconds(rows.opened_at),
        answered=microseconds(rows.first_response_at),
        resolved=microseconds(rows.resolved_at),
        satisfaction=(rows.satisfaction * THOUSANDTHS).round().cast("int64"),
    )
    rows = rows.inner_join(sums.select("customer_id", "last_ordered"), "customer_id")
    rows = rows.mutate(
        first=_seconds(rows.answered - rows.opened),
        whole=_seconds(rows.resolved - rows.opened),
    )
    found = rows.group_by("customer_id").agg(
        count_tickets=rows.count().cast("float64"),
        count_tickets_90d=count_where(rows, rows.opened >= orders.since(90)),
        count_tickets_since_order=count_where(rows, rows.opened >= rows.last_ordered),
        count_open_tickets=count_where(rows, rows.resolved.isnull() & (rows.opened >= orders.since(OPEN_DAYS))),
        last=rows.opened.max(),
        **{f"sum_{name}": sum_of(rows[name]) for name in ("first", "whole", "satisfaction")},
        **{f"times_{name}": rows[name].count() for name in ("first", "whole", "satisfaction")},
    )
    return found.mutate(
        hours_to_first_response_mean=ratio(found.sum_first, found.times_first) / HOUR_S,
        hours_to_resolution_mean=ratio(found.sum_whole, found.times_whole) / HOUR_S,
        ticket_satisfaction_mean=ratio(found.sum_satisfaction, found.times_satisfaction) / THOUSANDTHS,
        days_since_last_ticket=(orders.now - found["last"]).cast("float64") / float(DAY),
    ).select("customer_id", *FEATURES)


def _seconds(micros: ibis.Value) -> ibis.Value:
    return (micros / float(SECOND)).floor().cast("int64")
