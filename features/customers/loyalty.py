"""Points of a loyalty programme: the balance, and whether they are still collected and spent."""

from collections.abc import Mapping

import ibis

from features.arithmetic import DAY, UNITS, count_where, microseconds, money_units, sum_of
from features.customers.orders import Orders

READS = ("loyalty",)
FEATURES = ("points_balance", "points_90d", "count_points_spent_90d", "days_since_last_points")


def loyalty(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per member; points that were spent are negative, ``points_90d`` are those gained in the last 90 days."""
    rows = known["loyalty"]
    rows = rows.select("customer_id", at=microseconds(rows["at"]), points=money_units(rows.points))
    recent = rows["at"] >= orders.since(90)
    found = rows.group_by("customer_id").agg(
        balance=sum_of(rows.points),
        gained=sum_of(rows.points, recent & (rows.points > 0)),
        count_points_spent_90d=count_where(rows, recent & (rows.points < 0)),
        last=rows["at"].max(),
    )
    return found.mutate(
        points_balance=found.balance / float(UNITS),
        points_90d=found.gained / float(UNITS),
        days_since_last_points=(orders.now - found["last"]).cast("float64") / float(DAY),
    ).select("customer_id", *FEATURES)
