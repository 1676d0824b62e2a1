"""How many products and categories a customer bought, and how much of it again."""

import ibis

from features.arithmetic import ratio
from features.customers.orders import Orders

FEATURES = (
    "count_products",
    "count_products_90d",
    "count_categories",
    "products_per_order",
    "repeat_product_share",
)


def breadth(known: Orders, sums: ibis.Table, products: ibis.Table | None) -> ibis.Table:
    """One row per customer of ``sums`` (see ``order_sums``).

    ``repeat_product_share`` is the share of lines that are not the first one of their product. ``count_categories`` counts
    whole category paths; null where no bought product has one.
    """
    bought, recent = known.products, known.recent_products
    counted = bought.group_by("customer_id").agg(ever=bought.count())
    lately = recent.group_by("customer_id").agg(recent=recent.count())
    found = sums.inner_join(counted, "customer_id").left_join(lately, "customer_id").drop("customer_id_right")
    found = found.mutate(
        count_products=found.ever.cast("float64"),
        count_products_90d=ibis.coalesce(found.recent, 0).cast("float64"),
        products_per_order=ratio(found.total_lines, found.total_orders),
        repeat_product_share=ratio(found.total_lines - found.ever, found.total_lines),
    )
    if products is None:
        return found.mutate(count_categories=ibis.null("float64")).select("customer_id", *FEATURES)
    return found.left_join(_categories(known, products), "customer_id").select("customer_id", *FEATURES)


def _categories(known: Orders, products: ibis.Table) -> ibis.Table:
    named = known.products.inner_join(products.select("product_id", "category"), "product_id")
    named = named.filter(named.category.notnull())
    return named.group_by("customer_id").agg(count_categories=named.category.nunique().cast("float64"))
