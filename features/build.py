"""The public door: every family of customer features in one table."""

from datetime import datetime

import ibis

from features.customers import breadth, discounts, frequency, recency, recent_rhythm, rhythm, season
from features.customers.orders import customer_orders
from regulars.as_of import Tables, known_tables
from regulars.errors import MissingData

FEATURES: tuple[str, ...] = (
    *recency.FEATURES,
    *frequency.FEATURES,
    *rhythm.FEATURES,
    *recent_rhythm.FEATURES,
    *breadth.FEATURES,
    *discounts.FEATURES,
    *season.FEATURES,
)


def customer_features(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """One row per customer with an order known just before ``as_of``: customer_id and ``FEATURES``, all float64.

    Days are counted to ``as_of`` with fractions, money is in the shop's currency, windows are [as_of - days, as_of).
    A feature that is not defined for a customer is null.

    Raises:
        MissingData: where the shop has no orders table.

    >>> from datetime import datetime, timezone
    >>> from features.examples import order_lines
    >>> tables = order_lines([("1", "ann", "tea", "2024-05-01", 2, 3.0), ("2", "ann", "tea", "2024-05-21", 1, 4.0)])
    >>> row = customer_features(tables, as_of=datetime(2024, 6, 1, tzinfo=timezone.utc)).execute().iloc[0]
    >>> [float(row[name]) for name in ("count_orders", "money_total", "days_since_last_order", "gap_mean_days")]
    [2.0, 10.0, 11.0, 20.0]
    """
    if "orders" not in tables:
        raise MissingData("customer features need orders; import them first: regulars import orders FILE")
    read = {name: tables[name] for name in ("orders", "events", "products") if name in tables}
    known = known_tables(read, as_of=as_of)
    orders = customer_orders(known, as_of=as_of)
    built = recency.recency(orders)
    for family in (
        frequency.frequency(orders),
        rhythm.rhythm(orders),
        recent_rhythm.recent_rhythm(orders),
        breadth.breadth(orders, known),
        discounts.discounts(orders),
        season.season(orders, as_of=as_of),
    ):
        built = built.inner_join(family, "customer_id")
    return built.select("customer_id", *FEATURES)
