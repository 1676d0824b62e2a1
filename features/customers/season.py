"""The time of the year, and what happened in the same weeks a year ago."""

import math
from datetime import datetime, timedelta

import ibis
from ibis import Value

from features.arithmetic import as_money, count_where, sum_where
from features.customers.orders import Orders
from regulars.as_of import Tables, known_at, moment
from regulars.tables import TABLES

WEEKS = 28
YEAR = 365
FEATURES = (
    "day_of_year_sin",
    "day_of_year_cos",
    "count_orders_same_weeks_last_year",
    "money_same_weeks_last_year",
    "shop_order_ratio_last_year",
)


def season_sums(known: Orders) -> dict[str, Value]:
    """The sums that ``season`` reads: those of the 28 days that began 365 days before the moment."""
    orders = known.orders
    then = (orders.ordered >= known.since(YEAR)) & (orders.ordered < known.since(YEAR - WEEKS))
    return {"orders_then": count_where(orders, then), "money_then": sum_where(then, orders.money)}


def season(known: Orders, sums: ibis.Table, *, as_of: datetime, shop_ratio: float | None) -> dict[str, Value]:
    """What a customer did in the same weeks a year ago, null for one who had not ordered before they began.

    ``shop_ratio`` (see ``shop_order_ratio``) is the same for all.
    """
    was_customer = sums.first_ordered < known.since(YEAR)
    missing = ibis.null("float64")
    angle = 2 * math.pi * (moment(as_of).timetuple().tm_yday - 1) / 365.25
    return {
        "day_of_year_sin": ibis.literal(math.sin(angle), "float64"),
        "day_of_year_cos": ibis.literal(math.cos(angle), "float64"),
        "count_orders_same_weeks_last_year": ibis.ifelse(was_customer, sums.orders_then, missing),
        "money_same_weeks_last_year": ibis.ifelse(was_customer, as_money(sums.money_then), missing),
        "shop_order_ratio_last_year": missing if shop_ratio is None else ibis.literal(shop_ratio, "float64"),
    }


def shop_order_ratio(tables: Tables, *, as_of: datetime) -> float | None:
    """The shop's orders in the same weeks a year ago over those in the 28 days before them; None without such a history.

    An order counts at its first line; asks the engine for the lines of those eight weeks.
    """
    known = known_at(tables["orders"], TABLES["orders"], as_of=as_of)
    known = known.filter(known.customer_id.notnull())
    end = moment(as_of) - timedelta(days=YEAR - WEEKS)
    start, begun = end - timedelta(days=WEEKS), end - timedelta(days=2 * WEEKS)
    if not known.filter(known.ordered_at < begun).limit(1).count().execute():
        return None
    lines = known.filter((known.ordered_at >= begun) & (known.ordered_at < end))
    orders = lines.group_by(["customer_id", "order_id"]).agg(ordered_at=lines.ordered_at.min())
    counted = orders.agg(
        then=count_where(orders, orders.ordered_at >= start), before=count_where(orders, orders.ordered_at < start)
    )
    then, before = counted.execute().iloc[0]
    return float(then / before) if before else None
