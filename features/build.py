"""The public door: every family of customer features in one table."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

import ibis
import pandas as pd
import pyarrow as pa

from features.customers import purchases
from features.customers.assortment import shop_assortment
from features.customers.lines import customer_lines, customer_numbers, named
from features.customers.orders import customer_orders, order_sums
from features.customers.season import OF_SHOP, ShopYear, shop_year, year_in
from features.customers.service import APART, BY_CUSTOMER, Family, is_count, present
from features.customers.subscriptions import announced_then
from features.interactions import owned_events
from regulars.as_of import Tables, known_at
from regulars.engine import by_customer
from regulars.errors import MissingData
from regulars.slices import LakeTables, ahead
from regulars.tables import TABLES

FEATURES = (*purchases.FEATURES, OF_SHOP)


def feature_names(tables: Iterable[str]) -> tuple[str, ...]:
    """The features that a shop with these tables (names) has: ``FEATURES``, and those of service and behaviour."""
    families = present((*BY_CUSTOMER, *APART), tables)
    return (*FEATURES, *(name for family in families for name in family.features))


def customer_features(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """One row per customer with an order known just before ``as_of``: customer_id and ``feature_names``, all float64.

    Days are counted to ``as_of`` with fractions, money is in the shop's currency, windows are [as_of - days, as_of).
    A feature that is not defined for a customer is null; a count of what a table could say of them, but does not, is 0.

    Raises:
        MissingData: where the shop has no orders table.

    >>> from datetime import datetime, timezone
    >>> from features.examples import order_lines
    >>> tables = order_lines([("1", "ann", "tea", "2024-05-01", 2, 3.0), ("2", "ann", "tea", "2024-05-21", 1, 4.0)])
    >>> row = customer_features(tables, as_of=datetime(2024, 6, 1, tzinfo=timezone.utc)).execute().iloc[0]
    >>> [float(row[name]) for name in ("count_orders", "money_total", "days_since_last_order", "gap_mean_days")]
    [2.0, 10.0, 11.0, 20.0]
    """
    built = _of_customers(tables, as_of=as_of)
    ratio = ibis.literal(shop_year(tables, as_of=as_of).ratio, "float64")
    return built.mutate(**{OF_SHOP: ratio}).select("customer_id", *feature_names(tables))


def _of_customers(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """``customer_features`` but what is the shop's."""
    base = read_base(tables, as_of=as_of)
    make = _make_of_lines(tables, as_of=as_of)
    built = by_customer(base.lines, make, by="customer", types=purchases.TYPES, name="purchase_features")
    built = built.inner_join(base.customers, "customer").drop("customer")
    families = present((*BY_CUSTOMER, *APART), tables)
    for family, made in zip(families, base.made(families), strict=True):
        built = built.left_join(made, "customer_id").drop("customer_id_right")
        built = built.mutate(**{n: ibis.coalesce(built[n], 0.0) for n in family.features if is_count(n)})
    return built


def read_customer_features(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """The rows of ``customer_features``, a slice of customers at a time where the lake is large; in no order.

    Raises:
        MissingData: where the shop has no orders table.
    """
    parts = list(_by_slice(tables, as_of=as_of))
    return _told(pa.concat_tables(rows for rows, _ in parts), sum((year for _, year in parts), ShopYear()), tables)


def customer_features_by_slice(tables: Tables, *, as_of: datetime) -> Iterator[pd.DataFrame]:
    """The rows of ``customer_features``, one table for each slice of customers, so that memory does not grow with the shop.

    Nothing else may be read of ``tables`` before the last slice was taken.

    Raises:
        MissingData: where the shop has no orders table.
    """
    _need_orders(tables)
    year = shop_year(tables, as_of=as_of)
    return (_told(rows, year, tables) for rows, _ in _by_slice(tables, as_of=as_of))


def _told(rows: pa.Table, year: ShopYear, tables: Tables) -> pd.DataFrame:
    ratio = pa.repeat(pa.scalar(year.ratio, pa.float64()), len(rows))
    return rows.append_column(OF_SHOP, ratio).select(["customer_id", *feature_names(tables)]).to_pandas()


def _by_slice(tables: Tables, *, as_of: datetime) -> Iterator[tuple[pa.Table, ShopYear]]:
    """The features of each slice of customers but what is the shop's, and the slice's part of that."""
    base = read_base(tables, as_of=as_of)
    if base.lines.get_backend().name == "pyspark":
        yield _of_customers(tables, as_of=as_of).to_pyarrow(), shop_year(tables, as_of=as_of)
        return
    make = _make_of_lines(tables, as_of=as_of)
    families, all_at_once = present(BY_CUSTOMER, tables), present(APART, tables)
    views = tables if isinstance(tables, LakeTables) else None
    made = base.made((*families, *all_at_once), views=views)
    sliced, at_once = made[: len(families)], made[len(families) :]
    apart = [
        (family, rows.execute().set_index("customer_id")) for family, rows in zip(all_at_once, at_once, strict=True)
    ]

    def joined(slice_: list[pa.Table]) -> tuple[pa.Table, ShopYear]:
        lines, customers, *others = slice_
        rows = named(make(lines), customers)
        found = [other.to_pandas().set_index("customer_id") for other in others]
        for family, said in (*zip(families, found, strict=True), *apart):
            for name, column in _beside(rows["customer_id"].to_pandas(), family, said).items():
                rows = rows.append_column(name, pa.array(column))
        return rows, year_in(lines, as_of=as_of)

    yield from ahead(joined, _slice_by_slice(tables, [base.lines, base.customers, *sliced]))


def _make_of_lines(tables: Tables, *, as_of: datetime) -> Callable[[pa.Table], pa.Table]:
    return partial(purchases.purchase_features, as_of=as_of, shop=shop_assortment(tables, as_of=as_of))


def _beside(customers: pd.Series, family: Family, found: pd.DataFrame) -> pd.DataFrame:
    """What a family found, indexed by customer_id, of ``customers``, in their order."""
    return found.reindex(customers).fillna({name: 0.0 for name in family.features if is_count(name)})


def _slice_by_slice(tables: Tables, expressions: Sequence[ibis.Table]) -> Iterator[list[pa.Table]]:
    if isinstance(tables, LakeTables):
        return tables.slice_by_slice(expressions)
    return iter([[expression.to_pyarrow() for expression in expressions]])


@dataclass(frozen=True)
class Base:
    """What the families read: the lines of the orders with whose they are, and the tables as known just before ``as_of``."""

    lines: ibis.Table
    customers: ibis.Table
    known: dict[str, ibis.Table]
    as_of: datetime

    def made(self, families: Sequence[Family], *, views: LakeTables | None = None) -> list[ibis.Table]:
        """The features of each of ``families`` by customer_id.

        ``views``: where what they read in common becomes views of the engine, so that what each family asks stays short.
        """
        if not families:
            return []
        known, orders = self.known, customer_orders(self.known, as_of=self.as_of)
        sums = order_sums(orders)
        if views is not None:
            known = {name: views.named(rows, name=f"known_{name}") for name, rows in known.items()}
            orders = replace(orders, orders=views.named(orders.orders, name="customer_orders"))
            sums = views.named(sums, name="order_sums")
        return [family.make(known, orders, sums).select("customer_id", *family.features) for family in families]


_SERVICE_TABLES = tuple(dict.fromkeys(name for family in (*BY_CUSTOMER, *APART) for name in family.reads))


def read_base(tables: Tables, *, as_of: datetime) -> Base:
    """What the families read of ``tables``, as known just before ``as_of``.

    Raises:
        MissingData: where the shop has no orders table.
    """
    _need_orders(tables)
    known = {
        name: known_at(
            announced_then(tables[name]) if name == "subscriptions" else tables[name], TABLES[name], as_of=as_of
        )
        for name in ("orders", "products", *_SERVICE_TABLES)
        if name in tables
    }
    if "events" in tables:
        known["events"] = owned_events(tables, as_of=as_of)
    return Base(customer_lines(known), customer_numbers(tables["orders"]), known, as_of)


def _need_orders(tables: Tables) -> None:
    if "orders" not in tables:
        raise MissingData("customer features need orders; import them first: regulars import orders FILE")
