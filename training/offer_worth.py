"""What offers cost and what an outcome is worth, as known at a moment."""

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from regulars.as_of import Tables, known_tables
from regulars.models.offers import TERMS, Worth

LEAST_COVERED = 0.8


def offer_terms(tables: Tables, *, as_of: datetime, offers: Sequence[str] = ()) -> pd.DataFrame:
    """Kind, value, cost (money, null where not said) and category of every known offer, and of ``offers``, by offer_id."""
    if "offers" not in tables:
        return pd.DataFrame(
            {"kind": None, "value": float("nan"), "cost": float("nan"), "category": None},
            index=pd.Index(list(offers), name="offer_id"),
        )
    known = known_tables({"offers": tables["offers"]}, as_of=as_of)["offers"]
    found = known.select("offer_id", *TERMS).execute().set_index("offer_id").sort_index()
    more = [name for name in offers if name not in found.index]
    return found.reindex(found.index.append(pd.Index(more)).rename("offer_id"))


def worth_of(tables: Tables, *, as_of: datetime, outcome: str) -> Worth:
    """Money that one unit of the outcome brings: on average where it was recorded, 1 where that was never said.

    The margin is that of all orders, where products' costs are known for four fifths of the revenue; else 1.
    """
    known = known_tables(tables, as_of=as_of)
    margin = _margin(known)
    if outcome == "revenue":
        return Worth(1.0, margin)
    if outcome == "retained":
        orders = known["orders"]
        paid = orders.group_by("order_id").agg(
            money=(orders.quantity * orders.unit_price * 10_000).round().cast("int64").sum()
        )
        return Worth(float(paid.money.sum().execute()) / 10_000 / max(1, int(paid.count().execute())), margin)
    if "outcomes" not in known:
        return Worth(1.0, 1.0)
    outcomes = known["outcomes"].filter(known["outcomes"].kind == outcome)
    brought = outcomes.revenue.mean().execute()
    return Worth(float(brought), margin) if pd.notna(brought) and brought else Worth(1.0, 1.0)


def _margin(known: Tables) -> float:
    """The share of revenue that products' costs leave; 1 where costs are hardly known, or leave nothing."""
    if "orders" not in known or "products" not in known:
        return 1.0
    costs = known["products"].select("product_id", "cost")
    lines = known["orders"].inner_join(costs.filter(costs.cost.notnull()), "product_id")
    covered = lines.aggregate(
        paid=(lines.quantity * lines.unit_price * 10_000).round().cast("int64").sum(),
        cost=(lines.quantity * lines.cost * 10_000).round().cast("int64").sum(),
    ).execute()
    orders = known["orders"]
    whole = (orders.quantity * orders.unit_price * 10_000).round().cast("int64").sum().execute()
    paid, cost = covered["paid"].iloc[0], covered["cost"].iloc[0]
    if pd.isna(paid) or not whole or paid < LEAST_COVERED * whole or cost >= paid:
        return 1.0
    return float(1 - cost / paid)
