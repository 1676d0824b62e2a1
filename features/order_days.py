"""The days on which customers ordered: what the pace of a whole shop is read from."""

from datetime import datetime

import ibis
import pandas as pd

from features.customers.orders import customer_orders
from regulars.as_of import Tables, known_tables
from regulars.errors import MissingData

MOST_CUSTOMERS = 20_000


def order_days(tables: Tables, *, as_of: datetime, most_customers: int = MOST_CUSTOMERS) -> pd.DataFrame:
    """One row per customer and UTC day with an order known just before ``as_of``: customer_id, days_ago, both sorted.

    ``days_ago`` counts from the day of ``as_of`` (0 is that day itself). Of a shop with more than ``most_customers`` every
    second, third, ... customer is kept, evenly by id: shares and ratios hold, numbers do not.

    Raises:
        MissingData: where the shop has no orders table.

    >>> from datetime import datetime, timezone
    >>> from features.examples import order_lines
    >>> tables = order_lines([("1", "ann", "tea", "2024-05-01", 2, 3.0), ("2", "ann", "tea", "2024-05-21", 1, 4.0)])
    >>> order_days(tables, as_of=datetime(2024, 6, 1, tzinfo=timezone.utc))["days_ago"].tolist()
    [11, 31]
    """
    if "orders" not in tables:
        raise MissingData("order days need orders; import them first: regulars import orders FILE")
    known = customer_orders(known_tables({"orders": tables["orders"]}, as_of=as_of), as_of=as_of)
    ids = known.days.select("customer_id").distinct().execute()["customer_id"].sort_values(ignore_index=True)
    every = -(-len(ids) // most_customers)
    days = known.days
    if every > 1:
        kept = ibis.memtable(pd.DataFrame({"customer_id": ids[::every]}))
        days = days.semi_join(kept, "customer_id")
    found = days.mutate(days_ago=known.today - days.day).select("customer_id", "days_ago").execute()
    return found.sort_values(["customer_id", "days_ago"], ignore_index=True)
