"""What is known of each product: the catalogue's word, else what orders and events show."""

from datetime import datetime

import ibis

from features.interactions import interactions
from regulars.as_of import Tables, known_tables

_TEXTS = ("name", "category", "brand", "parent_id", "url", "image_url")
COLUMNS = (
    "product_id",
    "name",
    "category",
    "brand",
    "price",
    "available",
    "parent_id",
    "url",
    "image_url",
    "first_seen_at",
    "last_seen_at",
    "count_customers",
)


def product_features(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """One row per product that existed just before ``as_of``, in the catalogue, in an order or in an event.

    Columns ``COLUMNS``: price is the catalogue's, else the last one paid; available is true where nothing says otherwise;
    first_seen_at and last_seen_at are of orders and events; count_customers counts who ordered or looked.

    >>> from datetime import datetime, timezone
    >>> from features.examples import order_lines
    >>> tables = order_lines([("1", "ann", "tea", "2024-05-01", 2, 3.0), ("2", "bob", "tea", "2024-05-02", 1, 4.0)])
    >>> found = product_features(tables, as_of=datetime(2024, 6, 1, tzinfo=timezone.utc)).execute()
    >>> found[["product_id", "price", "available", "count_customers"]].values.tolist()
    [['tea', 4.0, True, 2]]
    """
    seen = _seen(interactions(tables, as_of=as_of))
    catalogue = _catalogue(tables, as_of=as_of)
    if catalogue is None:
        nothing = {name: ibis.null("string") for name in _TEXTS}
        return seen.mutate(price=seen.last_price, available=ibis.literal(True), **nothing).select(*COLUMNS)
    joined = seen.outer_join(catalogue, seen.product_id == catalogue.listed_id)
    return joined.mutate(
        product_id=ibis.coalesce(joined.product_id, joined.listed_id),
        price=ibis.coalesce(joined.price, joined.last_price),
        available=ibis.coalesce(joined.available, True),
        count_customers=ibis.coalesce(joined.count_customers, 0),
    ).select(*COLUMNS)


def _seen(rows: ibis.Table) -> ibis.Table:
    priced = ibis.window(
        group_by="product_id",
        order_by=[
            rows.price.isnull().ifelse(1, 0),
            rows.occurred_at.desc(),
            rows.basket_id.desc(),
            rows.price.desc(),
        ],
    )
    ordered = rows.mutate(place=ibis.row_number().over(priced))
    return ordered.group_by("product_id").agg(
        last_price=ibis.ifelse(ordered.place == 0, ordered.price, ibis.null("float64")).max(),
        first_seen_at=ordered.occurred_at.min(),
        last_seen_at=ordered.occurred_at.max(),
        count_customers=ordered.visitor_id.nunique(),
    )


def _catalogue(tables: Tables, *, as_of: datetime) -> ibis.Table | None:
    if "products" not in tables:
        return None
    read = {name: tables[name] for name in ("products", "orders", "events") if name in tables}
    known = known_tables(read, as_of=as_of)["products"]
    return known.select("price", "available", *_TEXTS, listed_id=known.product_id)
