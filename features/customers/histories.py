"""What the families of orders read: each customer's orders, order days and sums over lines. No features of its own.

Everything of one customer lies behind each other, so that a sum per customer is one ``reduceat`` from where theirs begin.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from features.arithmetic import DAY, Moment

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RECENT_DAYS = 90


@dataclass(frozen=True)
class Spans:
    """Where what is of each of n customers begins, (n,), every span at least one long and the last one up to ``end``."""

    starts: Ints
    end: int

    @cached_property
    def counts(self) -> Ints:
        """How long each customer's span is: (n,)."""
        return np.diff(self.starts, append=self.end)

    @cached_property
    def last(self) -> Ints:
        """Where the last of each customer is: (n,)."""
        return self.starts + self.counts - 1

    def sums(self, values: Bools | Ints | Floats) -> Floats:
        """The sum of each customer's: (n,)."""
        return np.add.reduceat(values, self.starts, dtype=np.float64)

    def most(self, values: Floats) -> Floats:
        """The largest of each customer's, NaN where all are: (n,)."""
        return np.fmax.reduceat(values, self.starts)


@dataclass(frozen=True)
class Histories(Moment):
    """The history of each of ``customers`` (numbers), who all have an order, known just before a moment.

    By line, (n_lines,): ``discount``; those of each order are ``order_lines``. By order, (n_orders,): ``ordered`` (microseconds
    since 1970 of its first line), ``money``, ``has_coupon``. By UTC day with an order, (n_days,), the earliest first: ``days``
    (whole days since 1970) and ``day_money``. Products are numbers, ``product_numbers`` (n_products,), and ``line_products``
    (n_lines,) are places among them. By customer, (n,): how many different ``products``, ``recent_products`` (of the last 90
    days) and ``categories``. Money is in ten-thousandths.
    """

    customers: NDArray[Any]
    lines: Spans
    discount: Floats
    product_numbers: NDArray[Any]
    line_products: NDArray[np.int32]
    order_lines: Spans
    orders: Spans
    ordered: Ints
    money: Floats
    has_coupon: Bools
    order_days: Spans
    days: Ints
    day_money: Floats
    products: Floats
    recent_products: Floats
    categories: Floats

    @cached_property
    def first_ordered(self) -> Ints:
        """Microseconds since 1970: (n,)."""
        return np.minimum.reduceat(self.ordered, self.orders.starts)

    @cached_property
    def last_ordered(self) -> Ints:
        """Microseconds since 1970: (n,)."""
        return np.maximum.reduceat(self.ordered, self.orders.starts)

    @cached_property
    def gaps(self) -> Floats:
        """Whole days since the customer's order day before, NaN on their first: (n_days,)."""
        gaps: Floats = np.diff(self.days, prepend=0).astype(np.float64)
        gaps[self.order_days.starts] = np.nan
        return gaps

    @cached_property
    def waited_days(self) -> Floats:
        """Days, fractions included, since the beginning of the last order day: (n,)."""
        return self.now / float(DAY) - self.days[self.order_days.last].astype(np.float64)


def histories(lines: pa.Table, *, now: int) -> Histories:
    """The histories in ``lines`` of ``features.customers.lines``, in any order; fastest where those of an order are together."""
    begins = _changes(_values(lines["order"]))
    if not _are_together(begins, lines):
        lines = lines.take(np.lexsort((_values(lines["order"]), _values(lines["customer"]))))
        begins = _changes(_values(lines["order"]))
    numbers = _values(lines["customer"])[begins]
    orders = Spans(_changes(numbers), len(begins))
    whose = np.repeat(np.arange(len(orders.starts)), orders.counts)
    of_lines = Spans(begins[orders.starts], len(lines))
    ordered = _values(lines["ordered"])
    first, money = np.minimum.reduceat(ordered, begins), np.add.reduceat(_values(lines["money"]), begins)
    order_days, days, day_money = _by_day(whose, first, money)
    line_products, numbers_of_products = _encoded(lines["product"])
    products, recent_products = _different(
        of_lines, line_products, len(numbers_of_products), ordered >= now - RECENT_DAYS * DAY
    )
    categories = _categories(of_lines, lines) if "category" in lines.column_names else 0.0 * products
    return Histories(
        customers=numbers[orders.starts],
        lines=of_lines,
        discount=_values(lines["discount"]),
        product_numbers=numbers_of_products.to_numpy(),
        line_products=line_products,
        order_lines=Spans(begins, len(lines)),
        orders=orders,
        ordered=first,
        money=money,
        has_coupon=np.logical_or.reduceat(_values(lines["has_coupon"]), begins),
        order_days=order_days,
        days=days,
        day_money=day_money,
        products=products,
        recent_products=recent_products,
        categories=categories,
        now=now,
    )


def quotient(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """``above / below``, NaN where ``below`` is 0."""
    return np.divide(above, below, out=np.full(len(below), np.nan), where=below != 0)


def _are_together(begins: Ints, lines: pa.Table) -> bool:
    """Whether each order begins once, and all orders of a customer lie behind each other."""
    customers = _values(lines["customer"])[begins]
    return all(pd.Index(keys).is_unique for keys in (_values(lines["order"])[begins], customers[_changes(customers)]))


def _values(column: pa.ChunkedArray) -> NDArray[Any]:
    return column.to_numpy()


def _encoded(column: pa.ChunkedArray) -> tuple[NDArray[np.int32], pa.Array]:
    """Whole numbers from 0 on for the values of a column, by their first appearance, and the values."""
    encoded = column.combine_chunks().dictionary_encode()
    return encoded.indices.to_numpy(), encoded.dictionary


def _changes(keys: NDArray[Any]) -> Ints:
    """Where ``keys`` differ from the one before, the first included."""
    return _after(keys[1:] != keys[:-1], len(keys))


def _after(changed: Bools, count: int) -> Ints:
    """The first of ``count`` places, and those that ``changed`` from the one before."""
    return np.concatenate(([0], np.flatnonzero(changed) + 1))[:count]


def _by_day(whose: Ints, ordered: Ints, money: Floats) -> tuple[Spans, Ints, Floats]:
    """``order_days``, ``days`` and ``day_money`` of orders."""
    days = ordered // DAY
    first = days.min(initial=0)
    span = days.max(initial=0) - first + 1
    keys = whose * span + (days - first)
    in_order = np.argsort(keys, kind="stable")
    begins = _changes(keys[in_order])
    kept = in_order[begins]
    return Spans(_changes(whose[kept]), len(kept)), days[kept], np.add.reduceat(money[in_order], begins)


def _categories(of_lines: Spans, lines: pa.Table) -> Floats:
    """How many different categories each customer bought of, lines without one left out: (n,)."""
    codes, numbers = _encoded(lines["category"])
    _, categories = _different(of_lines, codes, len(numbers), _values(lines["category"]) != 0)
    return categories


def _different(lines: Spans, columns: NDArray[np.int32], width: int, marked: Bools) -> tuple[Floats, Floats]:
    """How many different ``columns`` (n_lines,) each customer has, (n,), and how many of them are ``marked`` at least once."""
    begins = np.append(lines.starts, lines.end).astype(columns.dtype)  # one of 64 bits would make all of them so
    cells = csr_array((marked, columns, begins), shape=(len(lines.starts), width)).tocsc()
    cells.sum_duplicates()  # truth values: one of them or the other
    count = len(lines.starts)
    unmarked, some = np.bincount(cells.indices * 2 + cells.data, minlength=2 * count).reshape(count, 2).T
    return (unmarked + some).astype(np.float64), some.astype(np.float64)
