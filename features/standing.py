"""Who a customer is to the shop: life-cycle stage, RFM segment, loyalty tier and preferred category, by stated rules.

Source of RFM: Hughes, Strategic Database Marketing, 1994: fifths by recency, frequency and money.
"""

from collections.abc import Sequence
from datetime import datetime

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.as_of import Tables, known_at, known_tables
from regulars.slices import LakeTables
from regulars.tables import TABLES

STAGES = ("visitor", "lead", "first_order", "active", "loyal", "at_risk", "lapsed", "won_back")
FIFTHS = 5
# By fifths of recency (rows, oldest first) and frequency (columns, fewest first).
SEGMENTS = (
    ("hibernating", "hibernating", "slipping", "slipping", "cannot_lose"),
    ("hibernating", "hibernating", "slipping", "slipping", "cannot_lose"),
    ("promising", "needs_attention", "needs_attention", "loyal", "loyal"),
    ("new", "potential_loyal", "potential_loyal", "champion", "champion"),
    ("new", "potential_loyal", "potential_loyal", "champion", "champion"),
)
STANDING = (
    "stage",
    "rfm",
    "segment",
    "tier",
    "next_tier",
    "money_to_next_tier",
    "preferred_category",
)
STANDING_READS = (
    "days_since_last_order",
    "count_orders",
    "count_orders_365d",
    "gap_last_days",
    "money_total",
    "money_365d",
)

Tiers = Sequence[tuple[str, float]]


def customer_standing(
    tables: Tables, features: pd.DataFrame, *, as_of: datetime, lookback_days: int, loyal_orders: int, tiers: Tiers
) -> pd.DataFrame:
    """One row per customer that any table mentions, indexed by customer_id in order, with ``STANDING``.

    ``features``: the rows of ``customer_features`` at ``as_of``, for everybody who ever ordered. Stage: visitor (only seen
    browsing), lead (only known by name), first_order (one order), won_back (the last order came after a gap longer than the
    lookback), loyal (``loyal_orders`` or more within a year), active (all others), lapsed (no order in the lookback); at_risk
    is for ``stage_with_risk`` to say. ``rfm``: three digits, 5 the best fifth; customers of equal value share theirs.
    ``tier``: the highest whose yearly spend was reached in the last 365 days; ``next_tier`` and ``money_to_next_tier`` are
    null in the highest. Null where no order is known.
    """
    known = buyers_standing(
        tables, features, as_of=as_of, lookback_days=lookback_days, loyal_orders=loyal_orders, tiers=tiers
    )
    others = _without_order(tables, known.index, as_of=as_of).to_frame("stage").reindex(columns=list(STANDING))
    both = pd.concat([known, others.astype(object).where(others.notna(), None)])
    return both.sort_index().rename_axis("customer_id")


def buyers_standing(
    tables: Tables, features: pd.DataFrame, *, as_of: datetime, lookback_days: int, loyal_orders: int, tiers: Tiers
) -> pd.DataFrame:
    """The rows of ``customer_standing`` of who ever ordered; of ``features`` it needs customer_id and ``STANDING_READS``."""
    bought = features.set_index("customer_id").sort_index()
    since = bought["days_since_last_order"].to_numpy(float)
    recency, frequency, money = (
        fifths(values)
        for values in (-since, bought["count_orders"].to_numpy(float), bought["money_total"].to_numpy(float))
    )
    known = pd.DataFrame(index=bought.index)
    known["stage"] = _stages(bought, lookback_days=lookback_days, loyal_orders=loyal_orders)
    known["rfm"] = [f"{r}{f}{m}" for r, f, m in zip(recency, frequency, money, strict=True)]
    known["segment"] = [SEGMENTS[r - 1][f - 1] for r, f in zip(recency, frequency, strict=True)]
    known = known.join(tiers_of(bought["money_365d"], tiers))
    known["preferred_category"] = preferred_categories(tables, as_of=as_of).reindex(known.index)
    return known.astype(object).where(known.notna(), None).rename_axis("customer_id")


def stage_with_risk(stage: str, risk: str | None) -> str:
    """``stage``, or at_risk for a customer of high churn risk.

    >>> stage_with_risk("loyal", "high"), stage_with_risk("loyal", "low"), stage_with_risk("lapsed", None)
    ('at_risk', 'loyal', 'lapsed')
    """
    return "at_risk" if risk == "high" else stage


def fifths(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """1 to 5, 5 for the largest fifth; equal values share the fifth of their middle.

    >>> fifths(np.array([10.0, 20.0, 30.0, 40.0, 50.0])).tolist(), fifths(np.array([1.0, 1.0])).tolist()
    ([1, 2, 3, 4, 5], [3, 3])
    """
    if not len(values):
        return np.zeros(0, np.int64)
    middle = (pd.Series(values).rank(method="average").to_numpy() - 0.5) / len(values)
    return np.clip((middle * FIFTHS).astype(np.int64) + 1, 1, FIFTHS)


def tiers_of(spent: pd.Series, tiers: Tiers) -> pd.DataFrame:
    """Indexed as ``spent`` (money of a year): tier, next_tier, money_to_next_tier; tiers go from the lowest up.

    >>> tiers_of(pd.Series([0.0, 120.0, 999.0]), [("bronze", 0.0), ("silver", 100.0), ("gold", 500.0)]).values.tolist()
    [['bronze', 'silver', 100.0], ['silver', 'gold', 380.0], ['gold', None, nan]]
    """
    names, floors = [name for name, _ in tiers], np.array([floor for _, floor in tiers])
    money = np.maximum(spent.to_numpy(float), 0.0)
    place = np.clip(np.searchsorted(floors, money, side="right") - 1, 0, len(names) - 1)
    above = np.append(floors[1:], np.nan)[place]
    return pd.DataFrame(
        {
            "tier": pd.Series([names[at] for at in place], index=spent.index, dtype=object),
            "next_tier": pd.Series([[*names[1:], None][at] for at in place], index=spent.index, dtype=object),
            "money_to_next_tier": np.round(above - money, 2),
        },
        index=spent.index,
    )


def preferred_categories(tables: Tables, *, as_of: datetime) -> pd.Series:
    """Customer -> the category path of most of their order lines, the alphabetically first of equals; who has none is absent."""
    if "products" not in tables or "orders" not in tables:
        return pd.Series(dtype=object)
    lines, products = (known_at(tables[name], TABLES[name], as_of=as_of) for name in ("orders", "products"))
    named = lines.filter(lines.customer_id.notnull()).inner_join(
        products.filter(products.category.notnull()).select("product_id", "category"), "product_id"
    )
    counted = named.group_by(["customer_id", "category"]).agg(times=named.count())
    order = ibis.window(group_by="customer_id", order_by=[counted.times.desc(), counted.category])
    first = counted.mutate(place=ibis.row_number().over(order))
    first = first.filter(first.place == 0).select("customer_id", "category")
    rows = tables.read_in_slices(first) if isinstance(tables, LakeTables) else first.execute()
    return rows.set_index("customer_id")["category"]


def _stages(bought: pd.DataFrame, *, lookback_days: int, loyal_orders: int) -> NDArray[np.object_]:
    return np.select(
        [
            bought["days_since_last_order"] > lookback_days,
            bought["count_orders"] == 1,
            bought["gap_last_days"] > lookback_days,
            bought["count_orders_365d"] >= loyal_orders,
        ],
        ["lapsed", "first_order", "won_back", "loyal"],
        default="active",
    ).astype(object)


def _without_order(tables: Tables, bought: pd.Index, *, as_of: datetime) -> pd.Series:
    """Customer -> visitor or lead, for those who never ordered."""
    read = {name: tables[name] for name in ("customers", "events") if name in tables}
    known = known_tables(read, as_of=as_of)
    ids = {
        name: set(rows.filter(rows.customer_id.notnull()).select("customer_id").distinct().execute()["customer_id"])
        for name, rows in known.items()
    }
    leads = ids.get("customers", set())
    found = {customer: "lead" if customer in leads else "visitor" for customer in leads | ids.get("events", set())}
    stages = pd.Series(found, dtype=object)
    return stages[~stages.index.isin(bought)]
