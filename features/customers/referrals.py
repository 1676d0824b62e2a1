"""Who brought new customers, and who was brought."""

from collections.abc import Mapping

import ibis

from features.customers.orders import Orders

READS = ("customers",)
FEATURES = ("count_referrals", "was_referred")


def referrals(known: Mapping[str, ibis.Table], orders: Orders, sums: ibis.Table) -> ibis.Table:
    """One row per customer who brought somebody or was brought: how many they brought, and 1 where they were brought."""
    rows = known["customers"].filter(known["customers"].referred_by.notnull())
    brought = rows.group_by(customer_id="referred_by").agg(count_referrals=rows.count().cast("float64"))
    were = rows.select("customer_id", was_referred=ibis.literal(1.0, "float64"))
    everybody = ibis.union(brought.select("customer_id"), were.select("customer_id"), distinct=True)
    joined = everybody.left_join(brought, "customer_id").drop("customer_id_right")
    joined = joined.left_join(were, "customer_id").drop("customer_id_right")
    return joined.select(
        "customer_id",
        count_referrals=ibis.coalesce(joined.count_referrals, 0.0),
        was_referred=ibis.coalesce(joined.was_referred, 0.0),
    )
