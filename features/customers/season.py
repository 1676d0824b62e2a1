"""The time of the year, and what happened in the same weeks a year ago."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from features.arithmetic import UNITS, Moment, count_where, microseconds_at, numbered_pair
from features.customers.histories import Floats, Histories
from regulars.as_of import Tables, known_at, moment
from regulars.tables import TABLES

WEEKS = 28
YEAR = 365
_EDGES = (YEAR + WEEKS, YEAR, YEAR - WEEKS)
FEATURES = (
    "day_of_year_sin",
    "day_of_year_cos",
    "count_orders_same_weeks_last_year",
    "money_same_weeks_last_year",
)
OF_SHOP = "shop_order_ratio_last_year"


@dataclass(frozen=True)
class ShopYear:
    """Orders of a shop in the same weeks a year ago, in the 28 days before them, and whether any were still earlier."""

    then: float = 0
    before: float = 0
    earlier: bool = False

    def __add__(self, other: "ShopYear") -> "ShopYear":
        """Of the customers of both."""
        return ShopYear(self.then + other.then, self.before + other.before, self.earlier or other.earlier)

    @property
    def ratio(self) -> float | None:
        """``shop_order_ratio_last_year``: then over before; None without such a history."""
        return self.then / self.before if self.earlier and self.before else None


def season(of: Histories, *, as_of: datetime) -> dict[str, Floats]:
    """What a customer did in the 28 days that began 365 days before the moment, NaN for one who had not ordered before them."""
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
    }


def shop_year(tables: Tables, *, as_of: datetime) -> ShopYear:
    """The shop's year as known just before ``as_of``, asked of the engine; an order counts at its first line of those weeks."""
    known = known_at(tables["orders"], TABLES["orders"], as_of=as_of)
    known = known.filter(known.customer_id.notnull())
    begun, start, end = (moment(as_of) - timedelta(days=days) for days in _EDGES)
    lines = known.filter((known.ordered_at >= begun) & (known.ordered_at < end))
    orders = lines.group_by(order=numbered_pair(lines.customer_id, lines.order_id)).agg(
        ordered_at=lines.ordered_at.min()
    )
    counted = orders.agg(
        then=count_where(orders, orders.ordered_at >= start), before=count_where(orders, orders.ordered_at < start)
    ).mutate(earlier=known.filter(known.ordered_at < begun).limit(1).count().as_scalar())
    then, before, earlier = counted.execute().iloc[0]
    return ShopYear(float(then), float(before), bool(earlier))


def year_in(lines: pa.Table, *, as_of: datetime) -> ShopYear:
    """The same of ``lines`` of ``features.customers.lines``, known just before ``as_of``, with all of each order."""
    begun, start, end = (Moment(microseconds_at(as_of)).since(days) for days in _EDGES)
    ordered = lines["ordered"].to_numpy()
    within = np.flatnonzero((ordered >= begun) & (ordered < end))
    first = pd.Series(ordered[within]).groupby(lines["order"].to_numpy()[within]).min()
    then = int((first >= start).sum())
    return ShopYear(then, len(first) - then, bool(ordered.min(initial=begun) < begun))
