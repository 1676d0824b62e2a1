"""Reads rows into the lake: those of a file as one declared table, or those of queries as several."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import duckdb

from features.sources.formats import open_file
from regulars.batch import Batch
from regulars.errors import ImportRefused
from regulars.intake import (
    LINE,
    MOST_REFUSED_SHARE,
    RULE,
    Report,
    check_rows,
    columns_of,
    match_columns,
    querying,
    refused_by_rule,
    refused_examples,
    workspace,
    write_refused,
)
from regulars.lake import Lake
from regulars.progress import stage
from regulars.tables import TABLES, Table

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
        opened = open_file(connection, file)
        with lake.writing(connection) as batch:
            report = add_rows(
                batch,
                connection,
                opened.relation,
                table,
                mapping=mapping,
                timezone=timezone,
                source=file.name,
                refused_folder=refused_folder,
                allow_rejects=allow_rejects,
            )
        return replace(report, how=opened.how)


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
    stage(f"{table.name}: checking rows", begins=0.0, ends=0.55, within=querying(connection))
    check_rows(connection, relation, table, fields=fields, timezone=timezone, into=CHECKED)
    read = int(connection.execute(f"select count(*) from {CHECKED}").fetchall()[0][0])
    report = Report(
        table=table.name,
        read=read,
        added=0,
        identical=0,
        refused=refused_by_rule(connection, CHECKED),
        examples=refused_examples(connection, relation, CHECKED, fields=fields),
        ignored_columns=tuple(name for name in found if name not in fields.values()),
    )
    report = _keep_refused(connection, relation, report, source=source, folder=refused_folder, number=batch.number)
    _refuse_too_many(report, source=source, allow_rejects=allow_rejects)
    added, identical = batch.add(CHECKED, table)
    return replace(report, added=added, identical=identical)


def add_queries(
    batch: Batch,
    connection: duckdb.DuckDBPyConnection,
    queries: Mapping[str, str],
    *,
    timezone: str,
    source: str,
    refused_folder: Path,
    allow_rejects: bool = False,
) -> list[Report]:
    """Add the rows of one query per table, each in the table's own column names and in a fixed order."""
    reports = []
    for table, query in queries.items():
        connection.execute(
            f"create or replace temp table raw as select row_number() over () as {LINE}, q.* from ({query}) q"
        )
        report = add_rows(
            batch,
            connection,
            "raw",
            TABLES[table],
            mapping={},
            timezone=timezone,
            source=f"{source}-{table}",
            refused_folder=refused_folder,
            allow_rejects=allow_rejects,
        )
        set_aside = _set_aside(connection) if table == "charges" else {}
        reports.append(replace(report, set_aside=set_aside))
    return reports


def _set_aside(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Rule -> number of lines it set aside, most first."""
    rows = connection.execute(
        f"select rule, count(*) from {CHECKED} where {RULE} is null group by 1 order by 2 desc, 1"
    ).fetchall()
    return dict(rows)


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
    rules = "; ".join(
        f"{count:,} x {rule}, first {report.examples[rule]}" for rule, count in list(report.refused.items())[:3]
    )
    raise ImportRefused(
        f"{source}: {refused:,} of {report.read:,} rows of {report.table} are refused ({rules}); nothing was imported. "
        f"See {report.refused_file}, then mend the file or add --allow-rejects"
    )
