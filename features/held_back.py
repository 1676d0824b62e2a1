"""Products that too many customers sent back for their quality."""

from datetime import datetime, timedelta

import pandas as pd

from regulars.as_of import Tables, known_tables, moment

WITHIN_DAYS = 180
LEAST_RETURNS, LEAST_SHARE = 5, 0.1


def held_back(tables: Tables, *, as_of: datetime) -> set[str]:
    """The ids of products not to be proposed: many were returned for their quality within the last 180 days.

    The rule: at least 5 returns whose reason is ``quality`` in [as_of - 180 days, as_of), and their quantity at least 10 %
    of what was sold in the same span. A return without a reason says nothing; without the tables nothing is held back.

    >>> from datetime import datetime, timezone
    >>> from features.examples import lake_rows, order_lines
    >>> sold = order_lines([(str(n), "ann", "tea", "2024-05-01", 1, 3.0) for n in range(20)])
    >>> back = [{"return_id": str(n), "order_id": str(n), "product_id": "tea", "returned_at": "2024-05-09", "quantity": 1,
    ...          "reason": "quality"} for n in range(5)]
    >>> held_back(sold | {"returns": lake_rows("returns", back)}, as_of=datetime(2024, 6, 1, tzinfo=timezone.utc))
    {'tea'}
    """
    if "returns" not in tables or "orders" not in tables:
        return set()
    known = known_tables({name: tables[name] for name in ("orders", "returns")}, as_of=as_of)
    start = moment(as_of - timedelta(days=WITHIN_DAYS))
    back, sold = known["returns"], known["orders"]
    back = back.filter((back.reason == "quality") & (back.returned_at >= start))
    back = back.group_by("product_id").agg(times=back.count(), returned=back.quantity.sum())
    many = back.filter(back.times >= LEAST_RETURNS).execute()
    if many.empty:
        return set()
    sold = sold.filter((sold.ordered_at >= start) & sold.product_id.isin(many["product_id"].tolist()))
    sums = sold.group_by("product_id").agg(sold=sold.quantity.sum()).execute()
    both: pd.DataFrame = many.merge(sums, on="product_id", how="left")
    wrong = both["returned"] >= LEAST_SHARE * both["sold"].fillna(0.0)
    return set(both.loc[wrong, "product_id"])
