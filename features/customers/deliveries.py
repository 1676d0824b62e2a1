"""Parcels against what was promised."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, count_where, dated, latest, microseconds, ratio, sum_of
from features.customers.orders import Orders

READS = ("deliveries",)
MINUTE = DAY // 1_440
MINUTES_A_DAY = 1_440.0
AWAITED_DAYS = 30
LATE_MINUTES = 1_440  # a parcel is late from one day behind the promise on
FEATURES = (
    "count_late_parcels",
    "count_late_parcels_90d",
    "late_parcel_share",
    "days_late_last_parcel",
    "days_late_max",
    "days_to_deliver_mean",
)


def parcels(known: Mapping[str, ibis.Table], orders: Orders) -> ibis.Table:
    """One row per order with a delivery: customer_id, order_id, ordered, promised, minutes_late, minutes_to_deliver, is_late.

    ``minutes_late``: arrival minus promise, negative for early ones. A parcel on its way is as late as it is now, up to 30
    days after the promise; beyond that its arrival was not recorded, and nothing is known. Null without a promise, or as
    long as it has not passed. ``is_late``: by a day or more, null where ``minutes_late`` is.
    """
    rows = known["deliveries"].select(
        "order_id",
        promised=microseconds(known["deliveries"].promised_at),
        delivered=microseconds(known["deliveries"].delivered_at),
    )
    joined = orders.orders.select("customer_id", "order_id", "ordered").inner_join(rows, "order_id")
    awaited = (joined.promised < orders.now) & (joined.promised >= orders.since(AWAITED_DAYS))
    arrival = ibis.coalesce(joined.delivered, ibis.ifelse(awaited, orders.now, ibis.null("int64")))
    joined = joined.mutate(
        minutes_late=_minutes(arrival - joined.promised), minutes_to_deliver=_minutes(joined.delivered - joined.ordered)
    )
    return joined.mutate(is_late=joined.minutes_late >= LATE_MINUTES)


def deliveries(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer with a delivery: numbers of parcels and days.

    ``days_late_last_parcel`` is that of the newest order of which it is known. ``count_late_parcels_90d``: ordered in the last
    90 days.
    """
    rows = parcels(known, orders)
    found = rows.group_by("customer_id").agg(
        count_late_parcels=count_where(rows, rows.is_late),
        count_late_parcels_90d=count_where(rows, rows.is_late & (rows.ordered >= orders.since(90))),
        judged=rows.minutes_late.count(),
        last=latest(dated(rows.ordered, rows.minutes_late)),
        worst=rows.minutes_late.max(),
        waited=sum_of(rows.minutes_to_deliver),
        arrived=rows.minutes_to_deliver.count(),
    )
    return found.mutate(
        late_parcel_share=ratio(found.count_late_parcels, found.judged),
        days_late_last_parcel=found["last"] / MINUTES_A_DAY,
        days_late_max=found.worst.cast("float64") / MINUTES_A_DAY,
        days_to_deliver_mean=ratio(found.waited, found.arrived) / MINUTES_A_DAY,
    ).select("customer_id", *FEATURES)


def _minutes(micros: ibis.Value) -> ibis.Value:
    return (micros / float(MINUTE)).floor().cast("int64")
