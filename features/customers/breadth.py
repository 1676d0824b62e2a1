"""How many products and categories a customer bought, and how much of it again."""

import numpy as np

from features.customers.histories import Floats, Histories, quotient

FEATURES = (
    "count_products",
    "count_products_90d",
    "count_categories",
    "products_per_order",
    "repeat_product_share",
)


def breadth(of: Histories) -> dict[str, Floats]:
    """``repeat_product_share`` is the share of lines that are not the first one of their product.

    ``count_categories`` counts whole category paths; NaN where no bought product has one.
    """
    lines = of.lines.counts
    return {
        "count_products": of.products,
        "count_products_90d": of.recent_products,
        "count_categories": np.where(of.categories > 0, of.categories, np.nan),
        "products_per_order": quotient(lines, of.orders.counts),
        "repeat_product_share": quotient(lines - of.products, lines),
    }
