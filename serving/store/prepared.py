"""Statements that every request needs, compiled once and handed to the driver: SQLAlchemy's own way takes several times as long.

PostgreSQL is handed several of them at once (libpq's pipeline mode): each way to the server and back costs as much as an answer.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import CompoundSelect, Connection, Dialect, Insert, Select
from sqlalchemy.types import TypeEngine

from serving.store.database import Store

FLOAT8 = 701  # PostgreSQL's number of the one kind of number whose converter asks for it
Convert = Callable[[Any], Any]
Found = list[tuple[Any, ...]]
Query = Select[Any] | CompoundSelect[Any] | Insert
Asked = tuple["Prepared", dict[str, Any]]


class Prepared:
    """A statement for either database, parameters by name; what comes in and out of a SELECT has the types of its columns.

    ``postgresql``: how it is said there, where that is not the same.
    """

    def __init__(self, query: Query, *, postgresql: Query | None = None) -> None:
        self._query, self._postgresql = query, query if postgresql is None else postgresql
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, store: Store, **values: Any) -> Found:
        """The rows of a SELECT, as they are committed by now."""
        return rows_of_each(store, (self, values))[0]

    def first(self, store: Store, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        return next(iter(self.rows(store, **values)), None)

    def for_driver(self, dialect: Dialect) -> "_Compiled":
        return self._compiled.get(dialect.name) or self._compile(dialect)

    def _compile(self, dialect: Dialect) -> "_Compiled":
        query = self._postgresql if dialect.name == "postgresql" else self._query
        compiled = query.compile(dialect=_as_handed(dialect))
        binds = {name: _type(bind.type, dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
        columns = () if isinstance(query, Insert) else query.selected_columns
        results = [_type(column.type, dialect).result_processor(dialect, FLOAT8) for column in columns]
        made = _Compiled(
            text=str(compiled),
            order=tuple(compiled.positiontup) if compiled.positional else None,
            given={name: bind.value for name, bind in compiled.binds.items() if not bind.required},
            binds=tuple((name, convert) for name, convert in binds.items() if convert is not None),
            results=tuple((place, convert) for place, convert in enumerate(results) if convert is not None),
        )
        self._compiled[dialect.name] = made
        return made


def rows_of_each(store: Store, *asked: Asked) -> list[Found]:
    """The rows of each SELECT, as they are committed by now."""
    with store.driver() as connection:
        if not store.is_sqlite or len(asked) < 2:
            return _handed(store.dialect, connection, asked)
        try:  # in one transaction, since each that follows another's writing reads all its pages anew
            return _handed(store.dialect, connection, asked, around=("BEGIN", "COMMIT"))
        except BaseException:
            connection.rollback()
            raise


def rows_inside(connection: Connection, *asked: Asked) -> list[Found]:
    """The rows of each statement, inside the transaction of ``connection``."""
    return _handed(connection.dialect, connection.connection.driver_connection, asked)


def written_at_once(store: Store, *asked: Asked) -> list[Found]:
    """One transaction of these statements that does not wait for the disk, see ``Store.driver_unsynced``; the rows of each."""
    with store.driver_unsynced() as connection:
        try:
            return _handed(store.dialect, connection, asked, around=(store.begin, "COMMIT"))
        except BaseException:
            connection.rollback()
            raise


def _handed(dialect: Dialect, connection: Any, asked: Sequence[Asked], *, around: Sequence[str] = ()) -> list[Found]:
    """The rows of each of ``asked``; ``around``: what is said before and behind them."""
    if dialect.name == "sqlite":
        return _one_by_one(dialect, connection, asked, around)
    from serving.store.pipeline import rows_at_once  # noqa: PLC0415 - its driver is an extra

    told, first = told_of_each(dialect, asked), len(around[:1])
    if around:
        told = [*((text, ()) for text in around[:1]), *told, *((text, ()) for text in around[1:])]
    return read(dialect, asked, rows_at_once(connection, told)[first : first + len(asked)])


def told_of_each(dialect: Dialect, asked: Sequence[Asked]) -> list[tuple[str, Any]]:
    """The text and the values of each, as PostgreSQL's driver takes them; see ``pipeline``."""
    compiled = ((prepared.for_driver(dialect), values) for prepared, values in asked)
    return [(one.text, one.parameters(values)) for one, values in compiled]


def read(dialect: Dialect, asked: Sequence[Asked], rows: Sequence[Found]) -> list[Found]:
    """What each of ``asked`` found, of the ``rows`` that the driver gives."""
    return [prepared.for_driver(dialect).converted(found) for (prepared, _), found in zip(asked, rows, strict=True)]


def _one_by_one(dialect: Dialect, connection: Any, asked: Sequence[Asked], around: Sequence[str]) -> list[Found]:
    execute, found = connection.execute, []
    for text in around[:1]:
        execute(text)
    for prepared, values in asked:
        one = prepared.for_driver(dialect)
        found.append(one.converted(execute(one.text, one.parameters(values)).fetchall()))
    for text in around[1:]:
        execute(text)
    return found


@dataclass(frozen=True)
class _Compiled:
    """``order``: names by place, None where the driver takes them by name; ``given``: values of the statement itself; how ``binds``
    by name, and ``results`` by place, are converted."""

    text: str
    order: tuple[str, ...] | None
    given: dict[str, Any]
    binds: tuple[tuple[str, Convert], ...]
    results: tuple[tuple[int, Convert], ...]

    def parameters(self, values: dict[str, Any]) -> Any:
        told = self.given | values
        for name, convert in self.binds:
            told[name] = convert(told[name])
        return told if self.order is None else list(map(told.__getitem__, self.order))

    def converted(self, rows: Found) -> Found:
        if not rows or not self.results:
            return rows
        return [self._converted(row) for row in rows]

    def _converted(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        found = list(row)
        for place, convert in self.results:
            found[place] = convert(found[place])
        return tuple(found)


def _as_handed(dialect: Dialect) -> Dialect:
    """The dialect, with parameters as PostgreSQL itself takes them."""
    if dialect.name == "sqlite":
        return dialect
    numbered: Dialect = cast(Any, type(dialect))(paramstyle="numeric_dollar")
    return numbered


def _type(declared: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return declared.dialect_impl(dialect)
