"""Orders that went wrong, whatever it was: a late parcel, a return for a fault, a ticket; and how many came in a row."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, count_where, microseconds, ratio
from features.customers.deliveries import parcels
from features.customers.orders import Orders
from features.customers.returns import returned_lines

READS_ANY = ("deliveries", "returns", "tickets")
TICKET_DAYS = 14  # a ticket is about the orders of the days before it
FEATURES = ("count_bad_orders", "count_bad_orders_90d", "bad_order_share", "count_bad_orders_in_a_row")


def incidents(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer with an order that went wrong; ``sums`` are those of ``order_sums``.

    Wrong: the parcel came, or is, a day late or more; a line of it came back for quality, damage or lateness; or a ticket
    was opened within 14 days after it. ``count_bad_orders_in_a_row``: orders that went wrong since the last that did not.
    """
    wrong = ibis.union(*_wrong(known, orders), distinct=True)
    bad = orders.orders.select("customer_id", "order_id", "ordered").inner_join(wrong, ["customer_id", "order_id"])
    counted = bad.group_by("customer_id").agg(
        count_bad_orders=bad.count().cast("float64"),
        count_bad_orders_90d=count_where(bad, bad.ordered >= orders.since(90)),
    )
    own = orders.orders.semi_join(counted, "customer_id").select("customer_id", "order_id", "ordered")
    good = own.anti_join(wrong, ["customer_id", "order_id"])
    last = good.group_by("customer_id").agg(last_good=good.ordered.max())
    newest = bad.left_join(last, "customer_id").drop("customer_id_right")
    newest = newest.filter(newest.last_good.isnull() | (newest.ordered > newest.last_good))
    row = newest.group_by("customer_id").agg(count_bad_orders_in_a_row=newest.count().cast("float64"))
    found = counted.inner_join(sums.select("customer_id", "total_orders"), "customer_id")
    found = found.left_join(row, "customer_id").drop("customer_id_right")
    return found.mutate(
        bad_order_share=ratio(found.count_bad_orders, found.total_orders),
        count_bad_orders_in_a_row=ibis.coalesce(found.count_bad_orders_in_a_row, 0.0),
    ).select("customer_id", *FEATURES)


def _wrong(known: Mapping[str, ibis.Table], orders: Orders) -> list[ibis.Table]:
    """One table per kind of incident: customer_id and order_id."""
    parts = []
    if "deliveries" in known:
        rows = parcels(known, orders)
        parts.append(rows.filter(rows.is_late).select("customer_id", "order_id"))
    if "returns" in known:
        rows = returned_lines(known, orders)
        parts.append(rows.filter(rows.is_fault & rows.order_id.notnull()).select("customer_id", "order_id"))
    if "tickets" in known:
        asked = known["tickets"].select("customer_id", opened=microseconds(known["tickets"].opened_at))
        pairs = orders.orders.select("customer_id", "order_id", "ordered").inner_join(asked, "customer_id")
        near = (pairs.opened >= pairs.ordered) & (pairs.opened < pairs.ordered + TICKET_DAYS * DAY)
        parts.append(pairs.filter(near).select("customer_id", "order_id"))
    return parts if len(parts) > 1 else [*parts, *parts]
