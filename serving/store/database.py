"""Opening the store: the engine, its tables, and the version of their schema."""

import os
import select as polling
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Dialect, Engine, PoolProxiedConnection, create_engine, event, insert, select
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    InvalidatePoolError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as NoConnection

from regulars.errors import StoreError
from serving.store.schema import SCHEMA_VERSION, metadata, state

SQLITE_WAIT_S = 30
CHECKPOINT_AFTER = 500
POOL = 20
BEGIN = "BEGIN IMMEDIATE"  # a transaction that reads first could not wait for another
# every statement stands alone, so that a connection need not be set up and reset around each
ALONE = {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}


class Store:
    """One database; ``reading`` and ``writing`` give connections, writing ones commit at the end of the block."""

    def __init__(self, engine: Engine, reads: Engine, unsynced: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._reads, self._unsynced = reads, unsynced
        self._driver_error: type[Exception] = engine.dialect.loaded_dbapi.Error
        self._writer = Lock()
        self._idle: list[PoolProxiedConnection] = []  # SQLite's, for ``driver``
        self._committed = self._synced = self._checkpointed = 0  # how many of the transactions that did not wait

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on which every statement sees what is committed by then."""
        with self._reads.connect() as connection:
            yield connection

    @contextmanager
    def driver(self) -> Iterator[Any]:
        """The same as the driver's own (DB-API), for statements that are compiled already; see ``prepared``."""
        if not self.is_sqlite:  # its server may end a connection, which the pool notices
            with closing(self._reads.raw_connection()) as pooled:
                yield pooled.driver_connection
            return
        try:
            kept = self._idle.pop()
        except IndexError:
            kept = self._reads.raw_connection()
        try:
            yield kept.driver_connection
        finally:
            self._idle.append(kept)

    @property
    def dialect(self) -> Dialect:
        """How statements are written for this database."""
        return self.engine.dialect

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction, on disk at the end of the block; in SQLite one at a time, since waiting writers starve each other."""
        with self._alone(), self.engine.begin() as connection:
            if self.is_sqlite:
                connection.exec_driver_sql(BEGIN)
            try:
                yield connection
            except self._driver_error as error:  # of a statement that was handed to the driver
                raise DBAPIError.instance("", {}, error, self._driver_error, dialect=self.dialect) from error

    @contextmanager
    def driver_unsynced(self) -> Iterator[Any]:
        """The driver's connection for one transaction that does not wait for the disk: kills of the service spare it, a power
        failure may not. Whoever uses it begins and commits.

        What it commits is on disk with the next transaction of ``writing``, else after the next ``sync`` (SQLite) or within
        about 0.6 seconds (PostgreSQL). What is lost are the newest ones, each as a whole.
        """
        with self._alone():
            with closing(self._unsynced.raw_connection()) as pooled:
                yield pooled.driver_connection
            self._committed += 1

    @property
    def begin(self) -> str:
        """How a transaction that writes begins."""
        return BEGIN if self.is_sqlite else "BEGIN"

    def sync(self) -> None:
        """Bring what ``driver_unsynced`` committed onto the disk, beside readers and writers; PostgreSQL does so by itself."""
        committed = self._committed
        if not self.is_sqlite or committed == self._synced:
            return
        if committed - self._checkpointed >= CHECKPOINT_AFTER:
            with self.reading() as connection:
                connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")  # syncs the log first
            self._checkpointed = committed
        else:
            _sync_file(f"{self.engine.url.database}-wal")
        self._synced = committed

    def close(self) -> None:
        while self._idle:
            self._idle.pop().close()
        for engine in (self.engine, self._reads, self._unsynced):
            engine.dispose()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self.is_sqlite:
            yield
            return
        with self._writer:
            yield


def open_store(database_url: str) -> Store:
    """The store at ``sqlite:///FILE`` or ``postgresql://...``, its tables made where there are none.

    Raises:
        StoreError: where the address cannot be used, or the tables were made by another version of this program.
    """
    url = _address(database_url)
    engine = _sqlite(url) if url.get_backend_name() == "sqlite" else _postgresql(url)
    try:
        _prepare(engine)
    except SQLAlchemyError as error:
        engine.dispose()
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise StoreError(f"the database at {url!s} cannot be used: {reason}; check REGULARS_DATABASE_URL") from error
    except StoreError:
        engine.dispose()
        raise
    if engine.dialect.name == "sqlite":
        return Store(engine, _sqlite(url, **ALONE), _sqlite(url, synchronous="NORMAL", checkpoint_after=0, **ALONE))
    return Store(engine, _postgresql(url, **ALONE), _postgresql(url, synchronous="off", **ALONE))


def _sync_file(name: str) -> None:
    file = os.open(name, os.O_RDWR)  # closing it loses no lock: SQLite's are on other files
    try:
        os.fsync(file)
    finally:
        os.close(file)


def is_sqlite(database_url: str) -> bool:
    """Whether the address names a SQLite file; raises StoreError where it is no address that can be used."""
    return _address(database_url).get_backend_name() == "sqlite"


def away_errors(database_url: str) -> tuple[type[Exception], ...]:
    """How the driver of the database at that address, or SQLAlchemy, says that it is away, locked or full: to be tried again."""
    return (_driver(database_url).OperationalError, OperationalError, NoConnection)


def value_errors(database_url: str) -> tuple[type[Exception], ...]:
    """How they say that a value is none of the database's: PostgreSQL's texts cannot hold U+0000."""
    return (_driver(database_url).DataError, DataError)


def _driver(database_url: str) -> Any:
    return _address(database_url).get_dialect().import_dbapi()


def _address(database_url: str) -> URL:
    try:
        url = make_url(database_url)
    except ArgumentError as error:
        raise StoreError("REGULARS_DATABASE_URL must be sqlite:///FILE or postgresql://..., got neither") from error
    if url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:":
        return url
    if url.get_backend_name() in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(f"REGULARS_DATABASE_URL must be sqlite:///FILE or postgresql://..., got {url!s}")


class _Hinting(SQLiteCompiler):
    """SQLAlchemy's own leaves out what ``with_hint`` says for SQLite, which takes ``INDEXED BY`` behind a table."""

    def get_from_hint_text(self, table: Any, text: str | None) -> str | None:
        return text


def _sqlite(url: URL, *, synchronous: str = "FULL", checkpoint_after: int = 1_000, **more: Any) -> Engine:
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": SQLITE_WAIT_S}, pool_size=POOL, max_overflow=POOL, **more)
    engine.dialect.statement_compiler = _Hinting

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(f"PRAGMA wal_autocheckpoint={checkpoint_after}")  # 0: never while somebody waits
        connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten

    return engine


def _postgresql(url: URL, *, synchronous: str = "on", **more: Any) -> Engine:
    try:
        # statements that are seldom asked are planned each time; of others see ``pipeline``
        seldom = {"connect_args": {"prepare_threshold": None}}
        engine = create_engine(url, pool_size=POOL, max_overflow=POOL, pool_use_lifo=True, **seldom, **more)
    except ModuleNotFoundError as error:
        raise StoreError("PostgreSQL needs its driver: pip install 'regulars[postgres]'") from error

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: Any) -> None:
        connection.execute(f"SET synchronous_commit = {synchronous}")  # whatever the server's own setting is
        if not connection.autocommit:
            connection.commit()

    @event.listens_for(engine, "checkout")
    def alive(connection: Any, record: Any, _: Any) -> None:
        """Take new connections where the server ended this one; a question to it would cost as much as what is asked."""
        used, record.info["used"] = record.info.get("used", False), True  # who was just greeted may have more to hear
        if used and (connection.closed or _has_something_to_say(connection.fileno())):
            raise InvalidatePoolError("the database ended the connection")

    return engine


def _has_something_to_say(socket: int) -> bool:
    """Whether a connection that nobody uses has something to read: its end, or why it ends."""
    poll = polling.poll()
    poll.register(socket, polling.POLLIN)
    return bool(poll.poll(0))


def _prepare(engine: Engine) -> None:
    metadata.create_all(engine, tables=[state])
    version = _schema_version(engine)
    if version is None:
        metadata.create_all(engine)
        _write_version(engine)
        version = _schema_version(engine)
    if version != SCHEMA_VERSION:
        raise StoreError(
            f"expected a database of schema version {SCHEMA_VERSION}, got {version}: it was made by another version of "
            "this program; name an empty database in REGULARS_DATABASE_URL and run: regulars publish"
        )


def _schema_version(engine: Engine) -> str | None:
    with engine.connect() as connection:
        found = connection.execute(select(state.c.value).where(state.c.name == "schema_version")).scalar()
    return None if found is None else str(found)


def _write_version(engine: Engine) -> None:
    try:
        with engine.begin() as connection:
            connection.execute(insert(state).values(name="schema_version", value=SCHEMA_VERSION))
    except IntegrityError:
        pass  # another worker that started at the same moment wrote it
