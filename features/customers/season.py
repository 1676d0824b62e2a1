"""The time of the year, and what happened in the same weeks a year ago."""

import math
from datetime import datetime

import ibis

from features.arithmetic import as_money, count_where, sum_where
from features.customers.orders import Orders
from regulars.as_of import moment

WEEKS = 28
YEAR = 365
FEATURES = (
    "day_of_year_sin",
    "day_of_year_cos",
    "count_orders_same_weeks_last_year",
    "money_same_weeks_last_year",
    "shop_order_ratio_last_year",
)


def season(known: Orders, *, as_of: datetime) -> ibis.Table:
    """One row per customer. The same weeks are the 28 days that began 365 days before ``as_of``.

    What a customer did in them is null for one who had not ordered before they began. The shop's ratio, the same for
    all, is its orders in those weeks over its orders in the 28 days before them; null without such a history.
    """
    orders = known.orders
    start, end = known.since(YEAR), known.since(YEAR - WEEKS)
    then = (orders.ordered >= start) & (orders.ordered < end)
    sums = orders.group_by("customer_id").agg(
        first=orders.ordered.min(), count_then=count_where(then), money_then=sum_where(then, orders.money)
    )
    was_customer = sums["first"] < start
    missing = ibis.null("float64")
    angle = 2 * math.pi * (moment(as_of).timetuple().tm_yday - 1) / 365.25
    with_shop = sums.cross_join(_shop_ratio(known))
    return with_shop.select(
        "customer_id",
        day_of_year_sin=ibis.literal(math.sin(angle), "float64"),
        day_of_year_cos=ibis.literal(math.cos(angle), "float64"),
        count_orders_same_weeks_last_year=ibis.ifelse(was_customer, sums.count_then, missing),
        money_same_weeks_last_year=ibis.ifelse(was_customer, as_money(sums.money_then), missing),
        shop_order_ratio_last_year=with_shop.shop_order_ratio_last_year,
    )


def _shop_ratio(known: Orders) -> ibis.Table:
    orders = known.orders
    begun, start, end = known.since(YEAR + WEEKS), known.since(YEAR), known.since(YEAR - WEEKS)
    shop = orders.agg(
        then=count_where((orders.ordered >= start) & (orders.ordered < end)),
        before=count_where((orders.ordered >= begun) & (orders.ordered < start)),
        first=orders.ordered.min(),
    )
    known_whole = shop["first"] < begun
    share = shop.then / shop.before.nullif(0.0)
    return shop.select(shop_order_ratio_last_year=ibis.ifelse(known_whole, share, ibis.null("float64")))
