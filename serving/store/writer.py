"""Durable writes of many requests at once: whoever waits together is committed together."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import groupby, islice
from queue import Empty, Full, Queue, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from sqlalchemy import Connection

from serving.store.database import Store

MOST_WAITING = 512
MOST_TOGETHER = 64

T = TypeVar("T")

Write = Callable[[Connection], Any]


@dataclass(frozen=True)
class Rows:
    """A write of ``rows`` by ``add``, which gives one result per row, and gives the same where others' rows are added with them."""

    add: Callable[[Connection, Sequence[Any]], Sequence[Any]]
    rows: Sequence[Any]

    def __call__(self, connection: Connection) -> Sequence[Any]:
        return self.add(connection, self.rows)


class Overloaded(Exception):
    """More wait than the database takes in a reasonable time; the caller should try again later."""


def those_together(waiting: "Queue[T | None] | SimpleQueue[T | None]", most: int) -> Iterator[list[T]]:
    """What waits, up to ``most`` at a time and at least one; the end at a None."""
    ended = False
    while not ended and (first := waiting.get()) is not None:
        together = [first]
        while len(together) < most and not ended:
            try:
                following = waiting.get_nowait()
            except Empty:
                break
            if following is None:
                ended = True
            else:
                together.append(following)
        yield together


class GroupWriter:
    """One thread that commits; ``submit`` hands it a write and gives a future that is done once the write is durable.

    A transaction takes up to 64 writes, and ``Rows`` that follow each other as one. Where one of them fails, each is tried
    again alone, so that it fails alone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: Queue[tuple[Write, Future[Any]] | None] = Queue(MOST_WAITING)
        self._thread = Thread(target=self._work, name="writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Commit what waits, then end."""
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def waiting(self) -> int:
        """How many writes wait, about."""
        return self._waiting.qsize()

    def submit(self, write: Write) -> "Future[Any]":
        """``write`` gets a connection inside a transaction; its result is the future's, after the commit.

        Raises:
            Overloaded: where 512 writes wait already; nothing was written.
        """
        done: Future[Any] = Future()
        try:
            self._waiting.put_nowait((write, done))
        except Full:
            raise Overloaded from None
        return done

    def _work(self) -> None:
        for together in those_together(self._waiting, MOST_TOGETHER):
            self._commit(together)

    def _commit(self, together: Sequence[tuple[Write, "Future[Any]"]]) -> None:
        alive = [(write, done) for write, done in together if done.set_running_or_notify_cancel()]
        try:
            results = self._transaction([write for write, _ in alive])
        except Exception as error:
            if len(alive) == 1:
                alive[0][1].set_exception(error)
                return
            for write, done in alive:
                try:
                    (result,) = self._transaction([write])
                except Exception as own:
                    done.set_exception(own)
                else:
                    done.set_result(result)
            return
        for (_, done), result in zip(alive, results, strict=True):
            done.set_result(result)

    def _transaction(self, writes: Sequence[Write]) -> list[Any]:
        with self._store.writing() as connection:
            return list(_written(connection, writes))


def _written(connection: Connection, writes: Sequence[Write]) -> Iterator[Any]:
    """What each of ``writes`` returns, in order."""
    for add, some in groupby(writes, lambda write: write.add if isinstance(write, Rows) else None):
        if add is None:
            yield from (write(connection) for write in some)
            continue
        parts = [write.rows for write in some if isinstance(write, Rows)]
        results = iter(add(connection, [row for part in parts for row in part]))
        yield from (list(islice(results, len(part))) for part in parts)
