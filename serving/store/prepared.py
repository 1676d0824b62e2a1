"""Statements that every request needs, compiled once and handed to the driver: SQLAlchemy's own way takes several times as long."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import CompoundSelect, Dialect, Select
from sqlalchemy.types import TypeEngine

from serving.store.database import Store

FLOAT8 = 701  # PostgreSQL's number of the one kind of number whose converter asks for it
Convert = Callable[[Any], Any] | None


class Prepared:
    """A SELECT for either database, parameters by name; what comes in and out has the types of its columns."""

    def __init__(self, query: Select[Any] | CompoundSelect[Any]) -> None:
        self._query = query
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, store: Store, **values: Any) -> list[tuple[Any, ...]]:
        """The rows, as they are committed by now."""
        compiled = self._compiled.get(store.dialect.name) or self._compile(store.dialect)
        with store.cursor() as cursor:
            found = cursor.execute(compiled.text, compiled.parameters(values)).fetchall()
        return found if compiled.as_read else [compiled.converted(row) for row in found]

    def first(self, store: Store, **values: Any) -> tuple[Any, ...] | None:
        """The first row, or None."""
        return next(iter(self.rows(store, **values)), None)

    def _compile(self, dialect: Dialect) -> "_Compiled":
        compiled = self._query.compile(dialect=dialect)
        binds = {name: _type(bind.type, dialect).bind_processor(dialect) for name, bind in compiled.binds.items()}
        columns = self._query.selected_columns
        made = _Compiled(
            text=str(compiled),
            order=tuple(compiled.positiontup) if compiled.positional else None,
            given={name: bind.value for name, bind in compiled.binds.items() if not bind.required},
            binds={name: convert for name, convert in binds.items() if convert is not None},
            results=tuple(_type(column.type, dialect).result_processor(dialect, FLOAT8) for column in columns),
        )
        self._compiled[dialect.name] = made
        return made


@dataclass(frozen=True)
class _Compiled:
    """``order``: names by place, None where the driver takes them by name; ``given``: values of the statement itself."""

    text: str
    order: tuple[str, ...] | None
    given: dict[str, Any]
    binds: dict[str, Convert]
    results: tuple[Convert, ...]

    @property
    def as_read(self) -> bool:
        """Whether the driver's rows are right as they are."""
        return not any(self.results)

    def parameters(self, values: dict[str, Any]) -> Any:
        told = self.given | values
        for name, convert in self.binds.items():
            told[name] = convert(told[name])  # type: ignore[misc]
        return told if self.order is None else [told[name] for name in self.order]

    def converted(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            value if convert is None else convert(value) for value, convert in zip(row, self.results, strict=True)
        )


def _type(declared: TypeEngine[Any], dialect: Dialect) -> TypeEngine[Any]:
    return declared.dialect_impl(dialect)
