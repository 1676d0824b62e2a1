"""Reads UCI *Online Retail II* (and *Online Retail*), a gift shop's invoice lines, in the columns it was published with.

Invoices that begin with C are cancellations and become returns; they name no order. Lines without a customer count for
products only. What is no sale is set aside into ``charges`` by the rules below, each with its reason.

Source: Chen (2012), Online Retail II, UCI Machine Learning Repository 502, CC BY 4.0.
"""

from pathlib import Path

import duckdb

from features.sources.files import add_queries
from features.sources.formats import open_file
from regulars.errors import ImportRefused
from regulars.intake import LINE, Report, columns_of, literal, quoted, workspace
from regulars.lake import Lake

# stock code (whole, upper case) -> what it is; the first that fits counts
CODES = (
    (r"POST|DOT|C\d+", "postage and carriage: a service, bought with anything"),
    (r"BANK CHARGES|AMAZONFEE|CRUK", "a fee or commission: the shop's cost, not a product"),
    (r"GIFT.*|DCGSGIFT.*", "a gift voucher: money for later, spent again when it is used"),
    (r"S|SAMPLES?", "samples: not sold"),
    (r"TEST.*", "a test of the till"),
    (r"M|D|B|ADJUST\d*", "a manual entry, discount or adjustment: says nothing of a product"),
)
# further reasons for which a line is no sale, in this order after the codes
CANCELLED_BY_NOBODY = "a cancellation without a customer: nothing to take back from anybody"
STOCK = "a correction of the stock: no customer and no price, or a quantity below zero"
ADJUSTED = "an adjustment of the accounts: its invoice begins with A, or its price is below zero"

# the published name first, then that of the earlier edition
COLUMNS = {
    "invoice": ("Invoice", "InvoiceNo"),
    "code": ("StockCode",),
    "description": ("Description",),
    "quantity": ("Quantity",),
    "billed_at": ("InvoiceDate",),
    "price": ("Price", "UnitPrice"),
    "customer": ("Customer ID", "CustomerID"),
    "country": ("Country",),
}


def import_online_retail(
    lake: Lake, file: Path, *, timezone: str, refused_folder: Path, allow_rejects: bool = False
) -> list[Report]:
    """What became of each table's rows; all tables become visible together.

    Raises:
        ImportRefused: where the file cannot be read or lacks one of the published columns.
    """
    with workspace() as connection:
        connection.execute(_lines(connection, open_file(connection, file).relation, file.name))
        with lake.writing(connection) as batch:
            return add_queries(
                batch,
                connection,
                QUERIES,
                timezone=timezone,
                source=file.stem,
                refused_folder=refused_folder,
                allow_rejects=allow_rejects,
            )


def _lines(connection: duckdb.DuckDBPyConnection, relation: str, source: str) -> str:
    """SQL that makes the table ``lines``: the columns under our names, and ``rule`` where a line is set aside."""
    found = columns_of(connection, relation)
    chosen = {ours: next((name for name in names if name in found), None) for ours, names in COLUMNS.items()}
    missing = [COLUMNS[ours][0] for ours, name in chosen.items() if name is None]
    if missing:
        raise ImportRefused(f"{source}: Online Retail has the column {', '.join(missing)}, got {', '.join(found)}")
    named = ", ".join(f"{quoted(str(name))} as {ours}" for ours, name in chosen.items())
    code = "upper(trim(code::varchar))"
    rules = [f"when regexp_full_match({code}, {literal(pattern)}) then {literal(rule)}" for pattern, rule in CODES]
    cancelled, number = "upper(trim(invoice::varchar)) like 'C%'", "try_cast({} as double)"
    quantity, price = number.format("quantity"), number.format("price")
    rules += [
        f"when {cancelled} and customer is null then {literal(CANCELLED_BY_NOBODY)}",
        f"when upper(trim(invoice::varchar)) like 'A%' or {price} < 0 then {literal(ADJUSTED)}",
        f"when not ({cancelled}) and ({quantity} < 0 or (customer is null and {price} = 0)) then {literal(STOCK)}",
    ]
    return (
        f"create temp table lines as select *, {cancelled} as cancelled, case {' '.join(rules)} end as rule "
        f"from (select {LINE}, {named} from {relation})"
    )


_SALE = f"rule is null and not cancelled order by {LINE}"


def _first(value: str) -> str:
    """``value`` of the first line: what a product or customer is called later must not be known before."""
    return f"first({value} order by billed_at, {LINE})"


QUERIES = {
    "orders": f"""
        select invoice as order_id, customer as customer_id, code as product_id, billed_at as ordered_at, quantity,
            price as unit_price, 'online' as channel
        from lines where {_SALE}""",
    "returns": f"""
        select customer as customer_id, code as product_id, billed_at as returned_at, abs(try_cast(quantity as double)) as quantity,
            abs(try_cast(quantity as double)) * try_cast(price as double) as amount, 'cancelled' as reason
        from lines where rule is null and cancelled order by {LINE}""",
    "products": f"""
        select trim(code::varchar) as product_id, {_first("trim(description::varchar)")} as name,
            {_first("billed_at")} as received_at
        from (select * from lines where {_SALE}) where nullif(trim(description::varchar), '') is not null
        group by 1 order by 1""",
    "customers": f"""
        select customer as customer_id, {_first("country::varchar")} as country, {_first("billed_at")} as received_at
        from lines where customer is not null and rule is null group by customer order by min({LINE})""",
    "charges": f"""
        select invoice as order_id, customer as customer_id, code as product_id, billed_at as ordered_at, quantity,
            price as unit_price, rule
        from lines where rule is not null order by {LINE}""",
}
