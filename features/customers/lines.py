"""What the features of orders are made of: a customer's order lines in whole units. No features of its own."""

from collections.abc import Mapping

import ibis

from features.arithmetic import microseconds, money_units, numbered, numbered_pair


def customer_lines(known: Mapping[str, ibis.Table]) -> ibis.Table:
    """One row per order line of a known customer in ``known`` (see ``regulars.as_of.known_at``).

    customer_id; order (of this customer: a shop may give one id to two) and product as numbers that stand for them (see
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
        "customer_id",
        order=numbered_pair(rows.customer_id, rows.order_id),
        product=numbered(rows.product_id),
        **category,
        ordered=microseconds(rows.ordered_at),
        money=money_units(rows.quantity * rows.unit_price),
        discount=money_units(rows.discount),
        has_coupon=rows.coupon_id.notnull(),
    )
