"""Which families of service and behaviour a shop's tables allow, and how they come beside what orders say.

``APART`` are families whose rows of one customer depend on rows of others (an anonymous visit on who was identified later, a
referral on who came): they cannot be made a slice of customers at a time, and are small once grouped.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import ibis

from features.customers import (
    browsing,
    carts,
    deliveries,
    incidents,
    loyalty,
    messages,
    referrals,
    returns,
    subscriptions,
    surveys,
    tickets,
    wishes,
)
from features.customers.orders import Orders
from features.customers.visits import visits

Known = Mapping[str, ibis.Table]


@dataclass(frozen=True)
class Family:
    """Features that need at least one of the tables ``reads`` beside orders; ``make`` gives a row per customer of whom it knows.

    ``make`` takes the tables as known, the orders, and the sums of ``order_sums``.
    """

    reads: tuple[str, ...]
    features: tuple[str, ...]
    make: Callable[[Known, Orders, ibis.Table], ibis.Table]


def _browsed(known: Known, orders: Orders, sums: ibis.Table) -> ibis.Table:
    rows = visits(known, sums)
    found = rows.group_by("customer_id").agg(
        **browsing.browsing_sums(rows, orders), **carts.cart_sums(rows), **wishes.wish_sums(rows, orders)
    )
    return found.select(
        "customer_id", **browsing.browsing(found, orders), **carts.carts(found, orders), **wishes.wishes(found, orders)
    )


BY_CUSTOMER = (
    Family(returns.READS, returns.FEATURES, returns.returns),
    Family(deliveries.READS, deliveries.FEATURES, deliveries.deliveries),
    Family(tickets.READS, tickets.FEATURES, tickets.tickets),
    Family(incidents.READS_ANY, incidents.FEATURES, incidents.incidents),
    Family(surveys.READS, surveys.FEATURES, surveys.surveys),
    Family(messages.READS, messages.FEATURES, messages.messages),
    Family(loyalty.READS, loyalty.FEATURES, loyalty.loyalty),
    Family(subscriptions.READS, subscriptions.FEATURES, subscriptions.subscriptions),
)
APART = (
    Family(("events",), (*browsing.FEATURES, *carts.FEATURES, *wishes.FEATURES), _browsed),
    Family(referrals.READS, referrals.FEATURES, referrals.referrals),
)


def present(families: Iterable[Family], tables: Iterable[str]) -> tuple[Family, ...]:
    """Those of ``families`` that ``tables`` (names) allow."""
    there = set(tables)
    return tuple(family for family in families if there.intersection(family.reads))


def is_count(feature: str) -> bool:
    """Whether a feature is 0 for a customer of whom its tables say nothing; the others are null then."""
    return feature.startswith("count_")
