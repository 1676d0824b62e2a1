"""Opening the store: the engine, its tables, and the version of their schema."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, select
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from regulars.errors import StoreError
from serving.store.schema import SCHEMA_VERSION, metadata, state

SQLITE_WAIT_S = 30
POOL = 20
# every statement stands alone, so that a connection need not be set up and reset around each
READS = {"isolation_level": "AUTOCOMMIT", "pool_reset_on_return": None}


class Store:
    """One database; ``reading`` and ``writing`` give connections, writing ones commit at the end of the block."""

    def __init__(self, engine: Engine, reads: Engine) -> None:
        self.engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._reads = reads
        self._writer = Lock()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection on which every statement sees what is committed by then."""
        with self._reads.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction; in SQLite one at a time, since waiting writers starve each other."""
        if not self.is_sqlite:
            with self.engine.begin() as connection:
                yield connection
            return
        with self._writer, self.engine.begin() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # a transaction that reads first could not wait for another
            yield connection

    def close(self) -> None:
        self.engine.dispose()
        self._reads.dispose()


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
    return Store(engine, _sqlite(url, **READS) if engine.dialect.name == "sqlite" else _postgresql(url, **READS))


def is_sqlite(database_url: str) -> bool:
    """Whether the address names a SQLite file; raises StoreError where it is no address that can be used."""
    return _address(database_url).get_backend_name() == "sqlite"


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


def _sqlite(url: URL, **more: Any) -> Engine:
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(url, connect_args={"timeout": SQLITE_WAIT_S}, pool_size=POOL, max_overflow=POOL, **more)

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA secure_delete=ON")  # what is forgotten is overwritten

    return engine


def _postgresql(url: URL, **more: Any) -> Engine:
    try:
        engine = create_engine(url, pool_size=POOL, max_overflow=POOL, pool_pre_ping=True, **more)
    except ModuleNotFoundError as error:
        raise StoreError("PostgreSQL needs its driver: pip install 'regulars[postgres]'") from error

    @event.listens_for(engine, "connect")
    def durable(connection: Any, _: Any) -> None:
        connection.execute("SET synchronous_commit = on")  # whatever the server's own setting is
        if not connection.autocommit:
            connection.commit()

    return engine


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
