"""What kind of products a customer buys: such as their buyers buy again, or such as are bought once.

What one customer bought says more of whether they come back when it is known how those fared who bought the same.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.arithmetic import UNITS, count_where, numbered, numbered_pair
from features.customers.histories import Floats, Histories, quotient
from regulars.as_of import Tables, known_at
from regulars.slices import PARTS, LakeTables
from regulars.tables import TABLES

FEATURES = ("again_share_of_products", "again_share_of_last_order")
MOST_LINES = 2_000_000
USUAL_BUYERS = 5  # a product counts as if so many more had bought it, as often again as others


@dataclass(frozen=True)
class Assortment:
    """Of n products, by the numbers that stand for them: how many in ten thousand of their buyers bought them in another order.

    ``usual``: the same of a product that nobody is known to have bought.
    """

    products: NDArray[Any]
    again: Floats
    usual: float

    def of(self, products: NDArray[Any]) -> Floats:
        """The same of each of ``products``: (n,)."""
        places = pd.Index(self.products).get_indexer(products)
        return np.where(places >= 0, np.append(self.again, self.usual)[places], self.usual)


def shop_assortment(tables: Tables, *, as_of: datetime) -> Assortment:
    """The shop's products as known just before ``as_of``, asked of the engine; in a large lake of some customers only."""
    orders = _orders(tables, as_of=as_of)
    lines = orders.select(
        customer=numbered(orders.customer_id),
        product=numbered(orders.product_id),
        order=numbered_pair(orders.customer_id, orders.order_id),
    )
    pairs = lines.group_by("product", "customer").agg(first=lines.order.min(), last=lines.order.max())
    found = pairs.group_by("product").agg(
        buyers=pairs.count().cast("float64"), again=count_where(pairs, pairs.first != pairs["last"])
    )
    counted = found.to_pyarrow()
    buyers, again = counted["buyers"].to_numpy(), counted["again"].to_numpy()
    usual = again.sum() / buyers.sum() if len(buyers) else 0.0
    shares = (again + USUAL_BUYERS * usual) / (buyers + USUAL_BUYERS)
    return Assortment(counted["product"].to_numpy(), np.floor(shares * UNITS), float(np.floor(usual * UNITS)))


def assortment(of: Histories, shop: Assortment) -> dict[str, Floats]:
    """The share of a product's buyers who bought it again: the mean over a customer's lines, and over those of the last order."""
    again = shop.of(of.product_numbers)[of.line_products]
    by_order, count = of.order_lines.sums(again), of.order_lines.counts
    last = of.ordered == np.repeat(of.last_ordered, of.orders.counts)
    in_last = quotient(of.orders.sums(np.where(last, by_order, 0.0)), of.orders.sums(np.where(last, count, 0.0)))
    return {
        "again_share_of_products": quotient(of.orders.sums(by_order), of.lines.counts) / UNITS,
        "again_share_of_last_order": in_last / UNITS,
    }


def one_customer_in(lines_of_a_part: int) -> int:
    """Of one in how many customers a lake is asked in which one of the 64 parts of customers has so many lines: a power of two.

    >>> one_customer_in(31_250), one_customer_in(156_250)
    (1, 8)
    """
    one_in = 1
    while lines_of_a_part * PARTS / one_in > MOST_LINES and one_in < PARTS:
        one_in *= 2
    return one_in


def _orders(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """Order lines of known customers as known just before ``as_of``; in a lake of so many customers as have two million of them.

    More would say no more of what is bought often. How many there are follows from what was known then of one part of the
    customers, so that neither later rows nor what else of the lake is read change who is asked.
    """

    def known(some: Tables) -> ibis.Table:
        orders = known_at(some["orders"], TABLES["orders"], as_of=as_of)
        return orders.filter(orders.customer_id.notnull())

    if not isinstance(tables, LakeTables):
        return known(tables)
    one_in = one_customer_in(int(known(tables.of_some_customers(one_in=PARTS)).count().execute()))
    return known(tables.of_some_customers(one_in=one_in) if one_in > 1 else tables)
