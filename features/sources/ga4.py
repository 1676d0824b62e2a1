"""Reads Google Analytics 4's BigQuery export, as parquet or newline-delimited JSON.

Every item of an event becomes a row of ``events``; a ``purchase`` with a transaction id becomes order lines instead. Names
stay Google's (``view_item``, ``add_to_cart``, ...), which the features know. ``user_id`` is the customer, ``user_pseudo_id``
the visitor without a name.

Source: developers.google.com/analytics, BigQuery export schema.
"""

from pathlib import Path

import duckdb

from features.sources.files import add_queries
from features.sources.formats import open_file
from regulars.errors import ImportRefused
from regulars.intake import LINE, Report, columns_of, workspace
from regulars.lake import Lake

NEEDED = ("event_timestamp", "event_name", "user_pseudo_id")
ITEM = ("item_id", "item_name", "item_brand", "price", "quantity")
CATEGORIES = tuple(f"item_category{number}" for number in ("", 2, 3, 4, 5))


def import_ga4(
    lake: Lake, file: Path, *, timezone: str, refused_folder: Path, allow_rejects: bool = False
) -> list[Report]:
    """What became of each table's rows; all tables become visible together.

    Raises:
        ImportRefused: where the file cannot be read or is no such export.
    """
    with workspace() as connection:
        relation = open_file(connection, file).relation
        _flatten(connection, relation, file.name)
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


def _flatten(connection: duckdb.DuckDBPyConnection, relation: str, source: str) -> None:
    """Make the table ``flat``: one row per event and item, an event without items once."""
    found = columns_of(connection, relation)
    missing = [name for name in NEEDED if name not in found]
    if missing:
        raise ImportRefused(
            f"{source} is no GA4 export: it has no column {', '.join(missing)}, only {', '.join(found)}"
        )
    parameters = "to_json(event_params)" if "event_params" in found else "'[]'::json"
    items = "to_json(items)" if "items" in found else "'[]'::json"
    order = "to_json(ecommerce)->>'transaction_id'" if "ecommerce" in found else "null"
    named = ", ".join(f"item->>'{name}' as {name}" for name in (*ITEM, *CATEGORIES))
    connection.execute(
        f"""
        create temp table flat as
        with events as (
            select {LINE}, event_name as name, user_pseudo_id::varchar as anonymous_id,
                {"user_id::varchar" if "user_id" in found else "null::varchar"} as customer_id,
                make_timestamp(try_cast(event_timestamp as bigint)) as occurred_at,
                {_parameter("ga_session_id", parameters)} as session, {_parameter("search_term", parameters)} as query,
                coalesce({order}, {_parameter("transaction_id", parameters)}) as order_id,
                from_json({items}, '["json"]') as items
            from {relation}),
        each as (
            select * exclude (items), unnest(case when len(items) > 0 then items else [null] end) as item,
                unnest(range(1, greatest(len(coalesce(items, [])), 1) + 1)) as number
            from events)
        select * exclude (item), {named} from each
        """
    )


def _parameter(name: str, parameters: str) -> str:
    """The value of one of the event's parameters, as text."""
    found = f"list_filter(from_json({parameters}, '[\"json\"]'), lambda p: p->>'key' = '{name}')[1]"
    return f"coalesce({found}->'value'->>'string_value', {found}->'value'->>'int_value')"


_CATEGORY = f"nullif(concat_ws(' > ', {', '.join(f'nullif({name}, {chr(39)}{chr(39)})' for name in CATEGORIES)}), '')"
_BOUGHT = (
    "name in ('purchase', 'in_app_purchase') and nullif(order_id, '(not set)') is not null and item_id is not null"
)
_NUMBER = "try_cast({} as double)"


def _first(value: str) -> str:
    return f"first({value} order by occurred_at, {LINE}, number)"


QUERIES = {
    "orders": f"""
        select order_id, order_id || '-' || number as line_id, customer_id, item_id as product_id,
            occurred_at as ordered_at, coalesce({_NUMBER.format("quantity")}, 1) as quantity,
            coalesce({_NUMBER.format("price")}, 0) as unit_price, 'online' as channel
        from flat where {_BOUGHT} order by {LINE}, number""",
    "events": f"""
        select md5(concat_ws('/', anonymous_id, epoch_us(occurred_at), name, {LINE}, number)) as event_id, occurred_at,
            name, customer_id, anonymous_id, anonymous_id || '-' || session as session_id, item_id as product_id,
            {_CATEGORY} as category, query, {_NUMBER.format("quantity")} as quantity, {_NUMBER.format("price")} as price
        from flat where not ({_BOUGHT}) order by {LINE}, number""",
    # as the first event has it: what a product is called later must not be known before
    "products": f"""
        select item_id as product_id, {_first("item_name")} as name, {_first(_CATEGORY)} as category,
            {_first("item_brand")} as brand, min(occurred_at) as received_at
        from flat where item_id is not null group by 1 order by 1""",
}
