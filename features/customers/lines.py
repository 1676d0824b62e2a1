"""What the features of orders are made of: a customer's order lines in whole units. No features of its own."""

from collections.abc import Mapping

import ibis

from features.arithmetic import microseconds, money_units, numbered


def customer_lines(known: Mapping[str, ibis.Table]) -> ibis.Table:
    """One row per order line of a known customer in ``known`` (see ``regulars.as_of.known_at``).

    customer_id; order, product and category (the product's whole category path, 0 where it has none) as numbers that stand
    for them (see ``features.arithmetic.numbered``); ordered (microseconds since 1970), money and discount
    (ten-thousandths), is_discounted and has_coupon (truth values).
    """
    rows = known["orders"].filter(known["orders"].customer_id.notnull())
    if "products" in known:
        categories = known["products"].select("product_id", "category")
        rows = rows.left_join(categories, "product_id", rname="other_{name}")
    return rows.select(
        "customer_id",
        order=numbered(rows.order_id),
        product=numbered(rows.product_id),
        category=ibis.ifelse(rows.category.isnull(), 0, numbered(rows.category)) if "products" in known else 0,
        ordered=microseconds(rows.ordered_at),
        money=money_units(rows.quantity * rows.unit_price),
        discount=money_units(rows.discount),
        is_discounted=ibis.coalesce(rows.discount > 0, False),
        has_coupon=rows.coupon_id.notnull(),
    )
