"""How many products and categories a customer bought, and how much of it again."""

from collections.abc import Mapping

import ibis

from features.arithmetic import count_where, ratio
from features.customers.orders import Orders

FEATURES = (
    "count_products",
    "count_products_90d",
    "count_categories",
    "products_per_order",
    "repeat_product_share",
)


def breadth(known: Orders, tables: Mapping[str, ibis.Table]) -> ibis.Table:
    """One row per customer. A line is a repeat where its product was in an earlier order of the customer.

    ``count_categories`` counts whole category paths; null where no bought product has one.
    """
    products = known.products
    sums = products.group_by("customer_id").agg(
        count_lines=products.count_lines.sum(),
        count_first=products.count_first.sum(),
        count_products=products.count().cast("float64"),
        count_products_90d=count_where(products["last"] >= known.since(90)),
    )
    orders = known.orders.group_by("customer_id").agg(count_orders=known.orders.count())
    sums = sums.inner_join(orders, "customer_id")
    sums = sums.mutate(
        products_per_order=ratio(sums.count_lines, sums.count_orders),
        repeat_product_share=ratio(sums.count_lines - sums.count_first, sums.count_lines),
    )
    if "products" not in tables:
        return sums.mutate(count_categories=ibis.null("float64")).select("customer_id", *FEATURES)
    return sums.left_join(_categories(known, tables["products"]), "customer_id").select("customer_id", *FEATURES)


def _categories(known: Orders, products: ibis.Table) -> ibis.Table:
    named = known.products.select("customer_id", "product_id").inner_join(
        products.select("product_id", "category"), "product_id"
    )
    named = named.filter(named.category.notnull())
    return named.group_by("customer_id").agg(count_categories=named.category.nunique().cast("float64"))
