"""What a customer sent back, and for which reasons."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, count_where, microseconds, ratio
from features.customers.orders import Orders

READS = ("returns",)
FAULTS = ("quality", "damaged", "late")  # reasons that lie with the shop
FEATURES = (
    "count_returns",
    "count_returns_90d",
    "count_returns_since_order",
    "count_faulty_returns",
    "return_share_lines",
    "days_since_last_return",
)


def returned_lines(known: Mapping[str, ibis.Table], orders: Orders) -> ibis.Table:
    """One row per returned line of a known customer: customer_id, order_id, returned (microseconds), is_fault.

    Where a return names no customer, its order does.
    """
    rows = known["returns"]
    own = rows.filter(rows.customer_id.notnull()).select("customer_id", "order_id", "returned_at", "reason")
    others = rows.filter(rows.customer_id.isnull()).select("order_id", "returned_at", "reason")
    owners = orders.orders.select("customer_id", "order_id")
    found = others.inner_join(owners, "order_id").select("customer_id", "order_id", "returned_at", "reason")
    both = ibis.union(own, found)
    return both.select(
        "customer_id",
        "order_id",
        returned=microseconds(both.returned_at),
        is_fault=ibis.coalesce(both.reason.isin(FAULTS), False),
    )


def returns(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer with a return; ``sums`` are those of ``order_sums``.

    ``count_returns_since_order`` counts what came back at or after the last order. ``return_share_lines`` is returned lines
    over ordered ones. ``count_faulty_returns``: for quality, damage or lateness.
    """
    lines = returned_lines(known, orders).inner_join(
        sums.select("customer_id", "last_ordered", "total_lines"), "customer_id"
    )
    counted = lines.group_by(["customer_id", "total_lines"]).agg(
        count_returns=lines.count().cast("float64"),
        count_returns_90d=count_where(lines, lines.returned >= orders.since(90)),
        count_returns_since_order=count_where(lines, lines.returned >= lines.last_ordered),
        count_faulty_returns=count_where(lines, lines.is_fault),
        last=lines.returned.max(),
    )
    return counted.mutate(
        return_share_lines=ratio(counted.count_returns, counted.total_lines),
        days_since_last_return=(orders.now - counted["last"]).cast("float64") / float(DAY),
    ).select("customer_id", *FEATURES)
