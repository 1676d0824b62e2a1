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
    of_product = ibis.window(group_by=["customer_id", "product_id"])
    lines = known.lines.mutate(first=known.lines.ordered.min().over(of_product))
    recent = ibis.ifelse(lines.ordered >= known.since(90), lines.product_id, ibis.null("string"))
    sums = lines.group_by("customer_id").agg(
        count_lines=lines.count(),
        repeated=count_where(lines.ordered > lines["first"]),
        count_orders=lines.order_id.nunique(),
        count_products=lines.product_id.nunique().cast("float64"),
        count_products_90d=recent.nunique().cast("float64"),
    )
    sums = sums.mutate(
        products_per_order=ratio(sums.count_lines, sums.count_orders),
        repeat_product_share=ratio(sums.repeated, sums.count_lines),
    )
    if "products" not in tables:
        return sums.mutate(count_categories=ibis.null("float64")).select("customer_id", *FEATURES)
    return sums.left_join(_categories(known, tables["products"]), "customer_id").select("customer_id", *FEATURES)


def _categories(known: Orders, products: ibis.Table) -> ibis.Table:
    bought = known.lines.select("customer_id", "product_id").distinct()
    named = bought.inner_join(products.select("product_id", "category"), "product_id")
    named = named.filter(named.category.notnull())
    return named.group_by("customer_id").agg(count_categories=named.category.nunique().cast("float64"))
