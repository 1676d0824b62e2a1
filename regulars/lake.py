"""The only reader and writer of the lake: immutable Parquet files under a manifest.

``manifest.json`` names the files that are live. A writer holds one lock, writes new files beside the old ones, makes
them durable and then replaces the manifest in one rename: whoever reads, and whatever is killed, sees the state before
or the state after. Files that no manifest names are what a killed writer left; the next writer removes them.

::

    lake/manifest.json                     format, number of the next import, live files by table
    lake/orders/2017-01/000003.parquet     rows of January 2017 that import 3 brought
    lake/customers/none/000001.parquet     rows without a time of their own
    lake/scores/churn-3.parquet            the newest scores of version 3 of the churn model
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from regulars.as_of import ORDER, RECEIVED, with_validity
from regulars.engine import read_files
from regulars.errors import LakeError
from regulars.intake import LINE, RULE, columns_of, literal, quoted
from regulars.tables import TABLES, Table

FORMAT = 1
LOCK_WAIT_SECONDS = 600.0
_INCOMING = ".incoming"
_ROWS_PER_IMPORT = 2**32


@dataclass(frozen=True)
class File:
    """One live file: its path below the lake, the month of its rows (``none`` without a time), rows and SHA-256."""

    path: str
    month: str
    rows: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The state of the lake: live files by table, and the tables in which no key occurs twice."""

    next_import: int
    files: dict[str, tuple[File, ...]]
    unique: frozenset[str]

    def content_hash(self) -> str:
        """A hash of all that the lake holds: equal for equal live files."""
        lines = sorted(f"{table} {file.sha256}" for table, files in self.files.items() for file in files)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


class Lake:
    """The lake in ``folder``; making one touches nothing on disk."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def manifest(self) -> Manifest:
        """The state of the lake now; empty where nothing was ever written.

        Raises:
            LakeError: where the manifest cannot be read or is of another format.
        """
        try:
            raw = json.loads((self.folder / "manifest.json").read_text())
        except FileNotFoundError:
            return Manifest(1, {}, frozenset())
        except (OSError, ValueError) as error:
            raise LakeError(f"the lake's manifest in {self.folder} cannot be read: {error}") from error
        if raw.get("format") != FORMAT:
            raise LakeError(f"expected a lake of format {FORMAT}, got {raw.get('format')} in {self.folder}")
        files = {table: tuple(File(**file) for file in listed) for table, listed in raw["files"].items()}
        return Manifest(raw["next_import"], files, frozenset(raw["unique"]))

    def tables(self, engine: ibis.BaseBackend) -> dict[str, ibis.Table]:
        """Every table that has rows, as ``regulars.as_of`` wants them: all versions, with the span each is known."""
        manifest = self.manifest()
        read = {}
        for name, files in manifest.files.items():
            rows = read_files(engine, [str(self.folder / file.path) for file in files], name=name)
            unique = name in manifest.unique
            valid = with_validity(rows, TABLES[name], unique=unique)
            read[name] = valid if unique else _kept(engine, f"versions_of_{name}", valid)
        return read

    @contextmanager
    def writing(self, connection: duckdb.DuckDBPyConnection) -> Iterator["Batch"]:
        """One writer at a time; what the batch adds becomes visible together, when the block ends without an error.

        Raises:
            LakeError: where another writer holds the lake for ten minutes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=LOCK_WAIT_SECONDS):
                self._remove_leftovers()
                batch = Batch(self, connection)
                yield batch
                batch._commit()
        except Timeout as error:
            raise LakeError(f"another program has been writing to {self.folder} for ten minutes; try again") from error

    def keep_scores(self, scores: pd.DataFrame, *, model: str, version: int, as_of: datetime) -> None:
        """Keep ``scores`` as what ``version`` says at ``as_of``, unless it already said something at a later moment."""
        kept = self.scores(model=model, version=version)
        if kept is not None and kept[1] > as_of:
            return
        path = self._scores_path(model, version)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".new")
        table = pa.Table.from_pandas(scores, preserve_index=False)
        pq.write_table(
            table.replace_schema_metadata({**table.schema.metadata, b"as_of": as_of.isoformat().encode()}),
            written,
        )
        _sync(written)
        written.replace(path)

    def scores(self, *, model: str, version: int) -> tuple[pd.DataFrame, datetime] | None:
        """The newest scores of ``version`` and the moment they are as of, or None."""
        path = self._scores_path(model, version)
        if not path.exists():
            return None
        table = pq.read_table(path)
        return table.to_pandas(), datetime.fromisoformat(table.schema.metadata[b"as_of"].decode())

    def _scores_path(self, model: str, version: int) -> Path:
        return self.folder / "scores" / f"{model}-{version}.parquet"

    def _remove_leftovers(self) -> None:
        live = {file.path for files in self.manifest().files.values() for file in files}
        shutil.rmtree(self.folder / _INCOMING, ignore_errors=True)
        for path in self.folder.glob("*/*/*.parquet"):
            if path.relative_to(self.folder).as_posix() not in live:
                path.unlink()

    def _swap(self, manifest: Manifest) -> None:
        body = {
            "format": FORMAT,
            "next_import": manifest.next_import,
            "unique": sorted(manifest.unique),
            "files": {table: [asdict(file) for file in files] for table, files in manifest.files.items()},
        }
        written = self.folder / "manifest.json.new"
        with written.open("w") as file:
            json.dump(body, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        written.replace(self.folder / "manifest.json")
        _sync(self.folder)


class Batch:
    """Rows on their way into the lake; made by ``Lake.writing``."""

    def __init__(self, lake: Lake, connection: duckdb.DuckDBPyConnection) -> None:
        self._lake = lake
        self._connection = connection
        self._manifest = lake.manifest()
        self.number = self._manifest.next_import

    def add(self, checked: str, table: Table) -> tuple[int, int]:
        """Write the good rows of ``checked`` (see ``regulars.intake``); returns (added, identical to earlier ones)."""
        good = self._number_rows(checked, table)
        repeated = self._has_repeated_keys(good, table)
        fresh = self._without_known(good, table, repeated=repeated)
        files = self._write(fresh, table)
        unique = table.name not in self._manifest.files or table.name in self._manifest.unique
        still_unique = unique and not repeated and not self._meets_known_keys(fresh, table)
        if files:
            self._manifest = replace(
                self._manifest,
                next_import=self.number + 1,
                files={**self._manifest.files, table.name: self._live(table) + files},
                unique=(self._manifest.unique | {table.name}) if still_unique else self._manifest.unique - {table.name},
            )
        added = sum(file.rows for file in files)
        return added, self._count(good) - added

    def _commit(self) -> None:
        if self._manifest != self._lake.manifest():
            self._lake._swap(self._manifest)

    def _live(self, table: Table) -> tuple[File, ...]:
        return self._manifest.files.get(table.name, ())

    def _count(self, relation: str) -> int:
        return int(self._connection.execute(f"select count(*) from {relation}").fetchall()[0][0])

    def _number_rows(self, checked: str, table: Table) -> str:
        """The view ``good``: every declared column in order, ``received_at``, ``import_order`` and the month."""
        has = columns_of(self._connection, checked)
        columns = ", ".join(
            quoted(c.name) if c.name in has else f"null::{_SQL_TYPES[c.type]} as {quoted(c.name)}"
            for c in table.columns
        )
        times = [quoted(name) for name in table.time if name in has]
        own = f"least({', '.join(times)})" if times else "null::timestamp"
        received = f"nullif({RECEIVED}, {own})" if RECEIVED in has else "null::timestamp"
        order = f"({self.number}::bigint * {_ROWS_PER_IMPORT} + {LINE})::bigint"
        self._connection.execute(
            f"create or replace temp view good as select {columns}, {received} as {RECEIVED}, {order} as {ORDER}, "
            f"coalesce(strftime({own}, '%Y-%m'), 'none') as _month from {checked} where {RULE} is null"
        )
        return "good"

    def _has_repeated_keys(self, good: str, table: Table) -> bool:
        key = ", ".join(map(quoted, table.key))
        query = f"select 1 from {good} group by {key} having count(*) > 1 limit 1"
        return bool(self._connection.execute(query).fetchall())

    def _without_known(self, good: str, table: Table, *, repeated: bool) -> str:
        """``good`` without rows that say what an earlier version of their key already said."""
        same = [quoted(name) for name in (*table.names, RECEIVED)]
        key = {quoted(name) for name in table.key}
        once = f"qualify row_number() over (partition by {', '.join(same)} order by {ORDER}) = 1" if repeated else ""
        months = {row[0] for row in self._connection.execute(f"select distinct _month from {good}").fetchall()}
        files = [file for file in self._live(table) if file.month in months]
        unseen = ""
        if files:
            equal = " and ".join(
                f"o.{name} = n.{name}" if name in key else f"o.{name} is not distinct from n.{name}" for name in same
            )
            unseen = f"where not exists (select 1 from {self._scan(files)} o where {equal})"
        self._connection.execute(
            f"create or replace temp table fresh as select * from (select n.* from {good} n {unseen}) {once}"
        )
        return "fresh"

    def _meets_known_keys(self, fresh: str, table: Table) -> bool:
        files = self._live(table)
        if not files:
            return False
        using = ", ".join(map(quoted, table.key))
        query = f"select 1 from {fresh} join {self._scan(files)} using ({using}) limit 1"
        return bool(self._connection.execute(query).fetchall())

    def _scan(self, files: list[File] | tuple[File, ...]) -> str:
        paths = ", ".join(literal(str(self._lake.folder / file.path)) for file in files)
        return f"read_parquet([{paths}])"

    def _write(self, fresh: str, table: Table) -> tuple[File, ...]:
        if not self._count(fresh):
            return ()
        incoming = self._lake.folder / _INCOMING / table.name
        incoming.parent.mkdir(parents=True, exist_ok=True)
        self._connection.execute(
            f"copy (select * from {fresh} order by {ORDER}) to {literal(str(incoming))} (format parquet, compression zstd, "
            f"partition_by (_month), write_partition_columns false, overwrite_or_ignore true)"
        )
        return tuple(
            file
            for folder in sorted(incoming.iterdir())
            for file in self._settle(table, folder.name.partition("=")[2], folder)
        )

    def _settle(self, table: Table, month: str, folder: Path) -> Iterator[File]:
        """Move the files that one month brought to their place, durable before anything names them."""
        target = self._lake.folder / table.name / month
        target.mkdir(parents=True, exist_ok=True)
        for part, written in enumerate(sorted(folder.glob("*.parquet"))):
            path = target / f"{self.number:06d}{f'-{part}' if part else ''}.parquet"
            _sync(written)
            written.replace(path)
            with path.open("rb") as opened:
                digest = hashlib.file_digest(opened, "sha256").hexdigest()
            rows = self._count(f"read_parquet({literal(str(path))})")
            yield File(path.relative_to(self._lake.folder).as_posix(), month, rows, digest)
        _sync(target)


_SQL_TYPES = {
    "id": "varchar",
    "text": "varchar",
    "json": "varchar",
    "date": "varchar",
    "number": "double",
    "integer": "bigint",
    "boolean": "boolean",
    "time": "timestamp",
}


def _kept(engine: ibis.BaseBackend, name: str, rows: ibis.Table) -> ibis.Table:
    """``rows`` computed once: every later look at them filters on what was computed."""
    if engine.name == "duckdb":
        engine.raw_sql(f"create or replace temp table {quoted(name)} as {ibis.to_sql(rows, dialect='duckdb')}")
        return engine.table(name, database=("temp", "main"))
    return rows.cache()


def _sync(path: Path) -> None:
    """Ask the system to make a file, or a folder's list of names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
