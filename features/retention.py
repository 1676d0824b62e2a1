"""Retention figures of a shop, by month, cohort, country or channel.

A customer is active at a moment who ordered in the ``active_days`` before it. Of a span with B active customers at its start
and E at its end, N of whom were not active at its start, ((E - N) / B) x 100 is the customer retention rate; what is missing
to 100 is the churn rate.

Source: Farris, Bendle, Pfeifer & Reibstein, Marketing Metrics, 4th edition, 2020, chapter 5; the Net Promoter Score: Reichheld,
The One Number You Need to Grow, Harvard Business Review, December 2003.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

import numpy as np
import pandas as pd

from features.arithmetic import UNITS, money_units
from regulars.as_of import Tables, known_tables, moment
from regulars.errors import MissingData
from regulars.slices import LakeTables

By = Literal["month", "cohort", "country", "channel"]
ACTIVE_DAYS = 90
NOT_KNOWN = "not known"
PROMOTERS, DETRACTORS = 9, 6
COLUMNS = (
    "group",
    "customers_at_start",
    "customers_at_end",
    "customers_new",
    "retention_rate",
    "churn_rate",
    "customers",
    "orders",
    "repeat_purchase_rate",
    "average_order_value",
    "lifetime_value",
    "nps",
)


def retention(tables: Tables, *, as_of: datetime, by: By = "month", active_days: int = ACTIVE_DAYS) -> pd.DataFrame:
    """One row per month (``YYYY-MM``, UTC), month of the first order, country, or channel of the first order: ``COLUMNS``.

    Only what was known just before ``as_of``. The span is the month, the last one until ``as_of``; of a cohort it is from the
    end of its month to ``as_of``, of countries and channels the last ``active_days``. ``customers`` and ``orders`` are those in
    the span (cohort, country, channel: ever), of which ``repeat_purchase_rate`` (customers with two orders or more by its end)
    and ``average_order_value`` are; ``lifetime_value`` is the mean of what all customers of the group, by then, ever spent;
    ``nps`` is promoters (9 and 10) minus detractors (6 and less) of the answers in the span (others: ever). Rates in percent,
    money in the shop's currency, null where nothing is to be divided by.

    Raises:
        MissingData: where the shop has no orders of known customers.
    """
    if "orders" not in tables:
        raise MissingData("retention needs orders; import them first: regulars import orders FILE")
    orders = _orders(tables, as_of=as_of)
    if orders.empty:
        raise MissingData(f"no order of a customer is known before {as_of.isoformat()}; give a later --as-of")
    surveys = _surveys(tables, as_of=as_of)
    end, days = pd.Timestamp(moment(as_of)), pd.Timedelta(days=active_days)
    if by == "month":
        rows = [
            _figures(name, orders[orders["at"] < stop], surveys[surveys["at"] < stop], start, stop, days)
            for name, start, stop in _months(orders["at"].min(), end)
        ]
        return pd.DataFrame(rows, columns=list(COLUMNS))
    groups = _groups(tables, orders, by, as_of=as_of)
    orders = orders.assign(group=orders["customer_id"].map(groups))
    surveys = surveys.assign(group=surveys["customer_id"].map(groups))
    rows = []
    for name, own in orders.groupby("group", sort=True):
        start = min(pd.Timestamp(f"{name}-01") + pd.DateOffset(months=1), end) if by == "cohort" else end - days
        answered = surveys[surveys["group"] == name]
        rows.append(_figures(str(name), own, answered, start, end, days, ever=True))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _figures(
    name: str,
    orders: pd.DataFrame,
    surveys: pd.DataFrame,
    start: pd.Timestamp,
    end: pd.Timestamp,
    days: pd.Timedelta,
    *,
    ever: bool = False,
) -> dict[str, Any]:
    """The row of one group: ``orders`` and ``surveys`` are all of it before ``end``."""
    at = orders["at"]
    before, after = (set(orders.loc[(at >= till - days) & (at < till), "customer_id"]) for till in (start, end))
    kept = 100.0 * len(before & after) / len(before) if before else None
    inside = orders if ever else orders[at >= start]
    ids = inside["customer_id"].unique()
    times = orders.groupby("customer_id").size()
    said = surveys["score"] if ever else surveys.loc[surveys["at"] >= start, "score"]
    return {
        "group": name,
        "customers_at_start": len(before),
        "customers_at_end": len(after),
        "customers_new": len(after - before),
        "retention_rate": kept,
        "churn_rate": None if kept is None else 100.0 - kept,
        "customers": len(ids),
        "orders": len(inside),
        "repeat_purchase_rate": 100.0 * float((times[ids] > 1).mean()) if len(ids) else None,
        "average_order_value": _mean(inside["money"]),
        "lifetime_value": float(orders["money"].sum()) / UNITS / len(times) if len(times) else None,
        "nps": 100.0 * float((said >= PROMOTERS).mean() - (said <= DETRACTORS).mean()) if len(said) else None,
    }


def _mean(units: pd.Series) -> float | None:
    return float(units.mean()) / UNITS if len(units) else None


def _months(first: pd.Timestamp, end: pd.Timestamp) -> Iterator[tuple[str, pd.Timestamp, pd.Timestamp]]:
    start = first.normalize().replace(day=1)
    while start < end:
        following = start + pd.DateOffset(months=1)
        yield f"{start:%Y-%m}", start, min(following, end)
        start = following


def _orders(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """One row per order of a customer: customer_id, order_id, at, money (ten-thousandths), channel; oldest first."""
    known = known_tables({"orders": tables["orders"]}, as_of=as_of)["orders"]
    lines = known.filter(known.customer_id.notnull())
    lines = lines.select(
        "customer_id", "order_id", "ordered_at", "channel", units=money_units(lines.quantity * lines.unit_price)
    )
    each = lines.group_by(["customer_id", "order_id"]).agg(
        at=lines.ordered_at.min(), money=lines.units.sum(), channel=lines.channel.min()
    )
    rows = tables.read_in_slices(each) if isinstance(tables, LakeTables) else each.execute()
    return rows.sort_values(["at", "customer_id", "order_id"], ignore_index=True)


def _surveys(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    if "surveys" not in tables:
        return pd.DataFrame({"customer_id": [], "at": pd.to_datetime([]), "score": np.zeros(0)})
    known = known_tables({"surveys": tables["surveys"]}, as_of=as_of)["surveys"]
    return known.select("customer_id", "score", at=known.answered_at).execute()


def _groups(tables: Tables, orders: pd.DataFrame, by: By, *, as_of: datetime) -> pd.Series:
    """Customer -> the name of their group."""
    first = orders.drop_duplicates("customer_id").set_index("customer_id")
    if by == "cohort":
        return first["at"].dt.strftime("%Y-%m")
    if by == "channel":
        return first["channel"].astype(object).fillna(NOT_KNOWN)
    said = pd.Series(dtype=object)
    if "customers" in tables:
        known = known_tables({"customers": tables["customers"]}, as_of=as_of)["customers"]
        said = known.select("customer_id", "country").execute().set_index("customer_id")["country"]
    return said.reindex(first.index).astype(object).fillna(NOT_KNOWN)
