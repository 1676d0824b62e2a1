"""Reads Shopify's CSV exports: orders, customers or products, told apart by their columns.

An order's header fields stand only on its first line and hold for all of its lines. The exports of orders name a customer
only by e-mail address, so that address, in lower case, is the customer_id everywhere. A product is its SKU, or where it has
none, the name that order lines show; its parent is the product's handle. A line's price is what was paid: its own discount and
its share of the order's discount are taken off, taxes are left as exported. Shipping, tips and gift cards are set aside into
``charges``. A cancelled order, and one refunded in full, is returned; part of a refund names no line and is not taken.

Source: help.shopify.com, order, customer and product CSV columns.
"""

from pathlib import Path

import duckdb

from features.sources.files import add_queries
from features.sources.formats import open_file
from regulars.errors import ImportRefused
from regulars.intake import LINE, Report, columns_of, literal, quoted, workspace
from regulars.lake import Lake

GIFT_CARD = "a gift card: money for later, spent again when it is used"
TIP = "a tip: no product"
SHIPPING = "shipping: a service, bought with anything"

HEADER = (
    "Email",
    "Phone",
    "Financial Status",
    "Currency",
    "Shipping",
    "Discount Code",
    "Discount Amount",
    "Created at",
    "Fulfilled at",
    "Cancelled at",
    "Source",
    "Total",
    "Refunded Amount",
)
LINES = ("Lineitem quantity", "Lineitem name", "Lineitem price", "Lineitem sku", "Lineitem discount")
CUSTOMERS = (
    "Customer ID",
    "First Name",
    "Last Name",
    "Email",
    "Phone",
    "Accepts Email Marketing",
    "Accepts SMS Marketing",
    "Default Address City",
    "Default Address Province Code",
    "Default Address Country Code",
    "Tags",
)
PRODUCTS = (
    "Handle",
    "Title",
    "Vendor",
    "Product Category",
    "Type",
    "Option1 Value",
    "Option2 Value",
    "Option3 Value",
    "Variant SKU",
    "Variant Price",
    "Cost per item",
    "Image Src",
    "Status",
    "Variant Inventory Qty",
    "Variant Inventory Policy",
)


def import_shopify(
    lake: Lake, file: Path, *, timezone: str, refused_folder: Path, allow_rejects: bool = False
) -> list[Report]:
    """What became of each table's rows; all tables of a file become visible together.

    Raises:
        ImportRefused: where the file is none of the three exports, or orders are in several currencies.
    """
    with workspace() as connection:
        relation = open_file(connection, file).relation
        queries = _queries(connection, relation, file.name)
        with lake.writing(connection) as batch:
            return add_queries(
                batch,
                connection,
                queries,
                timezone=timezone,
                source=file.stem,
                refused_folder=refused_folder,
                allow_rejects=allow_rejects,
            )


def _queries(connection: duckdb.DuckDBPyConnection, relation: str, source: str) -> dict[str, str]:
    found = set(columns_of(connection, relation))
    if {"Name", "Lineitem name", "Lineitem price", "Created at"} <= found:
        _prepare(connection, relation, ("Name", *HEADER, *LINES), found, "exported")
        connection.execute(_ORDER_LINES)
        _one_currency(connection, source)
        return ORDER_QUERIES
    if {"Email", "First Name", "Last Name"} <= found:
        _prepare(connection, relation, CUSTOMERS, found, "exported")
        return CUSTOMER_QUERIES
    if {"Handle", "Title", "Variant Price"} <= found:
        _prepare(connection, relation, PRODUCTS, found, "exported")
        connection.execute(_VARIANTS)
        return PRODUCT_QUERIES
    raise ImportRefused(
        f"{source} is none of Shopify's exports of orders, customers or products: it has the columns "
        f"{', '.join(sorted(found)[:10])}"
    )


def _prepare(
    connection: duckdb.DuckDBPyConnection, relation: str, names: tuple[str, ...], found: set[str], into: str
) -> None:
    """The columns ``names`` as text, empty ones null; those the export lacks are null throughout."""

    def column(name: str) -> str:
        return f"nullif(trim({quoted(name)}::varchar), '')" if name in found else "null::varchar"

    columns = ", ".join(f"{column(name)} as {quoted(name)}" for name in names)
    connection.execute(f"create temp table {into} as select {LINE}, {columns} from {relation}")


def _one_currency(connection: duckdb.DuckDBPyConnection, source: str) -> None:
    rows = connection.execute(
        'select distinct "Currency" from lines where "Currency" is not null order by 1'
    ).fetchall()
    if len(rows) > 1:
        raise ImportRefused(
            f"{source} holds orders in {', '.join(row[0] for row in rows)}; money is kept in the shop's one currency: "
            "export in the shop's currency"
        )


def _number(name: str) -> str:
    return f"coalesce(try_cast({quoted(name)} as double), 0)"


_ORDER_LINES = f"""
    create temp table lines as
    with headers as (
        select "Name", {", ".join(f"arg_min({quoted(n)}, {LINE}) as {quoted(n)}" for n in HEADER)} from exported group by all),
    bare as (
        select e.{LINE}, h.*, {", ".join(f"e.{quoted(n)}" for n in LINES)},
            {_number("Lineitem quantity")} * {_number("Lineitem price")} - {_number("Lineitem discount")} as worth
        from exported e join headers h using ("Name") where "Lineitem name" is not null)
    select *, {_number("Discount Amount")} * worth / nullif(sum(worth) over (partition by "Name"), 0) as shared,
        coalesce(lower("Email"), "Phone") as customer, coalesce("Lineitem sku", "Lineitem name") as product,
        case when regexp_matches("Lineitem name", '(?i)^gift card') then {literal(GIFT_CARD)}
            when regexp_matches("Lineitem name", '(?i)^tip$') then {literal(TIP)} end as rule
    from bare"""
_PAID = f"greatest(worth - coalesce(shared, 0), 0) / nullif({_number('Lineitem quantity')}, 0)"
_RETURNED = """("Cancelled at" is not null or "Financial Status" in ('refunded', 'voided'))"""

ORDER_QUERIES = {
    "orders": f"""
        select "Name" as order_id, customer as customer_id, product as product_id, "Created at" as ordered_at,
            "Lineitem quantity" as quantity, {_PAID} as unit_price,
            {_number("Lineitem discount")} + coalesce(shared, 0) as discount, "Discount Code" as coupon_id, "Source" as channel
        from lines where rule is null order by {LINE}""",
    "returns": f"""
        select "Name" as order_id, customer as customer_id, product as product_id,
            coalesce("Cancelled at", "Fulfilled at", "Created at") as returned_at, "Lineitem quantity" as quantity,
            {_PAID} * {_number("Lineitem quantity")} as amount,
            case when "Cancelled at" is not null then 'cancelled' else 'other' end as reason
        from lines where rule is null and {_RETURNED} order by {LINE}""",
    "charges": f"""
        select * from (
            select "Name" as order_id, customer as customer_id, product as product_id, "Created at" as ordered_at,
                "Lineitem quantity" as quantity, "Lineitem price" as unit_price, rule, {LINE} as place
            from lines where rule is not null
            union all
            select "Name", any_value(customer), 'shipping', any_value("Created at"), '1', any_value("Shipping"),
                {literal(SHIPPING)}, min({LINE})
            from lines where {_number("Shipping")} > 0 group by "Name")
        order by place, product_id""",
}

_YES = "case lower({}) when 'yes' then true when 'no' then false end"
CUSTOMER_QUERIES = {
    "customers": f"""
        select coalesce(lower("Email"), "Phone") as customer_id, nullif(concat_ws(' ', "First Name", "Last Name"), '') as name,
            lower("Email") as email, "Phone" as phone, "Default Address Country Code" as country,
            "Default Address Province Code" as region, "Default Address City" as city,
            {_YES.format('"Accepts Email Marketing"')} as consent_email,
            {_YES.format('"Accepts SMS Marketing"')} as consent_sms,
            to_json({{shopify_id: ltrim("Customer ID", ''''), tags: "Tags"}}) as attributes
        from exported order by {LINE}""",
}

_FILLED = ("Title", "Vendor", "Product Category", "Type", "Status")
_VARIANTS = f"""
    create temp table variants as
    with products as (
        select "Handle", {", ".join(f"arg_min({quoted(n)}, {LINE}) as {quoted(n)}" for n in _FILLED)},
            arg_min("Image Src", {LINE}) as image
        from exported group by all)
    select e.{LINE}, p.*, e."Variant SKU", e."Variant Price", e."Cost per item", e."Variant Inventory Qty",
        e."Variant Inventory Policy", nullif(concat_ws(' / ', nullif(e."Option1 Value", 'Default Title'), e."Option2 Value",
            e."Option3 Value"), '') as options
    from exported e join products p using ("Handle") where e."Variant Price" is not null"""
PRODUCT_QUERIES = {
    "products": f"""
        select coalesce("Variant SKU", concat_ws(' - ', "Title", options)) as product_id,
            concat_ws(' - ', "Title", options) as name, coalesce("Product Category", "Type") as category, "Vendor" as brand,
            "Variant Price" as price, "Cost per item" as cost,
            coalesce("Status", 'active') = 'active' and not (coalesce(try_cast("Variant Inventory Qty" as int), 1) <= 0
                and coalesce("Variant Inventory Policy", 'deny') = 'deny') as available,
            "Handle" as parent_id, image as image_url
        from variants order by {LINE}""",
}
