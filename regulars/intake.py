"""From raw columns to the columns of a declared table, with a rule named for every row that is refused.

Works inside DuckDB, so that a file of any size passes through in bounded memory. Nothing here knows where a file came
from (``features.sources``) or where rows are kept (``regulars.lake``).
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from regulars.eligibility import rule_error
from regulars.errors import ImportRefused, LakeError
from regulars.progress import Share, is_watched
from regulars.tables import Column, Table

MOST_REFUSED_SHARE = 0.05
MEMORY = "1200MB"  # beyond it DuckDB works on disk
ROWS_AT_ONCE = (
    16_000_000  # in one join, window or sort: on disk DuckDB does about ten times what its memory holds, not more
)
LINE = "_line"
RULE = "_rule"
_RECEIVED = Column("received_at", "time")
_ZONE = r":\d{2}(\.\d+)?\s*(Z|z|UTC|[+-]\d{2}(:?\d{2})?)$"
_WHOLE_FLOAT = r"^(0|-?[1-9][0-9]*)\.0$"
_ZONED = ("TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
CEL_RULE = "is_cel_rule"
_FLOATS = ("DOUBLE", "FLOAT", "DECIMAL")


@dataclass(frozen=True)
class Report:
    """What became of the rows of one file: ``read`` = ``added`` + ``identical`` + all that were refused.

    ``set_aside``: rule -> rows that are no sale; they are kept in ``charges``, and are that table's rows.
    ``examples``: rule -> the first row it refused, in words. ``how``: how the file was read.
    """

    table: str
    read: int
    added: int
    identical: int
    refused: dict[str, int] = field(default_factory=dict)
    refused_file: Path | None = None
    ignored_columns: tuple[str, ...] = ()
    set_aside: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    how: str = ""


@contextmanager
def workspace() -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of its own for one import, in UTC; closed at the end, and nothing of it stays."""
    with tempfile.TemporaryDirectory(prefix="regulars-") as scratch, duckdb.connect() as connection:
        connection.execute(
            f"set TimeZone = 'UTC'; set threads = 2; set memory_limit = '{MEMORY}'; "
            f"set temp_directory = {literal(scratch)}"
        )
        connection.create_function(CEL_RULE, _is_rule, ["VARCHAR"], "BOOLEAN")
        if is_watched():
            connection.execute(
                "set enable_progress_bar = true; set enable_progress_bar_print = false; set progress_bar_time = 0"
            )
        try:
            yield connection
        except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
            reason = str(error).splitlines()[0]
            raise LakeError(
                f"the import ended and nothing was kept: {reason}; it works in {MEMORY} of memory and beyond that in "
                f"{scratch}: make room there, set TMPDIR to a larger disk, or import the file in parts"
            ) from error


def querying(connection: duckdb.DuckDBPyConnection) -> Share:
    """The share (0-1) of the statement under way that is done, as far as DuckDB can tell."""
    return lambda: connection.query_progress() / 100


def quoted(name: str) -> str:
    """``name`` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """``text`` as an SQL string."""
    return "'" + text.replace("'", "''") + "'"


def count_of(connection: duckdb.DuckDBPyConnection, relation: str) -> int:
    """The number of rows of ``relation`` (a name, or a name with a where)."""
    return int(connection.execute(f"select count(*) from {relation}").fetchall()[0][0])


def passes(rows: int, key: Sequence[str]) -> list[str]:
    """SQL conditions that part ``rows`` rows into passes of at most about ``ROWS_AT_ONCE``, equal ones of ``key`` together.

    ``key``: SQL expressions.

    >>> passes(16_000_000, ["order_id"])
    ['true']
    >>> passes(20_000_000, ["order_id"])
    ['hash(order_id) % 2 = 0', 'hash(order_id) % 2 = 1']
    """
    count = -(-rows // ROWS_AT_ONCE)
    if count <= 1:
        return ["true"]
    return [f"hash({', '.join(key)}) % {count} = {number}" for number in range(count)]


def fill(connection: duckdb.DuckDBPyConnection, into: str, queries: Iterable[str]) -> None:
    """Create the temporary table ``into`` with the rows of ``queries``, one query after the other."""
    for number, query in enumerate(queries):
        begun = f"create or replace temp table {into} as" if number == 0 else f"insert into {into}"
        connection.execute(f"{begun} {query}")


def columns_of(connection: duckdb.DuckDBPyConnection, relation: str) -> dict[str, str]:
    """The columns of ``relation`` (a name or a query in parentheses) and their DuckDB types, in order."""
    rows = connection.execute(f"describe select * from {relation}").fetchall()
    return {name: str(kind) for name, kind, *_ in rows}


def match_columns(table: Table, found: Mapping[str, str], mapping: Mapping[str, str], *, source: str) -> dict[str, str]:
    """Field -> column of the file: as ``mapping`` says, else the column of the field's own name.

    Raises:
        ImportRefused: where a mapping names what is not there, or a required field has no column.
    """
    known = {*table.names, _RECEIVED.name}
    for name, column in mapping.items():
        if name not in known:
            raise ImportRefused(f"--map {name}={column}: {table.name} has no field {name}; it has {', '.join(known)}")
        if column not in found:
            raise ImportRefused(f"{source} has no column {column!r} to map to {name}; it has {', '.join(found)}")
    fields = {name: mapping.get(name, name) for name in (*table.names, _RECEIVED.name)}
    fields = {name: column for name, column in fields.items() if column in found}
    made_up = {table.default_key}
    missing = [c.name for c in table.columns if c.required and c.name not in fields and c.name not in made_up]
    if missing:
        raise ImportRefused(
            f"{source}: {table.name} needs {', '.join(missing)}, the file has the columns {', '.join(found)}; "
            f"name them with --map {missing[0]}=COLUMN"
        )
    return fields


def check_rows(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    table: Table,
    *,
    fields: Mapping[str, str],
    timezone: str,
    into: str,
) -> None:
    """Create the temporary table ``into``: the declared columns that ``fields`` give, ``_line`` and ``_rule``.

    ``relation`` holds the raw columns and ``_line``, the row's place in its file. ``_rule`` is null where a row is good.
    Times without a zone are taken as of ``timezone``.
    """
    types = columns_of(connection, relation)
    declared = [table.column(n) for n in table.names if n in fields]
    declared += [_RECEIVED] if _RECEIVED.name in fields else []
    typed = ", ".join(
        f"{_typed(quoted(fields[c.name]), types[fields[c.name]], c.type, timezone)} as {quoted(c.name)}, "
        f"({_given(quoted(fields[c.name]), types[fields[c.name]])}) as {quoted('given_' + c.name)}"
        for c in declared
    )
    kept = ", ".join(quoted(c.name) for c in declared)
    connection.execute(
        f"create or replace temp table {into} as with typed as (select {LINE}, {typed} from {relation}) "
        f"select {LINE}, {kept}, {_rules(table, declared)} as {RULE} from typed"
    )
    _make_key(connection, table, into, has={c.name for c in declared})


def refused_by_rule(connection: duckdb.DuckDBPyConnection, checked: str) -> dict[str, int]:
    """Rule -> number of rows it refused, most first."""
    rows = connection.execute(
        f"select {RULE}, count(*) from {checked} where {RULE} is not null group by 1 order by 2 desc, 1"
    ).fetchall()
    return dict(rows)


def refused_examples(
    connection: duckdb.DuckDBPyConnection, relation: str, checked: str, *, fields: Mapping[str, str]
) -> dict[str, str]:
    """Rule -> the first row that it refused: its number, counted without a header, the column and the value there."""
    firsts = connection.execute(
        f"select {RULE}, min({LINE}) from {checked} where {RULE} is not null group by 1 order by 1"
    ).fetchall()
    return {rule: _example(connection, relation, rule, line, fields) for rule, line in firsts}


def _example(
    connection: duckdb.DuckDBPyConnection, relation: str, rule: str, line: int, fields: Mapping[str, str]
) -> str:
    column = fields.get(rule.partition(":")[0])
    if column is None:
        return f"row {line}"
    value = connection.execute(f"select {quoted(column)}::varchar from {relation} where {LINE} = {line}").fetchall()
    return f"row {line}, column {column}: {value[0][0]!r}"


def write_refused(connection: duckdb.DuckDBPyConnection, relation: str, checked: str, *, file: Path) -> None:
    """Write the refused rows as they came, each with its line and rule, to the CSV file ``file``."""
    file.parent.mkdir(parents=True, exist_ok=True)
    connection.execute(
        f"copy (select c.{LINE} as row, c.{RULE} as rule, r.* exclude ({LINE}) from {checked} c "
        f"join {relation} r using ({LINE}) where c.{RULE} is not null order by 1) to {literal(str(file))} (header)"
    )


def _is_rule(text: str) -> bool:
    return rule_error(text) is None


def _given(column: str, kind: str) -> str:
    if kind == "VARCHAR":
        return f"trim({column}) <> ''"
    if kind.startswith(_FLOATS[:2]):
        return f"{column} is not null and not isnan({column})"
    return f"{column} is not null"


def _typed(column: str, kind: str, wanted: str, timezone: str) -> str:
    text = f"nullif(trim({column}::varchar), '')"
    if wanted == "id":
        return _id(column, kind, text)
    if wanted == "time":
        return _time(column, kind, text, timezone)
    if wanted == "number":
        return f"case when isfinite(try_cast({text} as double)) then try_cast({text} as double) end"
    if wanted == "integer":
        number = f"try_cast({text} as double)"
        return f"case when {number} = trunc({number}) then try_cast({number} as bigint) end"
    if wanted == "boolean":
        return (
            f"case when lower({text}) in ('true', 't', 'yes', 'y', '1', '1.0') then true "
            f"when lower({text}) in ('false', 'f', 'no', 'n', '0', '0.0') then false end"
        )
    if wanted == "date":
        return f"strftime(try_cast({text} as date), '%Y-%m-%d')"
    if wanted == "cel":
        return f"case when {CEL_RULE}({text}) then {text} end"
    if wanted == "json":
        as_json = text if kind == "VARCHAR" else f"to_json({column})::varchar"
        return f"case when json_valid({as_json}) then {as_json} end"
    return text


def _id(column: str, kind: str, text: str) -> str:
    if kind.startswith(_FLOATS):
        whole = f"{column} = trunc({column}) and abs({column}) < 1e18"
        number = f"case when {whole} then {column}::bigint::varchar else {column}::varchar end"
        return f"case when isfinite({column}::double) then {number} end"
    return rf"regexp_replace({text}, '{_WHOLE_FLOAT}', '\1')"


def _time(column: str, kind: str, text: str, timezone: str) -> str:
    local = f"({{}} at time zone {literal(timezone)}) at time zone 'UTC'"
    if kind in _ZONED:
        return f"({column}::timestamptz at time zone 'UTC')::timestamp"
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        return f"({local.format(f'{column}::timestamp')})::timestamp"
    if kind != "VARCHAR":
        return "null::timestamp"
    numeric = rf"regexp_replace({text}, '\s*(Z|z|UTC)$', '+00:00')"
    with_colon = rf"regexp_replace({numeric}, '\s*([+-]\d{{2}}):?(\d{{2}})$', '\1:\2')"
    zoned = f"try_cast({with_colon} as timestamptz) at time zone 'UTC'"
    plain = local.format(f"try_cast({text} as timestamp)")
    value = f"case when regexp_matches({text}, {literal(_ZONE)}) then {zoned} else {plain} end"
    return f"case when isfinite({value}) then ({value})::timestamp end"


def _rules(table: Table, declared: list[Column]) -> str:
    """One SQL expression: the first rule that a row breaks, or null."""
    whens = []
    for column in declared:
        name, given = quoted(column.name), quoted("given_" + column.name)
        whens.append((f"{given} and {name} is null", f"{column.name}: not a readable {column.type}"))
        if column.required:
            whens.append((f"{name} is null", f"{column.name}: missing"))
        if column.above is not None:
            whens.append((f"{name} <= {column.above}", f"{column.name}: must be above {column.above:g}"))
        if column.least is not None:
            whens.append((f"{name} < {column.least}", f"{column.name}: must be {column.least:g} or more"))
        if column.most is not None:
            whens.append((f"{name} > {column.most}", f"{column.name}: must be {column.most:g} or less"))
        if column.one_of:
            allowed = ", ".join(literal(value) for value in column.one_of)
            whens.append((f"{name} not in ({allowed})", f"{column.name}: must be one of {', '.join(column.one_of)}"))
    present = {column.name for column in declared}
    for group in table.any_of:
        empty = [f"{quoted(name)} is null" for name in group if name in present] or ["true"]
        whens.append((" and ".join(empty), f"{' or '.join(group)}: one of them must be given"))
    cases = " ".join(f"when {condition} then {literal(rule)}" for condition, rule in whens)
    return f"case {cases} end"


def _make_key(connection: duckdb.DuckDBPyConnection, table: Table, checked: str, *, has: set[str]) -> None:
    """Give rows of a file without ``table.default_key`` one of their own.

    An order line is numbered within its order and product. Other rows are named by a hash of what they say and, where
    a file says exactly the same twice, by a running number.
    """
    if table.default_key is None or table.default_key in has:
        return
    if table.default_key == "line_id":
        same = ["order_id", "product_id"]
        key = f"product_id || '#' || row_number() over (partition by order_id, product_id order by {LINE})"
    else:
        named = [quoted(name) for name in table.names if name in has]
        digest = "md5(concat_ws(chr(31), " + ", ".join(f"coalesce({n}::varchar, chr(30))" for n in named) + "))"
        same = [digest]
        key = f"{digest} || '-' || row_number() over (partition by {digest} order by {LINE})"
    unnamed = f"{checked}_unnamed"
    connection.execute(f"alter table {checked} rename to {unnamed}")
    parts = passes(count_of(connection, unnamed), same)
    fill(connection, checked, (f"select *, {key} as {table.default_key} from {unnamed} where {part}" for part in parts))
    connection.execute(f"drop table {unnamed}")
