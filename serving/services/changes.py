"""Rows of products, customers and offers that a shop sends: checked as the tables declare them, kept, shown at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Connection

from regulars.eligibility import rule_error
from regulars.tables import TABLES, Column, Table
from serving.store.changes import ChangeRow, add_changes, withdraw_consents
from serving.store.schema import CHANNELS

LONGEST_TEXT = 10_000


class Wrong(Exception):
    """Why a row is not taken."""


@dataclass(frozen=True)
class Checked:
    """The rows that are good, and for each of the others its place and the reason."""

    rows: list[ChangeRow]
    rejected: list[dict[str, Any]]


def check_changes(name: str, rows: Sequence[Any], *, received_at: datetime, zone: ZoneInfo) -> Checked:
    """``rows`` of the table ``name``: each gives its key and the fields that change; a null takes a value away."""
    table, good, rejected = TABLES[name], [], []
    for place, row in enumerate(rows):
        try:
            told = _checked(row, table, zone)
            key = told[table.key[0]]
            good.append(ChangeRow(name, key, received_at, orjson.dumps(told).decode()))
        except Wrong as reason:
            rejected.append({"index": place, "reason": str(reason)})
    return Checked(good, rejected)


def keep_changes(connection: Connection, rows: Sequence[ChangeRow]) -> int:
    """Write ``rows``, and let a consent that is taken back count at once."""
    if not rows:
        return 0
    for row in rows:
        if row.table_name == "customers":
            told = orjson.loads(row.body)
            withdraw_consents(
                connection, row.row_key, [c for c in CHANNELS if told.get(f"consent_{c}", True) is not True]
            )
    return add_changes(connection, rows)


def readable(row: Mapping[str, Any], table: Table) -> dict[str, Any]:
    """The fields of ``row`` that can be read as ``table`` declares them; times without a zone are in UTC."""
    told = {}
    for name, given in row.items():
        try:
            told[name] = _value(given, table.column(name), ZoneInfo("UTC"))
        except Wrong:
            continue
    return told


def _checked(row: Any, table: Table, zone: ZoneInfo) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise Wrong(f"a row must be an object, got {type(row).__name__}")
    unknown = [name for name in row if name not in table.names]
    if unknown:
        raise Wrong(f"{unknown[0]}: {table.name} has no such field; it has {', '.join(table.names)}")
    told = {name: _value(row[name], table.column(name), zone) for name in row}
    if told.get(table.key[0]) is None:
        raise Wrong(f"{table.key[0]}: missing")
    return told


def _value(given: Any, column: Column, zone: ZoneInfo) -> Any:
    """What the lake would read of it; null stays null."""
    if given is None or given == "":
        return None
    reads = {
        "id": _id,
        "text": _text,
        "cel": _rule,
        "number": _number,
        "integer": _integer,
        "boolean": _boolean,
        "json": _json,
        "date": _date,
    }
    value = _time(given, column, zone) if column.type == "time" else reads[column.type](given, column)
    if column.above is not None and value <= column.above:
        raise Wrong(f"{column.name}: must be above {column.above:g}")
    if column.least is not None and value < column.least:
        raise Wrong(f"{column.name}: must be {column.least:g} or more")
    if column.most is not None and value > column.most:
        raise Wrong(f"{column.name}: must be {column.most:g} or less")
    if column.one_of and value not in column.one_of:
        raise Wrong(f"{column.name}: must be one of {', '.join(column.one_of)}")
    return value


def _wrong(given: Any, column: Column) -> Wrong:
    return Wrong(f"{column.name}: not a readable {column.type}, got {str(given)[:60]!r}")


def _text(given: Any, column: Column) -> str | None:
    if not isinstance(given, str) or len(given) > LONGEST_TEXT or "\x00" in given:
        raise _wrong(given, column)
    return given.strip() or None


def _rule(given: Any, column: Column) -> str | None:
    text = _text(given, column)
    why = None if text is None else rule_error(text)
    if why is not None:
        raise Wrong(f"{column.name}: {why}")
    return text


def _id(given: Any, column: Column) -> str | None:
    if isinstance(given, float) and given.is_integer():
        given = int(given)
    if isinstance(given, int) and not isinstance(given, bool):
        return str(given)
    return _text(given, column)


def _number(given: Any, column: Column) -> float:
    try:
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(given, column)
    return number


def _integer(given: Any, column: Column) -> int:
    number = _number(given, column)
    if not number.is_integer():
        raise _wrong(given, column)
    return int(number)


def _boolean(given: Any, column: Column) -> bool:
    if not isinstance(given, bool):
        raise _wrong(given, column)
    return given


def _json(given: Any, column: Column) -> str:
    if isinstance(given, dict | list):
        return orjson.dumps(given).decode()
    try:
        orjson.loads(given)
    except (orjson.JSONDecodeError, TypeError):
        raise _wrong(given, column) from None
    return str(given)


def _date(given: Any, column: Column) -> str:
    try:
        return date.fromisoformat(given).isoformat()
    except (TypeError, ValueError):
        raise _wrong(given, column) from None


def _time(given: Any, column: Column, zone: ZoneInfo) -> str:
    try:
        at = datetime.fromisoformat(given)
    except (TypeError, ValueError):
        raise _wrong(given, column) from None
    at = at.replace(tzinfo=zone) if at.tzinfo is None else at
    return at.astimezone(UTC).isoformat()
