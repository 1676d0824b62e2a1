"""What the features of orders are made of: customers' order lines in whole units, and who they are. No features of its own."""

from collections.abc import Mapping

import ibis
import pandas as pd
import pyarrow as pa

from features.arithmetic import microseconds, money_units, numbered, numbered_pair


def customer_lines(known: Mapping[str, ibis.Table]) -> ibis.Table:
    """One row per order line of a known customer in ``known`` (see ``regulars.as_of.known_at``).

    customer, order (of this customer: a shop may give one id to two) and product as numbers that stand for them (see
    ``features.arithmetic.numbered``), and where the shop has products category, the product's whole category path, 0 where it
    has none; ordered (microseconds since 1970), money and discount (ten-thousandths), has_coupon (truth value).
    """
    rows = known["orders"].filter(known["orders"].customer_id.notnull())
    category: dict[str, ibis.Value] = {}
    if "products" in known:
        categories = known["products"].select("product_id", "category")
        rows = rows.left_join(categories, "product_id", rname="other_{name}")
        category["category"] = ibis.ifelse(rows.category.isnull(), 0, numbered(rows.category))
    return rows.select(
        customer=numbered(rows.customer_id),
        order=numbered_pair(rows.customer_id, rows.order_id),
        product=numbered(rows.product_id),
        **category,
        ordered=microseconds(rows.ordered_at),
        money=money_units(rows.quantity * rows.unit_price),
        discount=money_units(rows.discount),
        has_coupon=rows.coupon_id.notnull(),
    )


def customer_numbers(orders: ibis.Table) -> ibis.Table:
    """customer and customer_id of everybody in ``orders``, once: a text in every line would cost more than all its numbers."""
    ids = orders.filter(orders.customer_id.notnull()).select("customer_id").distinct()
    return ids.select("customer_id", customer=numbered(ids.customer_id))


def named(rows: pa.Table, customers: pa.Table) -> pa.Table:
    """``rows`` with customer_id, of ``customer_numbers``, instead of customer."""
    places = pd.Index(customers["customer"].to_numpy()).get_indexer(rows["customer"].to_numpy())
    ids = customers["customer_id"].combine_chunks().take(pa.array(places))
    return rows.drop_columns("customer").add_column(0, "customer_id", ids.cast(pa.string()))
