"""The public door: every family of customer features in one table."""

from datetime import datetime

import ibis
import pandas as pd

from features.customers import breadth, discounts, frequency, recency, recent_rhythm, rhythm, season
from features.customers.orders import customer_orders, order_sums
from regulars.as_of import Tables, known_at
from regulars.errors import MissingData
from regulars.slices import LakeTables
from regulars.tables import TABLES

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
    known = {
        name: known_at(tables[name], TABLES[name], as_of=as_of) for name in ("orders", "products") if name in tables
    }
    orders = customer_orders(known, as_of=as_of)
    sums = orders.orders.group_by("customer_id").agg(
        **order_sums(orders),
        **frequency.frequency_sums(orders),
        **discounts.discount_sums(orders),
        **season.season_sums(orders),
    )
    ratio = season.shop_order_ratio(tables, as_of=as_of)
    built = sums.select(
        "customer_id",
        **recency.recency(orders, sums),
        **frequency.frequency(sums),
        **discounts.discounts(sums),
        **season.season(orders, sums, as_of=as_of, shop_ratio=ratio),
    )
    for family in (
        rhythm.rhythm(orders),
        recent_rhythm.recent_rhythm(orders),
        breadth.breadth(orders, sums, known.get("products")),
    ):
        built = built.inner_join(family, "customer_id")
    return built.select("customer_id", *FEATURES)


def read_customer_features(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """The rows of ``customer_features``, a slice of customers at a time where the lake is large; in no order.

    Raises:
        MissingData: where the shop has no orders table.
    """
    built = customer_features(tables, as_of=as_of)
    rows: pd.DataFrame = tables.read_in_slices(built) if isinstance(tables, LakeTables) else built.execute()
    return rows
