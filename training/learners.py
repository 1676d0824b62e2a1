"""Whom to learn from, where a shop has more customers than a model has use for."""

from datetime import datetime

from regulars.as_of import Tables, known_at
from regulars.slices import PARTS, LakeTables
from regulars.tables import TABLES

MOST_CUSTOMERS = 50_000


def learners(tables: Tables, *, as_of: datetime, most: int = MOST_CUSTOMERS) -> tuple[Tables, str | None]:
    """``tables`` of at most about ``most`` of the customers who ordered before ``as_of``, and a sentence that says so.

    One customer in two, four, ... to 64 is kept, by a hash of the id: all of them (and None) where they are no more than
    ``most``, or where ``tables`` are not a lake's.
    """
    if not isinstance(tables, LakeTables) or "orders" not in tables:
        return tables, None
    orders = known_at(tables["orders"], TABLES["orders"], as_of=as_of)
    count = int(orders.customer_id.nunique().execute())
    one_in = 1
    while count > most * one_in and one_in < PARTS:
        one_in *= 2
    if one_in == 1:
        return tables, None
    return tables.of_some_customers(one_in=one_in), f"Learnt from one in {one_in} of {count:,} customers."
