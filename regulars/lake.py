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
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from regulars.batch import INCOMING, Batch
from regulars.engine import read_files
from regulars.errors import LakeError
from regulars.intake import literal, quoted
from regulars.manifest import File, Manifest, read_manifest, scan, sync
from regulars.slices import PART, LakeTables, parquet, slices_for
from regulars.tables import TABLES

LOCK_WAIT_SECONDS = 600.0
LEASE_SECONDS = 60.0
_READERS = ".readers"
ORDERS = ("orders", "event_orders")


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
        return read_manifest(self.folder)

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
    def writing(self, connection: duckdb.DuckDBPyConnection) -> Iterator[Batch]:
        """One writer at a time; what the batch adds becomes visible together, when the block ends without an error.

        Raises:
            LakeError: where another writer holds the lake for ten minutes.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / ".lock", timeout=LOCK_WAIT_SECONDS):
                self._remove_leftovers()
                batch = Batch(self.folder, connection)
                yield batch
                batch.commit()
        except Timeout as error:
            raise LakeError(f"another program has been writing to {self.folder} for ten minutes; try again") from error

    def forget(self, customer_id: str, *, visitors: Sequence[str] = ()) -> dict[str, int]:
        """Remove every row of a customer, and what hangs on their orders and assignments; table -> rows removed.

        ``visitors``: anonymous ids known elsewhere to be theirs, beside those that the lake itself knows.
        The files that hold them are written anew without them, the manifest is swapped, and the old files are deleted once
        nobody reads them any more; a reader of more than a minute leaves that to the next writer.
        """
        removed: dict[str, int] = {}
        with duckdb.connect() as connection, self.writing(connection) as batch:
            for name, condition in _held(connection, self, customer_id, visitors).items():
                removed[name] = batch.remove(TABLES[name], condition)
        for path in sorted((self.folder / "scores").glob("*.parquet")):
            removed["scores"] = removed.get("scores", 0) + _without_customer(path, customer_id)
        self._delete_unlisted(wait_s=LEASE_SECONDS)
        return {name: count for name, count in removed.items() if count}

    def rows_of(self, customer_id: str, *, visitors: Sequence[str] = ()) -> dict[str, pd.DataFrame]:
        """Every row that the lake holds of a customer, all versions, by table; for handing over. ``visitors`` as in ``forget``."""
        found = {}
        with duckdb.connect() as connection:
            connection.execute("set TimeZone = 'UTC'")
            for name, condition in _held(connection, self, customer_id, visitors).items():
                live = scan(self.folder, self.manifest().files[name])
                rows = connection.execute(f"select * from {live} where {condition}").df()
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
                f"select * from {scan(self.folder, files)} where {quoted(column)} in (select unnest($wanted)) "
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
        sync(written)
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

    def _begin_reading(self) -> None:
        """Hold, as long as this object lives, that files may be read: nobody deletes any meanwhile."""
        if self._reading is None and self.folder.exists():
            self._reading = (self.folder / _READERS).open("ab")
            fcntl.flock(self._reading, fcntl.LOCK_SH)

    def _remove_leftovers(self) -> None:
        shutil.rmtree(self.folder / INCOMING, ignore_errors=True)
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


def _held(
    connection: duckdb.DuckDBPyConnection, lake: Lake, customer_id: str, visitors: Sequence[str]
) -> dict[str, str]:
    """Table -> the SQL condition of the rows that are a customer's: named, or by their orders, assignments or visits."""
    files = lake.manifest().files
    who = literal(customer_id)

    def ids_of(table: str, column: str, condition: str) -> str:
        if table not in files:
            return "false"
        query = f"select distinct {column} from {scan(lake.folder, files[table])} where {condition} and {column} is not null"
        found = [literal(str(row[0])) for row in connection.execute(query).fetchall()]
        return f"{{}} in ({', '.join(found)})" if found else "false"

    own = f"customer_id = {who}"
    assignments = ids_of("assignments", "assignment_id", own)
    orders = [ids_of(name, "order_id", own) for name in ORDERS]
    visits = ids_of("events", "anonymous_id", own)
    told = f"anonymous_id in ({', '.join(map(literal, visitors))})" if visitors else "false"
    conditions = {}
    for name in files:
        columns = TABLES[name].names
        parts = [own] if "customer_id" in columns else []
        parts += [f"referred_by = {who}"] if "referred_by" in columns else []
        parts += [held.format("order_id") for held in orders] if "order_id" in columns and name not in ORDERS else []
        parts += [assignments.format("assignment_id")] if name == "outcomes" else []
        parts += [visits.format("anonymous_id"), told] if "anonymous_id" in columns else []
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
    sync(written)
    written.replace(path)
    return len(table) - len(kept)


def _locked(file: IO[bytes]) -> bool:
    """Whether the file is ours alone now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
