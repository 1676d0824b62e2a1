"""The time of the year, and what happened in the same weeks a year ago."""

import math
from datetime import datetime, timedelta

import numpy as np

from features.arithmetic import UNITS, count_where, numbered_pair
from features.customers.histories import Floats, Histories
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


def season(of: Histories, *, as_of: datetime, shop_ratio: float | None) -> dict[str, Floats]:
    """What a customer did in the 28 days that began 365 days before the moment, NaN for one who had not ordered before them.

    ``shop_ratio`` (see ``shop_order_ratio``) is the same for all.
    """
    then = (of.ordered >= of.since(YEAR)) & (of.ordered < of.since(YEAR - WEEKS))
    money = of.orders.sums(np.where(then, of.money, 0.0)) / UNITS
    was_customer = of.first_ordered < of.since(YEAR)
    angle = 2 * math.pi * (moment(as_of).timetuple().tm_yday - 1) / 365.25
    everybody = np.ones(len(was_customer))
    return {
        "day_of_year_sin": everybody * math.sin(angle),
        "day_of_year_cos": everybody * math.cos(angle),
        "count_orders_same_weeks_last_year": np.where(was_customer, of.orders.sums(then), np.nan),
        "money_same_weeks_last_year": np.where(was_customer, money, np.nan),
        "shop_order_ratio_last_year": everybody * (np.nan if shop_ratio is None else shop_ratio),
    }


def shop_order_ratio(tables: Tables, *, as_of: datetime) -> float | None:
    """The shop's orders in the same weeks a year ago over those in the 28 days before them; None without such a history.

    An order counts at its first line; asks the engine for the lines of those eight weeks.
    """
    known = known_at(tables["orders"], TABLES["orders"], as_of=as_of)
    known = known.filter(known.customer_id.notnull())
    end = moment(as_of) - timedelta(days=YEAR - WEEKS)
    start, begun = end - timedelta(days=WEEKS), end - timedelta(days=2 * WEEKS)
    lines = known.filter((known.ordered_at >= begun) & (known.ordered_at < end))
    orders = lines.group_by(order=numbered_pair(lines.customer_id, lines.order_id)).agg(
        ordered_at=lines.ordered_at.min()
    )
    counted = orders.agg(
        then=count_where(orders, orders.ordered_at >= start), before=count_where(orders, orders.ordered_at < start)
    ).mutate(earlier=known.filter(known.ordered_at < begun).limit(1).count().as_scalar())
    then, before, earlier = counted.execute().iloc[0]
    return float(then / before) if earlier and before else None
