"""The lake's tables as Ibis expressions, and a way to read them a slice of customers at a time.

Rows of a customer carry ``customer_part``, one of 64 by a hash of the id, and large imports are written in files of a few
parts each. What is computed per customer can then be computed slice by slice, in memory that does not grow with the shop:
the expression is compiled once, and the views it reads are pointed at one slice after the other.
"""

import itertools
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import ibis
import pandas as pd
import pyarrow as pa

from regulars.tables import Table

PARTS = 64
PART = "customer_part"
PART_SQL = f"(md5_number_lower(customer_id) % {PARTS})::utinyint"  # stable across versions of DuckDB, unlike hash()
ROWS_PER_SLICE = 600_000
AHEAD = 2  # slices being made or waiting for it: with one, who reads would often wait for who makes
ALL = "all"
OWNER = "owner_slice"

Given = TypeVar("Given")
Made = TypeVar("Made")
_names = itertools.count()


@dataclass(frozen=True)
class Source:
    """What one view reads: ``query``, the files behind it as (path, slice), and whether its rows have a part.

    ``slice`` is "all" or "3of16", the fourth of sixteen. No files: the rows are those of a table. ``by_order``: rows are of an
    order and name no customer; while slices are read, ``folder`` then holds a folder of files for each slice.
    """

    view: str
    query: str
    files: tuple[tuple[str, str], ...]
    has_parts: bool
    by_order: bool = False
    is_orders: bool = False
    folder: Path | None = None

    def sql(self, number: int = 0, count: int = 1) -> str:
        """The query for slice ``number`` of ``count``; rows without a customer are in every slice."""
        if count > 1 and self.folder is not None:
            found = [str(path) for path in sorted((self.folder / f"{OWNER}={number}").glob("*.parquet"))]
            return parquet(found) if found else f"{self.query} where false"
        if count == 1 or not self.has_parts:
            return self.query
        paths = [path for path, name in self.files if _meet(name, number, count)]
        if self.files and not paths:
            return f"{self.query} where false"
        first = number * (PARTS // count)
        last = first + PARTS // count - 1
        rows = parquet(paths) if paths else self.query
        return f"{rows} where {PART} is null or {PART} between {first} and {last}"


class LakeTables(dict[str, ibis.Table]):
    """Table name -> its rows, all versions, as ``regulars.as_of`` wants them."""

    def __init__(self, engine: ibis.BaseBackend, *, slices: int) -> None:
        super().__init__()
        self._engine = engine
        self._slices = slices
        self._read = slices  # so many of them, from the first
        self._sources: list[Source] = []

    def of_some_customers(self, *, one_in: int) -> "LakeTables":
        """The same tables with the rows of one in ``one_in`` (a power of two, at most 64) customers, and of no customer.

        Who that is follows from the id alone. ``events`` keep all rows.
        """
        some = LakeTables(self._engine, slices=self._slices)
        some._read = max(self._slices // one_in, 1)
        some._sources = self._sources
        for name, rows in self.items():
            parted = PART in rows.columns
            some[name] = rows.filter(rows[PART].isnull() | (rows[PART] < PARTS // one_in)) if parted else rows
        return some

    def view(self, query: str, *, table: Table, files: Sequence[tuple[str, str]] = ()) -> ibis.Table:
        """A table of DuckDB that reads ``query`` (without a where), or a slice of it while ``read_in_slices`` works."""
        by_order = "order_id" in table.names and not table.by_customer
        view = f"{table.name}_{next(_names)}"
        is_orders = table.name in ("orders", "event_orders")
        source = Source(view, query, tuple(files), table.by_customer, by_order=by_order, is_orders=is_orders)
        self._sources.append(source)
        self._point(source, source.sql())
        return self._engine.table(source.view, database=("temp", "main"))

    def named(self, expression: ibis.Table, *, name: str) -> ibis.Table:
        """``expression`` as a view of its own, so that each use of it reads only the columns and rows that it needs."""
        view = f"{name}_{next(_names)}"
        self._engine.raw_sql(f"create or replace temp view {view} as {ibis.to_sql(expression, dialect='duckdb')}")
        return self._engine.table(view, database=("temp", "main"))

    def read_in_slices(self, expression: ibis.Table) -> pd.DataFrame:
        """The rows of ``expression``, which must compute each customer's rows from that customer's rows alone."""
        if self._slices == 1:
            return expression.execute()
        rows = pa.concat_tables(table for (table,) in self._each_slice([expression]))
        return rows.cast(expression.schema().to_pyarrow()).to_pandas(split_blocks=True, self_destruct=True)

    def slice_by_slice(self, expressions: Sequence[ibis.Table]) -> Iterator[list[pa.Table]]:
        """For each slice of customers the rows of every one of ``expressions``, see ``read_in_slices``.

        Nothing else may be read of these tables before the last slice was taken.
        """
        if self._slices == 1:
            yield [expression.to_pyarrow() for expression in expressions]
            return
        schemas = [expression.schema().to_pyarrow() for expression in expressions]
        whole = list(self._sources)

        def typed(tables: list[pa.Table]) -> list[pa.Table]:
            return [table.cast(schema) for table, schema in zip(tables, schemas, strict=True)]

        with tempfile.TemporaryDirectory(prefix="regulars-") as scratch:
            self._sources[:] = [self._parted(source, Path(scratch)) if source.by_order else source for source in whole]
            try:
                yield from map(typed, self._each_slice(expressions))  # a loop would hold what nobody needs any more
            finally:
                self._sources[:] = whole

    def _parted(self, source: Source, scratch: Path) -> Source:
        """``source`` with its rows written to ``scratch`` by the slice of who ordered; an order of two is in the slices of both."""
        orders = [other.query for other in self._sources if other.is_orders]
        lines = " union all ".join(f"select order_id, {PART} from ({query})" for query in orders)
        owners = f"select distinct order_id, {PART} // {PARTS // self._slices} as {OWNER} from ({lines})"
        folder = scratch / source.view
        self._engine.raw_sql(
            f"copy (select rows.*, {OWNER} from ({source.query}) rows join ({owners}) using (order_id) "
            f"where {OWNER} < {self._read}) to {_literal(folder)} "
            f"(format parquet, compression snappy, partition_by ({OWNER}), write_partition_columns false)"
        )
        return replace(source, folder=folder)

    def _each_slice(self, expressions: Sequence[ibis.Table]) -> Iterator[list[pa.Table]]:
        compiled = [ibis.to_sql(expression, dialect="duckdb") for expression in expressions]
        connection = self._engine.con
        try:
            for number in range(self._read):
                for source in self._sources:
                    self._point(source, source.sql(number, self._slices))
                yield [connection.sql(query).to_arrow_table() for query in compiled]
        finally:
            for source in self._sources:
                self._point(source, source.sql())

    def _point(self, source: Source, query: str) -> None:
        self._engine.raw_sql(f"create or replace temp view {source.view} as {query}")


def ahead(make: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
    """``make`` of everything in ``given``, in order: on a thread of its own, while the next ones are being read.

    >>> list(ahead(str, [1, 2, 3]))
    ['1', '2', '3']
    """
    with ThreadPoolExecutor(1) as worker:
        begun: deque[Future[Made]] = deque()
        for one in given:
            begun.append(worker.submit(make, one))
            del one
            if len(begun) > AHEAD:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()


def parquet(paths: Sequence[str]) -> str:
    """A query that reads Parquet files of one schema."""
    return f"select * from read_parquet([{', '.join(map(_literal, paths))}], hive_partitioning = false)"


def _literal(path: str | Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def slices_for(rows: int) -> int:
    """Into how many slices ``rows`` are cut: a power of two, at most 64.

    >>> slices_for(0), slices_for(1_000_000), slices_for(10_000_000), slices_for(1_000_000_000)
    (1, 1, 16, 64)
    """
    count = 1
    while count < PARTS and rows / count > 2 * ROWS_PER_SLICE:
        count *= 2
    return count


def _meet(name: str, number: int, count: int) -> bool:
    """Whether files of slice ``name`` can hold rows of slice ``number`` of ``count``.

    >>> _meet("3of16", 1, 8), _meet("3of16", 2, 8), _meet("1of2", 7, 8), _meet("all", 0, 8)
    (True, False, True, True)
    """
    if name == ALL:
        return True
    mine, _, of = name.partition("of")
    return int(mine) * count < (number + 1) * int(of) and number * int(of) < (int(mine) + 1) * count
