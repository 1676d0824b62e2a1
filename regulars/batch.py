"""Rows on their way into the lake: compared with what it holds, parted, sorted and written, visible all at once."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import duckdb

from regulars.as_of import ORDER, RECEIVED
from regulars.intake import LINE, ROWS_AT_ONCE, RULE, columns_of, count_of, fill, literal, passes, querying, quoted
from regulars.manifest import File, digest, read_manifest, scan, sync
from regulars.progress import stage
from regulars.slices import ALL, PART, PART_SQL, PARTS, slices_for
from regulars.tables import Table

BUFFERED_ROWS = 262_144  # of all months or slices together, by each thread, while an import is parted
LEAST_BUFFERED_ROWS = 2_048
INCOMING = ".incoming"
FRESH = "fresh"
_ROWS_PER_IMPORT = 2**32


class Batch:
    """Rows on their way into the lake; made by ``Lake.writing``."""

    def __init__(self, folder: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self._folder = folder
        self._connection = connection
        self._manifest = read_manifest(folder)
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
        path = (self._folder / file.path).with_name(f"{self.number:06d}-{Path(file.path).stem}.parquet")
        self._connection.execute(f"copy ({query}) to {literal(str(path))} (format parquet, compression zstd)")
        rows = self._count(f"read_parquet({literal(str(path))})")
        if not rows:
            path.unlink()
            return []
        sync(path)
        sync(path.parent)
        return [File(path.relative_to(self._folder).as_posix(), file.month, rows, digest(path), file.slice)]

    def commit(self) -> None:
        """Make what was added and removed the state of the lake."""
        if self._manifest != read_manifest(self._folder):
            self._manifest.write(self._folder)

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
        return scan(self._folder, files)

    def _write(self, fresh: str, table: Table) -> tuple[File, ...]:
        rows = self._count(fresh)
        if not rows:
            return ()
        incoming = self._folder / INCOMING / table.name
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
        target = self._folder / table.name / month
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
            sync(path)
            rows = self._count(f"read_parquet({literal(str(path))})")
            settled.append(File(path.relative_to(self._folder).as_posix(), month, rows, digest(path), slice_))
        shutil.rmtree(folder)
        sync(target)
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
