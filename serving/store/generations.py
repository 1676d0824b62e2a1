"""Generations: writing one beside the one that answers, flipping to it, removing what is older than the one before."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Integer, Table, cast, delete, insert, select, update
from sqlalchemy.sql import ColumnElement

from regulars.errors import StoreError
from serving.store.database import Store
from serving.store.schema import PUBLISHED, generations, state

POINTER = "generation"


@dataclass(frozen=True)
class GenerationRow:
    """The generation that answers; ``about`` is the JSON object it was published with."""

    generation: int
    as_of: datetime
    published_at: datetime
    about: str


def pointed() -> ColumnElement[int]:
    """The number of the generation that answers, as an expression; null where nothing was published."""
    return cast(select(state.c.value).where(state.c.name == POINTER).scalar_subquery(), Integer)


_CURRENT = select(generations.c.generation, generations.c.as_of, generations.c.published_at, generations.c.about).where(
    generations.c.generation == pointed()
)


def current_generation(store: Store) -> GenerationRow | None:
    """The generation that answers, or None where nothing was published yet."""
    with store.reading() as connection:
        row = connection.execute(_CURRENT).first()
    return None if row is None else GenerationRow(*row)


def begin_generation(store: Store, *, as_of: datetime, about: str) -> int:
    """The number of a new generation, which does not answer yet."""
    with store.writing() as connection:
        made = connection.execute(insert(generations).values(as_of=as_of, about=about))
        return int(made.inserted_primary_key[0])  # type: ignore[index]


def add_rows(store: Store, table: Table, generation: int, chunks: Iterable[Sequence[Mapping[str, Any]]]) -> int:
    """The number of rows written; every chunk is a transaction of its own, so that others can write in between."""
    count = 0
    for chunk in chunks:
        if not chunk:
            continue
        with store.writing() as connection:
            connection.execute(insert(table), [{"generation": generation, **row} for row in chunk])
        count += len(chunk)
    return count


def flip_to(store: Store, generation: int, *, published_at: datetime) -> None:
    """Let ``generation`` answer from now on.

    Raises:
        StoreError: where a newer one answers already.
    """
    finished = update(generations).where(generations.c.generation == generation).values(published_at=published_at)
    alone = select(state.c.value).where(state.c.name == "schema_version").with_for_update()
    with store.writing() as connection:
        connection.execute(alone)
        if connection.execute(finished).rowcount != 1 or (_pointer(connection) or 0) >= generation:
            raise StoreError(f"generation {generation} was overtaken by a later one; nothing was changed")
        connection.execute(delete(state).where(state.c.name == POINTER))
        connection.execute(insert(state).values(name=POINTER, value=str(generation)))


def remove_older(store: Store, *, keep: int | None) -> None:
    """Remove every generation that is neither the one that answers, nor ``keep``, nor newer than both.

    A publishing that was killed is removed by the next one.
    """
    with store.writing() as connection:
        pointer = _pointer(connection) or 0
        old = (generations.c.generation < pointer) & (generations.c.generation != (keep or 0))
        numbers = connection.execute(select(generations.c.generation).where(old)).scalars().all()
        connection.execute(delete(generations).where(generations.c.generation.in_(numbers)))
    for table in PUBLISHED:
        with store.writing() as connection:
            connection.execute(
                delete(table).where((table.c.generation < pointer) & (table.c.generation != (keep or 0)))
            )


def generation_exists(connection: Connection, generation: int) -> bool:
    found = select(generations.c.generation).where(generations.c.generation == generation)
    return connection.execute(found).first() is not None


def _pointer(connection: Connection) -> int | None:
    value = connection.execute(select(state.c.value).where(state.c.name == POINTER)).scalar()
    return None if value is None else int(value)
