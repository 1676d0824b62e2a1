"""Everything that shoppers did with products, orders and events alike, in one table."""

from datetime import datetime

import ibis

from regulars.as_of import KNOWN, Tables, known_tables, moment
from regulars.errors import MissingData

# Published histories hold places in this order; a new kind comes last.
KINDS = ("purchase", "view", "click", "cart", "wish", "remove", "other")
IDENTIFIED_WITHIN_DAYS = 30
ANONYMOUS = "anonymous:"

KIND_OF_EVENT = {
    "Product Viewed": "view",
    "view_item": "view",
    "Product Clicked": "click",
    "select_item": "click",
    "Product Added": "cart",
    "add_to_cart": "cart",
    "Product Added to Wishlist": "wish",
    "add_to_wishlist": "wish",
    "Product Removed": "remove",
    "remove_from_cart": "remove",
    "Product Removed from Wishlist": "remove",
}
_COLUMNS = (
    "visitor_id",
    "customer_id",
    "product_id",
    "occurred_at",
    "kind",
    "quantity",
    "price",
    "basket_id",
)


def interactions(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """One row per order line and per event with a product, known just before ``as_of``.

    Columns: visitor_id (the customer, or "anonymous:" and the anonymous id, or null), customer_id, product_id, occurred_at
    (UTC), kind (one of ``KINDS``), quantity, price, basket_id (order, or session of an event). An anonymous event belongs
    to the first customer identified with its anonymous id, where that happened within 30 days of it.

    Raises:
        MissingData: where the shop has neither orders nor events.

    >>> from datetime import datetime, timezone
    >>> from features.examples import order_lines
    >>> tables = order_lines([("1", "ann", "tea", "2024-05-01", 2, 3.0)])
    >>> interactions(tables, as_of=datetime(2024, 6, 1, tzinfo=timezone.utc)).execute()[["visitor_id", "kind"]].values.tolist()
    [['ann', 'purchase']]
    """
    read = {name: tables[name] for name in ("orders", "events") if name in tables}
    if not read:
        raise MissingData("neither orders nor events were imported; run: regulars import orders FILE")
    known = known_tables(read, as_of=as_of)
    parts = []
    if "orders" in known:
        parts.append(_from_orders(known["orders"]))
    if "events" in known:
        parts.append(_from_events(known["events"], identified(tables["events"], as_of=as_of)))
    return ibis.union(*parts) if len(parts) > 1 else parts[0]


def owned_events(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """Every event known just before ``as_of`` with ``owner_id``: the customer it is of, null where that is not known."""
    known = known_tables({"events": tables["events"]}, as_of=as_of)["events"]
    return with_owner(known, identified(tables["events"], as_of=as_of), at="occurred_at")


def kind_of(name: ibis.Value) -> ibis.Value:
    """The kind of interaction that an event of that name is."""
    return name.cases(*KIND_OF_EVENT.items(), else_="other")


def _from_orders(orders: ibis.Table) -> ibis.Table:
    return orders.select(
        "product_id",
        "customer_id",
        "quantity",
        visitor_id=orders.customer_id,
        occurred_at=orders.ordered_at,
        kind=ibis.literal("purchase", "string"),
        price=orders.unit_price,
        basket_id=orders.order_id,
    ).select(*_COLUMNS)


def _from_events(events: ibis.Table, known_as: ibis.Table) -> ibis.Table:
    owned = with_owner(events, known_as, at="occurred_at").filter(ibis._.product_id.notnull())
    return owned.select(
        "product_id",
        "quantity",
        "price",
        "occurred_at",
        customer_id=owned.owner_id,
        visitor_id=ibis.coalesce(owned.owner_id, ibis.literal(ANONYMOUS) + owned.anonymous_id),
        kind=kind_of(owned.name),
        basket_id=owned.session_id,
    ).select(*_COLUMNS)


def identified(events: ibis.Table, *, as_of: datetime) -> ibis.Table:
    """One row per anonymous id identified before ``as_of``: the first customer by what became known first, never another.

    ``events`` are the lake's, with the moment from which each row is known. Columns: known_as, identified_id, identified_at, and
    identified_from, the moment from which that is known.
    """
    both = events.filter(events.customer_id.notnull() & events.anonymous_id.notnull())
    both = both.filter(both[KNOWN] < ibis.literal(moment(as_of), "timestamp"))
    earliest = ibis.window(group_by="anonymous_id", order_by=[both[KNOWN], both.occurred_at, both.event_id])
    first = both.mutate(place=ibis.row_number().over(earliest))
    return first.filter(first.place == 0).select(
        known_as=first.anonymous_id,
        identified_id=first.customer_id,
        identified_at=first.occurred_at,
        identified_from=first[KNOWN],
    )


def with_owner(rows: ibis.Table, known_as: ibis.Table, *, at: str) -> ibis.Table:
    """``rows`` with ``owner_id``: the customer named, or the one identified with the anonymous id within 30 days of ``at``."""
    joined = with_identity(rows, known_as, at=at)
    owner = ibis.coalesce(joined.customer_id, joined.identified_id)
    return joined.mutate(owner_id=owner).drop("identified_id", "identified_from")


def with_identity(rows: ibis.Table, known_as: ibis.Table, *, at: str) -> ibis.Table:
    """``rows`` with the customer identified with their anonymous id within 30 days of ``at``, and from when that is known."""
    joined = rows.left_join(known_as, rows.anonymous_id == known_as.known_as)
    apart = ibis.interval(days=IDENTIFIED_WITHIN_DAYS)
    near = (joined[at] >= joined.identified_at - apart) & (joined[at] <= joined.identified_at + apart)
    found = ibis.ifelse(near, joined.identified_id, ibis.null("string"))
    return joined.mutate(identified_id=found).drop("known_as", "identified_at")
