"""Reads *RetailRocket*, visits of an online shop: ``events.csv`` and, where they are there, item properties and categories.

A visitor is the customer, since orders name nobody else. Prices were published only as hashes, so orders carry none (0).

Source: RetailRocket recommender system dataset, CC BY-NC-SA 4.0.
"""

from pathlib import Path

import duckdb

from features.sources.files import add_queries
from features.sources.formats import open_file
from regulars.errors import ImportRefused
from regulars.intake import LINE, Report, columns_of, workspace
from regulars.lake import Lake

EVENTS = ("timestamp", "visitorid", "event", "itemid", "transactionid")
NAMES = (
    "case when event in ('view', '0') then 'Product Viewed' when event in ('addtocart', '1') then 'Product Added' end"
)
SOLD = "event in ('transaction', '2')"  # published copies write events as words or as numbers
MOMENT = "coalesce(make_timestamp(try_cast(timestamp as bigint) * 1000), try_cast(timestamp as timestamp))"

QUERIES = {
    "orders": f"""
        select transactionid as order_id, visitorid as customer_id, itemid as product_id, {MOMENT} as ordered_at,
            1 as quantity, 0 as unit_price, 'online' as channel
        from visits where {SOLD} order by {LINE}""",
    "events": f"""
        select {MOMENT} as occurred_at, {NAMES} as name, visitorid as customer_id, itemid as product_id
        from visits where not {SOLD} order by {LINE}""",
}
# one version of a product for each moment at which its category or its being available changed
PRODUCTS = """
    with told as (
        select itemid, try_cast(timestamp as bigint) as told_at, max(value) filter (property = 'categoryid') as category,
            max(value) filter (property = 'available') as available
        from properties where property in ('categoryid', 'available') group by all),
    known as (
        select itemid, told_at, last_value(category ignore nulls) over so_far as category,
            last_value(available ignore nulls) over so_far as available
        from told window so_far as (partition by itemid order by told_at rows unbounded preceding)),
    changed as (
        select * from known
        qualify row(category, available) is distinct from lag(row(category, available)) over (partition by itemid order by told_at))
    select itemid as product_id, path as category, available, make_timestamp(told_at * 1000) as received_at
    from changed left join paths on category = categoryid order by itemid, told_at"""
PATHS = """
    create temp table paths as with recursive walk as (
        select categoryid::varchar as categoryid, categoryid::varchar as path, parentid::varchar as up from tree
        union all
        select w.categoryid, t.categoryid::varchar || ' > ' || w.path, t.parentid::varchar
        from walk w join tree t on t.categoryid::varchar = w.up)
    select categoryid, max_by(path, length(path)) as path from walk group by all"""


def import_retail_rocket(
    lake: Lake, folder: Path, *, timezone: str, refused_folder: Path, allow_rejects: bool = False
) -> list[Report]:
    """What became of each table's rows; ``folder`` holds events.csv, or ``folder`` is a file of events itself.

    Raises:
        ImportRefused: where there is no file of events, or it lacks one of the published columns.
    """
    with workspace() as connection:
        _load(connection, folder / "events.csv" if folder.is_dir() else folder, "visits", needs=EVENTS)
        queries = dict(QUERIES)
        if folder.is_dir() and _load_products(connection, folder):
            queries["products"] = PRODUCTS
        with lake.writing(connection) as batch:
            return add_queries(
                batch,
                connection,
                queries,
                timezone=timezone,
                source="retailrocket",
                refused_folder=refused_folder,
                allow_rejects=allow_rejects,
            )


def _load(connection: duckdb.DuckDBPyConnection, file: Path, name: str, *, needs: tuple[str, ...]) -> None:
    relation = open_file(connection, file).relation
    missing = set(needs) - set(columns_of(connection, relation))
    if missing:
        raise ImportRefused(
            f"{file.name} needs the columns {', '.join(needs)}, {', '.join(sorted(missing))} is missing"
        )
    has = connection.execute(f"select 1 from duckdb_tables() where table_name = '{name}'").fetchall()
    verb = f"insert into {name} by name" if has else f"create temp table {name} as"
    connection.execute(f"{verb} select {LINE}, columns(lambda c: c <> '{LINE}')::varchar from {relation}")


def _load_products(connection: duckdb.DuckDBPyConnection, folder: Path) -> bool:
    """Whether the folder says anything about products."""
    parts = sorted(folder.glob("item_properties*.csv"))
    for part in parts:
        _load(connection, part, "properties", needs=("timestamp", "itemid", "property", "value"))
    if not parts:
        return False
    tree = folder / "category_tree.csv"
    if tree.is_file():
        _load(connection, tree, "tree", needs=("categoryid", "parentid"))
    else:
        connection.execute("create temp table tree (categoryid varchar, parentid varchar)")
    connection.execute(PATHS)
    return True
