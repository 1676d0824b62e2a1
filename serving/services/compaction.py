"""Events and rows that the service received, moved into the lake: exactly once, whatever is killed in between.

A batch is written to the lake first and counted in the store afterwards. What was written and not counted is written
again: the same rows under the same keys, which the lake recognises and leaves out.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import Row

from features.sources.files import add_queries
from regulars.intake import workspace
from regulars.lake import Lake
from regulars.tables import TABLES, Table
from serving.services.changes import readable
from serving.services.event_names import CANCELLED, ORDER, REFUND
from serving.services.impressions import impressions
from serving.services.tracking import PAGE
from serving.services.trials import trials
from serving.store.changes import COMPACTED as CHANGES
from serving.store.changes import changes_after
from serving.store.database import Store
from serving.store.events import COMPACTED as EVENTS
from serving.store.events import compacted, events_after, set_compacted
from serving.store.schema import EPOCH

AT_ONCE = 50_000
SHOWN_AT_ONCE = 5_000  # recommendations, of some ten products each
TRAITS = {
    "email": "email",
    "name": "name",
    "phone": "phone",
    "birthday": "birth_date",
    "createdAt": "created_at",
    "created_at": "created_at",
    "locale": "locale",
    "timezone": "timezone",
}
NAMES = ("firstName", "lastName")
ADDRESS = {"country": "country", "state": "region", "region": "region", "city": "city"}

Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Compacted:
    """How many events, rows, decisions with their outcomes and recommendations were moved; the numbers of the former two up to
    which the lake now holds them.
    """

    events: int
    changes: int
    decisions: int
    shown: int
    events_seq: int
    changes_seq: int


def compact(store: Store, lake: Lake, *, timezone: str, refused_folder: Path) -> Compacted:
    """Move all that was received so far into the lake, 50,000 events at a time."""
    moved_events = moved_changes = 0
    seq = compacted(store, EVENTS)
    while rows := events_after(store, seq, limit=AT_ONCE):
        _write(lake, _tables_of(rows, lake), timezone=timezone, refused_folder=refused_folder, source="events")
        seq, moved_events = rows[-1].seq, moved_events + len(rows)
        set_compacted(store, seq, EVENTS)
    last = compacted(store, CHANGES)
    while told := changes_after(store, last, limit=AT_ONCE):
        _write(lake, _changed(told, lake), timezone=timezone, refused_folder=refused_folder, source="changes")
        last, moved_changes = told[-1].seq, moved_changes + len(told)
        set_compacted(store, last, CHANGES)
    counts = []
    for source, batches in (
        ("decisions", trials(store, at_once=AT_ONCE)),
        ("shown", impressions(store, at_once=SHOWN_AT_ONCE)),
    ):
        counts.append(0)
        for batch in batches:
            tables = {batch.table: batch.rows}
            _write(lake, tables, timezone=timezone, refused_folder=refused_folder, source=source)
            if batch.new:
                set_compacted(store, batch.upto, batch.name)
                counts[-1] += batch.new
    return Compacted(moved_events, moved_changes, *counts, seq, last)


def _write(lake: Lake, tables: Rows, *, timezone: str, refused_folder: Path, source: str) -> None:
    """Add rows of declared tables to the lake, all or nothing."""
    filled = {name: rows for name, rows in tables.items() if rows}
    if not filled:
        return
    with workspace() as connection:
        for name, rows in filled.items():
            connection.register(f"sent_{name}", _columns(rows, TABLES[name]))
        with lake.writing(connection) as batch:
            add_queries(
                batch,
                connection,
                {name: f"select * from sent_{name}" for name in filled},
                timezone=timezone,
                source=source,
                refused_folder=refused_folder,
                allow_rejects=True,
            )


def _columns(rows: Sequence[Mapping[str, Any]], table: Table) -> pa.Table:
    """``rows`` under the table's columns, each of one type; times are in UTC."""
    types = {"time": pa.timestamp("us", "UTC"), "number": pa.float64(), "integer": pa.float64(), "boolean": pa.bool_()}
    fields = [(column.name, types.get(column.type, pa.string())) for column in table.columns]
    fields.append(("received_at", types["time"]))
    columns = [[_plain(row.get(name), kind) for row in rows] for name, kind in fields]
    return pa.table(
        [pa.array(values, kind) for values, (_, kind) in zip(columns, fields, strict=True)],
        [name for name, _ in fields],
    )


def _plain(value: Any, kind: pa.DataType) -> Any:
    return datetime.fromisoformat(value) if pa.types.is_timestamp(kind) and isinstance(value, str) else value


def _tables_of(rows: Sequence[Row[Any]], lake: Lake) -> Rows:
    """Every lake table that the events bring rows of."""
    found: Rows = {"events": [], "event_orders": [], "returns": [], "customers": []}
    whole: list[tuple[Row[Any], dict[str, Any]]] = []
    patches: list[tuple[str, datetime, dict[str, Any]]] = []
    for row in rows:
        body = json.loads(row.body)
        found["events"] += _event_rows(row, body)
        order = body.get("order")
        if row.name == ORDER and order:
            found["event_orders"] += _order_rows(row, order)
        elif row.name in (REFUND, CANCELLED) and order:
            if order["lines"]:
                found["returns"] += _return_rows(row, order["order_id"], order["lines"])
            else:
                whole.append((row, order))
        if "traits" in body and row.customer_id:
            patches.append((row.customer_id, row.received_at, _customer(body["traits"])))
    lines = _lines_of_orders(lake, {order["order_id"] for _, order in whole}, found["event_orders"])
    for row, order in whole:
        found["returns"] += _return_rows(row, order["order_id"], lines.get(order["order_id"], []))
    found["customers"] = list(_patched(lake, TABLES["customers"], patches))
    return found


def _event_rows(row: Row[Any], body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row, or one for each of several products."""
    event_id = f"page:{row.message_id}" if row.origin == PAGE else row.message_id
    told = {
        "occurred_at": row.occurred_at.isoformat(),
        "received_at": row.received_at,
        "name": row.name,
        "customer_id": row.customer_id,
        "anonymous_id": row.anonymous_id,
        "session_id": row.session_id,
        **{key: body.get(key) for key in ("category", "query", "recommendation_id", "decision_id")},
        "properties": json.dumps(body["properties"]),
    }
    products = body.get("lines") or [body.get("product_id")]
    if len(products) == 1:
        amounts = {"quantity": body.get("quantity"), "price": body.get("price")}
        return [{"event_id": event_id, "product_id": products[0], **amounts, **told}]
    return [
        {"event_id": f"{event_id}#{number}", "product_id": product, **told}
        for number, product in enumerate(products, 1)
    ]


def _order_rows(row: Row[Any], order: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "order_id": order["order_id"],
            "line_id": str(number),
            "customer_id": row.customer_id,
            "ordered_at": row.occurred_at.isoformat(),
            "received_at": row.received_at,
            "coupon_id": order.get("coupon_id"),
            "channel": order.get("channel", "online"),
            **line,
        }
        for number, line in enumerate(order["lines"], 1)
    ]


def _return_rows(row: Row[Any], order_id: str, lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    reason = "cancelled" if row.name == CANCELLED else "other"
    return [
        {
            "return_id": f"{row.message_id}#{number}",
            "order_id": order_id,
            "customer_id": row.customer_id,
            "product_id": line["product_id"],
            "returned_at": row.occurred_at.isoformat(),
            "received_at": row.received_at,
            "quantity": 1.0 if line.get("quantity") is None else line["quantity"],
            "amount": line.get("amount"),
            "reason": reason,
        }
        for number, line in enumerate(lines, 1)
    ]


def _lines_of_orders(
    lake: Lake, orders: set[str], sent: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """What was ordered, by order: as the lake has it, else as the events beside have it."""
    found: dict[str, list[dict[str, Any]]] = {}
    for rows in (sent, *(lake.versions(name, "order_id", sorted(orders)) for name in ("event_orders", "orders"))):
        newest = {(row["order_id"], row["line_id"]): row for row in rows if row["order_id"] in orders}
        by_order: dict[str, list[dict[str, Any]]] = {}
        for row in newest.values():
            line = {"product_id": row["product_id"], "quantity": row["quantity"]}
            line["amount"] = round(row["quantity"] * row["unit_price"], 6)
            by_order.setdefault(row["order_id"], []).append(line)
        found |= by_order
    return found


def _customer(traits: Mapping[str, Any]) -> dict[str, Any]:
    """Segment's traits as fields of ``customers``; what has no field of its own is among the attributes."""
    address = traits.get("address")
    told = {field: traits[trait] for trait, field in TRAITS.items() if trait in traits}
    if isinstance(address, dict):
        told |= {field: address[part] for part, field in ADDRESS.items() if part in address}
    if "name" not in told and (traits.get("firstName") or traits.get("lastName")):
        told["name"] = " ".join(str(traits[part]) for part in ("firstName", "lastName") if traits.get(part))
    others = {trait: value for trait, value in traits.items() if trait not in (*TRAITS, "address", *NAMES)}
    if others:
        told["attributes"] = others
    return readable(told, TABLES["customers"])


def _changed(rows: Sequence[Row[Any]], lake: Lake) -> Rows:
    """The versions that the sent rows make, by table."""
    by_table: dict[str, list[tuple[str, datetime, dict[str, Any]]]] = {}
    for row in rows:
        by_table.setdefault(row.table_name, []).append((row.row_key, row.received_at, json.loads(row.body)))
    return {name: list(_patched(lake, TABLES[name], told)) for name, told in by_table.items()}


def _patched(
    lake: Lake, table: Table, told: Sequence[tuple[str, datetime, dict[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """For each patch, in order, the whole row that it makes of the newest one received before it."""
    (key,) = table.key
    versions: dict[str, list[dict[str, Any]]] = {}
    for row in lake.versions(table.name, key, sorted({who for who, _, _ in told})):
        versions.setdefault(row[key], []).append(row)
    current: dict[str, dict[str, Any]] = {}
    for who, received_at, fields in told:
        earlier = (row for row in reversed(versions.get(who, ())) if _received(row) < received_at)
        before = current[who] if who in current else next(earlier, {})
        row = {name: fields.get(name, before.get(name)) for name in table.names} | {key: who}
        if fields.get("attributes") and before.get("attributes"):
            row["attributes"] = json.dumps(json.loads(before["attributes"]) | json.loads(fields["attributes"]))
        current[who] = row | {"received_at": received_at}
        yield current[who]


def _received(row: Mapping[str, Any]) -> datetime:
    at = row["received_at"]
    return at if isinstance(at, datetime) else EPOCH
