"""Reads a file of rows, in csv or parquet, into the lake as one declared table."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from regulars.errors import ImportRefused
from regulars.intake import (
    LINE,
    MOST_REFUSED_SHARE,
    Report,
    check_rows,
    columns_of,
    literal,
    match_columns,
    refused_by_rule,
    workspace,
    write_refused,
)
from regulars.lake import Batch, Lake
from regulars.tables import Table

FORMATS = (".csv", ".parquet")
CHECKED = "checked"


def import_file(
    lake: Lake,
    table: Table,
    file: Path,
    *,
    mapping: Mapping[str, str],
    timezone: str,
    refused_folder: Path,
    allow_rejects: bool = False,
) -> Report:
    """What became of the rows of ``file``; nothing of it is kept where it is refused.

    ``mapping``: field -> column of the file. Times without a zone are in ``timezone``.

    Raises:
        ImportRefused: an unreadable file, a missing column, or more than 5 % of rows refused.
    """
    with workspace() as connection:
        relation = open_file(connection, file)
        with lake.writing(connection) as batch:
            return add_rows(
                batch,
                connection,
                relation,
                table,
                mapping=mapping,
                timezone=timezone,
                source=file.name,
                refused_folder=refused_folder,
                allow_rejects=allow_rejects,
            )


def open_file(connection: duckdb.DuckDBPyConnection, file: Path) -> str:
    """The name of a relation with the file's raw columns and ``_line``, counted from 1 without a header.

    Raises:
        ImportRefused: where the file is not there, empty, of another format or broken.
    """
    if not file.is_file():
        raise ImportRefused(f"{file} is no file")
    if file.suffix.lower() not in FORMATS:
        raise ImportRefused(f"{file.name}: expected one of {', '.join(FORMATS)}, got {file.suffix or 'no ending'}")
    if file.stat().st_size == 0:
        raise ImportRefused(f"{file.name} is empty")
    path = literal(str(file))
    reader = f"read_parquet({path})"
    if file.suffix.lower() == ".csv":
        reader = f"read_csv({path}, all_varchar = true, header = true, null_padding = true)"
    try:
        columns_of(connection, reader)
        connection.execute(
            f"create or replace temp table raw as select row_number() over () as {LINE}, * from {reader}"
        )
    except duckdb.Error as error:
        raise ImportRefused(f"{file.name} cannot be read: {str(error).splitlines()[0]}") from error
    return "raw"


def add_rows(
    batch: Batch,
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    table: Table,
    *,
    mapping: Mapping[str, str],
    timezone: str,
    source: str,
    refused_folder: Path,
    allow_rejects: bool = False,
) -> Report:
    """Check the rows of ``relation`` and add the good ones to ``batch``; the refused ones go to a file of their own."""
    found = {name: kind for name, kind in columns_of(connection, relation).items() if name != LINE}
    fields = match_columns(table, found, mapping, source=source)
    check_rows(connection, relation, table, fields=fields, timezone=timezone, into=CHECKED)
    read = int(connection.execute(f"select count(*) from {CHECKED}").fetchall()[0][0])
    report = Report(
        table=table.name,
        read=read,
        added=0,
        identical=0,
        refused=refused_by_rule(connection, CHECKED),
        ignored_columns=tuple(name for name in found if name not in fields.values()),
    )
    report = _keep_refused(connection, relation, report, source=source, folder=refused_folder, number=batch.number)
    _refuse_too_many(report, source=source, allow_rejects=allow_rejects)
    added, identical = batch.add(CHECKED, table)
    return replace(report, added=added, identical=identical)


def _keep_refused(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    report: Report,
    *,
    source: str,
    folder: Path,
    number: int,
) -> Report:
    if not report.refused:
        return report
    file = folder / f"{number:06d}-{report.table}-{Path(source).stem}.csv"
    write_refused(connection, relation, CHECKED, file=file)
    return replace(report, refused_file=file)


def _refuse_too_many(report: Report, *, source: str, allow_rejects: bool) -> None:
    refused = sum(report.refused.values())
    if allow_rejects or refused <= MOST_REFUSED_SHARE * report.read:
        return
    rules = "; ".join(f"{count:,} x {rule}" for rule, count in list(report.refused.items())[:3])
    raise ImportRefused(
        f"{source}: {refused:,} of {report.read:,} rows of {report.table} are refused ({rules}); nothing was imported. "
        f"See {report.refused_file}, then mend the file or add --allow-rejects"
    )
