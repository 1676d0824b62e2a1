"""The only reader and writer of the lake: immutable Parquet files under a manifest.

``manifest.json`` names the files that are live. A writer holds one lock, writes new files beside the old ones, makes
them durable and then replaces the manifest in one rename: whoever reads, and whatever is killed, sees the state before
or the state after. Files that no manifest names are what a killed writer left; the next writer removes them.

::

    lake/manifest.json                     format, number of the next import, live files by table
    lake/orders/2017-01/000003.parquet     rows of January 2017 that import 3 brought
    lake/orders/all/000004-3of16.parquet   of a large import, the fourth of sixteen slices of customers, all months
    lake/customers/none/000001.parquet     rows without a time of their own
    lake/scores/churn-3.parquet            the newest scores of version 3 of the churn model
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import duckdb
import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from regulars.as_of import ORDER, RECEIVED, giving_way, with_validity
from regulars.engine import read_files
from regulars.errors import LakeError
from regulars.intake import LINE, ROWS_AT_ONCE, RULE, columns_of, count_of, fill, literal, passes, querying, quoted
from regulars.progress import stage
from regulars.slices import ALL, PART, PART_SQL, PARTS, LakeTables, parquet, slices_for
from regulars.tables import TABLES, Table

FORMAT = 2
LOCK_WAIT_SECONDS = 600.0
LEASE_SECONDS = 60.0
BUFFERED_ROWS = 262_144  # of all months or slices together, by each thread, while an import is parted
LEAST_BUFFERED_ROWS = 2_048
_READERS = ".readers"
_INCOMING = ".incoming"
FRESH = "fresh"
ORDERS = ("orders", "event_orders")
_ROWS_PER_IMPORT = 2**32


@dataclass(frozen=True)
class File:
    """One live file: its path below the lake, the month of its rows (``none`` without a time, or ``all``), rows, SHA-256.

    ``slice``: which customers it holds, see ``regulars.slices``.
    """

    path: str
    month: str
    rows: int
    sha256: str
    slice: str = ALL


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
        self._reading: IO[bytes] | None = None

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

    def tables(self, engine: ibis.BaseBackend) -> LakeTables:
        """Every table that has rows, as ``regulars.as_of`` wants them: all versions, with the span each is known."""
        self._begin_reading()
        manifest = self.manifest()
        rows = sum(file.rows for file in manifest.files.get("orders", ()))
        read = LakeTables(engine, slices=slices_for(rows) if engine.name == "duckdb" else 1)
        for name, files in manifest.files.items():
            read[name] = self._rows(read, engine, name, files, unique=name in manifest.unique)
        if "event_orders" in read:
            read["orders"] = self._all_orders(read, engine)
        return read

    def _all_orders(self, read: LakeTables, engine: ibis.BaseBackend) -> ibis.Table:
        """Orders that were imported, and those known by event alone."""
        told, imported = read.pop("event_orders"), read.get("orders")
        if imported is None:
            return told
        resolved = giving_way(told, imported, by="order_id")
        if engine.name != "duckdb":
            return ibis.union(imported, resolved.cache())
        engine.raw_sql(f"create or replace temp table told_orders as {ibis.to_sql(resolved, dialect='duckdb')}")
        kept = read.view("select * from told_orders", table=TABLES["event_orders"])
        return read.named(ibis.union(imported, kept.select(imported.columns)), name="orders")

    def _rows(
        self, read: LakeTables, engine: ibis.BaseBackend, name: str, files: Sequence[File], *, unique: bool
    ) -> ibis.Table:
        table = TABLES[name]
        paths = [str(self.folder / file.path) for file in files]
        if engine.name != "duckdb":
            rows = with_validity(read_files(engine, paths, name=name), table, unique=unique)
            return rows if unique else rows.cache()
        if unique:
            sliced = [(path, file.slice) for path, file in zip(paths, files, strict=True)]
            rows = read.view(parquet(paths), table=table, files=sliced)
            return read.named(with_validity(rows, table, unique=True), name=name)
        versions = f"versions_of_{name}"
        valid = with_validity(read_files(engine, paths, name=name), table)
        engine.raw_sql(f"create or replace temp table {versions} as {ibis.to_sql(valid, dialect='duckdb')}")
        return read.view(f"select * from {versions}", table=table)

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

    def forget(self, customer_id: str) -> dict[str, int]:
        """Remove every row of a customer, and what hangs on their orders and assignments; table -> rows removed.

        The files that hold them are written anew without them, the manifest is swapped, and the old files are deleted once
        nobody reads them any more; a reader of more than a minute leaves that to the next writer.
        """
        removed: dict[str, int] = {}
        with duckdb.connect() as connection, self.writing(connection) as batch:
            for name, condition in _held(connection, self, customer_id).items():
                removed[name] = batch.remove(TABLES[name], condition)
        for path in sorted((self.folder / "scores").glob("*.parquet")):
            removed["scores"] = removed.get("scores", 0) + _without_customer(path, customer_id)
        self._delete_unlisted(wait_s=LEASE_SECONDS)
        return {name: count for name, count in removed.items() if count}

    def rows_of(self, customer_id: str) -> dict[str, pd.DataFrame]:
        """Every row that the lake holds of a customer, all versions, by table; for handing over."""
        found = {}
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            for name, condition in _held(connection, self, customer_id).items():
                scan = self._scan(self.manifest().files[name])
                rows = connection.execute(f"select * from {scan} where {condition}").df()
                if len(rows):
                    found[name] = rows.drop(columns=[ORDER, PART], errors="ignore")
        return found

    def versions(self, name: str, column: str, values: Sequence[str]) -> list[dict[str, Any]]:
        """Every version of the rows of table ``name`` whose ``column`` is one of ``values``, the earliest received first.

        Times are in UTC. Empty where there is no such table.
        """
        files = self.manifest().files.get(name)
        if not files or not values:
            return []
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            rows = connection.sql(
                f"select * from {self._scan(files)} where {quoted(column)} in (select unnest($wanted)) "
                f"order by {RECEIVED} nulls first, {ORDER}",
                params={"wanted": list(values)},
            ).to_arrow_table()
        return [
            {key: value.replace(tzinfo=UTC) if isinstance(value, datetime) else value for key, value in row.items()}
            for row in rows.drop_columns([ORDER]).to_pylist()
        ]

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

    def _scan(self, files: Sequence[File]) -> str:
        paths = ", ".join(literal(str(self.folder / file.path)) for file in files)
        return f"read_parquet([{paths}])"

    def _begin_reading(self) -> None:
        """Hold, as long as this object lives, that files may be read: nobody deletes any meanwhile."""
        if self._reading is None and self.folder.exists():
            self._reading = (self.folder / _READERS).open("ab")
            fcntl.flock(self._reading, fcntl.LOCK_SH)

    def _remove_leftovers(self) -> None:
        shutil.rmtree(self.folder / _INCOMING, ignore_errors=True)
        self._delete_unlisted(wait_s=0.0)

    def _delete_unlisted(self, *, wait_s: float) -> None:
        """Delete the files that the manifest does not name, unless somebody reads for longer than ``wait_s``."""
        live = {file.path for files in self.manifest().files.values() for file in files}
        unlisted = [
            path for path in self.folder.glob("*/*/*.parquet") if path.relative_to(self.folder).as_posix() not in live
        ]
        if not unlisted:
            return
        with (self.folder / _READERS).open("ab") as alone:
            until = time.monotonic() + wait_s
            while not _locked(alone):
                if time.monotonic() >= until:
                    return
                time.sleep(0.1)
            for path in unlisted:
                path.unlink(missing_ok=True)

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
        stage(f"{table.name}: comparing with what is known", begins=0.55, ends=0.75, within=querying(self._connection))
        good = self._number_rows(checked, table)
        count = self._count(good)
        repeated = self._has_repeated_keys(good, table, count)
        fresh = self._without_known(good, table, count, repeated=repeated)
        stage(f"{table.name}: writing", begins=0.75, ends=1.0, within=querying(self._connection))
        files = self._write(fresh, table)
        unique = table.name not in self._manifest.files or table.name in self._manifest.unique
        still_unique = unique and not repeated and not self._meets_known_keys(fresh, table)
        self._connection.execute(f"drop table if exists {FRESH}")
        if files:
            self._manifest = replace(
                self._manifest,
                next_import=self.number + 1,
                files={**self._manifest.files, table.name: self._live(table) + files},
                unique=(self._manifest.unique | {table.name}) if still_unique else self._manifest.unique - {table.name},
            )
        added = sum(file.rows for file in files)
        return added, count - added

    def remove(self, table: Table, condition: str) -> int:
        """Write the files that hold rows of ``condition`` (SQL) anew without them; the number of rows removed."""
        kept: list[File] = []
        removed = 0
        for file in self._live(table):
            scan = self._scan([file])
            gone = self._count(f"{scan} where {condition}")
            if not gone:
                kept.append(file)
                continue
            removed += gone
            order = f"{PART}, customer_id, {ORDER}" if table.by_customer else ORDER
            kept += self._rewritten(file, f"select * from {scan} where not ({condition}) order by {order}")
        if removed:
            files = {**self._manifest.files, table.name: tuple(kept)}
            if not kept:
                del files[table.name]
            self._manifest = replace(self._manifest, next_import=self.number + 1, files=files)
        return removed

    def _rewritten(self, file: File, query: str) -> list[File]:
        """The file that takes the place of ``file``, durable; none where nothing would be in it."""
        path = (self._lake.folder / file.path).with_name(f"{self.number:06d}-{Path(file.path).stem}.parquet")
        self._connection.execute(f"copy ({query}) to {literal(str(path))} (format parquet, compression zstd)")
        rows = self._count(f"read_parquet({literal(str(path))})")
        if not rows:
            path.unlink()
            return []
        _sync(path)
        _sync(path.parent)
        return [File(path.relative_to(self._lake.folder).as_posix(), file.month, rows, _digest(path), file.slice)]

    def _commit(self) -> None:
        if self._manifest != self._lake.manifest():
            self._lake._swap(self._manifest)

    def _live(self, table: Table) -> tuple[File, ...]:
        return self._manifest.files.get(table.name, ())

    def _count(self, relation: str) -> int:
        return count_of(self._connection, relation)

    def _number_rows(self, checked: str, table: Table) -> str:
        """The view ``good``: every declared column, ``received_at``, ``import_order``, the customer's part and the month."""
        has = columns_of(self._connection, checked)
        columns = ", ".join(
            quoted(c.name) if c.name in has else f"null::{_SQL_TYPES[c.type]} as {quoted(c.name)}"
            for c in table.columns
        )
        times = [quoted(name) for name in table.time if name in has]
        own = f"least({', '.join(times)})" if times else "null::timestamp"
        received = f"nullif({RECEIVED}, {own})" if RECEIVED in has else "null::timestamp"
        order = f"({self.number}::bigint * {_ROWS_PER_IMPORT} + {LINE})::bigint"
        part = f"{PART_SQL} as {PART}, " if table.by_customer else ""
        self._connection.execute(
            f"create or replace temp view good as select {columns}, {received} as {RECEIVED}, {order} as {ORDER}, {part}"
            f"coalesce(strftime({own}, '%Y-%m'), 'none') as _month from {checked} where {RULE} is null"
        )
        return "good"

    def _has_repeated_keys(self, good: str, table: Table, rows: int) -> bool:
        key = [quoted(name) for name in table.key]
        repeated = f"group by {', '.join(key)} having count(*) > 1 limit 1"
        return any(
            self._connection.execute(f"select 1 from {good} where {part} {repeated}").fetchall()
            for part in passes(rows, key)
        )

    def _without_known(self, good: str, table: Table, rows: int, *, repeated: bool) -> str:
        """``good`` without rows that say what an earlier version of their key already said; ``good`` itself where none can."""
        same = [quoted(name) for name in (*table.names, RECEIVED)]
        key = {quoted(name) for name in table.key}
        once = f"qualify row_number() over (partition by {', '.join(same)} order by {ORDER}) = 1" if repeated else ""
        months = {row[0] for row in self._connection.execute(f"select distinct _month from {good}").fetchall()}
        files = [file for file in self._live(table) if file.month in months or file.month == ALL]
        if not files and not repeated:
            return good
        equal = " and ".join(
            f"o.{name} = n.{name}" if name in key else f"o.{name} is not distinct from n.{name}" for name in same
        )

        def unseen(part: str) -> str:
            known = f"select 1 from (select * from {self._scan(files)} where {part}) o where {equal}"
            only = f"where not exists ({known})" if files else ""
            return f"select * from (select n.* from (select * from {good} where {part}) n {only}) {once}"

        fill(self._connection, FRESH, map(unseen, passes(rows, sorted(key))))
        return FRESH

    def _meets_known_keys(self, fresh: str, table: Table) -> bool:
        files = self._live(table)
        if not files:
            return False
        key = [quoted(name) for name in table.key]
        both = f"from {fresh} join {self._scan(files)} using ({', '.join(key)})"
        parts = passes(self._count(fresh), key)
        return any(self._connection.execute(f"select 1 {both} where {part} limit 1").fetchall() for part in parts)

    def _scan(self, files: Sequence[File]) -> str:
        return self._lake._scan(files)

    def _write(self, fresh: str, table: Table) -> tuple[File, ...]:
        rows = self._count(fresh)
        if not rows:
            return ()
        incoming = self._lake.folder / _INCOMING / table.name
        incoming.parent.mkdir(parents=True, exist_ok=True)
        count = slices_for(rows) if table.by_customer else 1
        name = f"coalesce(({PART} // {PARTS // count}) || 'of{count}', '{ALL}')" if count > 1 else literal(ALL)
        month = literal(ALL) if count > 1 else "_month"
        folders = count if count > 1 else self._count(f"(select distinct _month from {fresh})")
        buffered = max(BUFFERED_ROWS // folders, LEAST_BUFFERED_ROWS)
        self._connection.execute(
            f"set preserve_insertion_order = false; set partitioned_write_flush_threshold = {buffered}; "
            f"copy (select * exclude (_month), {month} as _month, {name} as _slice from {fresh}) "
            f"to {literal(str(incoming))} (format parquet, compression snappy, row_group_size {buffered}, "
            f"partition_by (_month, _slice), write_partition_columns false, overwrite_or_ignore true); "
            "set preserve_insertion_order = true"
        )
        return tuple(
            file
            for months in sorted(incoming.iterdir())
            for slices in sorted(months.iterdir())
            for file in self._settle(table, _value(months), _value(slices), slices)
        )

    def _settle(self, table: Table, month: str, slice_: str, folder: Path) -> list[File]:
        """Write the rows of one month and slice in order to their place, durable before anything names them.

        Sorted here, partition by partition: all rows of a large import at once do not sort within its memory. What is still
        too large becomes several files.
        """
        target = self._lake.folder / table.name / month
        target.mkdir(parents=True, exist_ok=True)
        incoming = f"read_parquet([{', '.join(literal(str(part)) for part in sorted(folder.glob('*.parquet')))}])"
        order = f"{PART}, customer_id, {ORDER}" if table.by_customer else ORDER
        name = f"{self.number:06d}" if slice_ == ALL else f"{self.number:06d}-{slice_}"
        parts = -(-self._count(incoming) // ROWS_AT_ONCE)
        settled = []
        for part in range(parts):
            path = target / (f"{name}.parquet" if parts == 1 else f"{name}-{part}.parquet")
            self._connection.execute(
                f"copy (select * from {incoming} where {ORDER} % {parts} = {part} order by {order}) "
                f"to {literal(str(path))} (format parquet, compression zstd)"
            )
            _sync(path)
            rows = self._count(f"read_parquet({literal(str(path))})")
            settled.append(File(path.relative_to(self._lake.folder).as_posix(), month, rows, _digest(path), slice_))
        shutil.rmtree(folder)
        _sync(target)
        return settled


def _value(folder: Path) -> str:
    """What the name of a folder of one partition, ``column=value``, says."""
    return folder.name.partition("=")[2]


_SQL_TYPES = {
    "id": "varchar",
    "text": "varchar",
    "json": "varchar",
    "cel": "varchar",
    "date": "varchar",
    "number": "double",
    "integer": "bigint",
    "boolean": "boolean",
    "time": "timestamp",
}


def _held(connection: duckdb.DuckDBPyConnection, lake: Lake, customer_id: str) -> dict[str, str]:
    """Table -> the SQL condition of the rows that are a customer's: named, or by their orders, assignments or visits."""
    files = lake.manifest().files
    who = literal(customer_id)

    def ids_of(table: str, column: str, condition: str) -> str:
        if table not in files:
            return "false"
        query = f"select distinct {column} from {lake._scan(files[table])} where {condition} and {column} is not null"
        found = [literal(str(row[0])) for row in connection.execute(query).fetchall()]
        return f"{{}} in ({', '.join(found)})" if found else "false"

    own = f"customer_id = {who}"
    assignments = ids_of("assignments", "assignment_id", own)
    orders = [ids_of(name, "order_id", own) for name in ORDERS]
    visits = ids_of("events", "anonymous_id", own)
    conditions = {}
    for name in files:
        columns = TABLES[name].names
        parts = [own] if "customer_id" in columns else []
        parts += [f"referred_by = {who}"] if "referred_by" in columns else []
        parts += [held.format("order_id") for held in orders] if "order_id" in columns and name not in ORDERS else []
        parts += [assignments.format("assignment_id")] if name == "outcomes" else []
        parts += [visits.format("anonymous_id")] if name == "events" else []
        if parts:
            conditions[name] = " or ".join(f"coalesce({part}, false)" for part in parts)
    return conditions


def _without_customer(path: Path, customer_id: str) -> int:
    """Write a file of scores anew without a customer, all or nothing; the number of rows removed."""
    table = pq.read_table(path)
    kept = table.filter(pc.not_equal(table["customer_id"], customer_id))
    if len(kept) == len(table):
        return 0
    written = path.with_suffix(".new")
    pq.write_table(kept, written)
    _sync(written)
    written.replace(path)
    return len(table) - len(kept)


def _locked(file: IO[bytes]) -> bool:
    """Whether the file is ours alone now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _digest(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Ask the system to make a file, or a folder's list of names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
