"""Statements handed to PostgreSQL all at once, by the driver's own lower layer: libpq's pipeline mode and prepared statements.

A cursor for each statement takes two thirds of the time that a look takes.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from select import POLLIN, POLLOUT, poll
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import Connection, OperationalError, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result

PLANNED_ANEW_S = 1.0

Told = tuple[str, Sequence[Any]]
Found = list[tuple[Any, ...]]


@dataclass
class _Prepared:
    """What a connection has prepared, by text, and when its plans were last thrown away (seconds of the monotonic clock).

    PostgreSQL keeps a plan until it counts the rows of a table again, a minute later or more. One that was made while a table was
    empty, as events are after publishing, looks through all that comes until then, at each look.
    """

    names: dict[str, bytes] = field(default_factory=dict)
    planned: float = field(default_factory=time.monotonic)


_BEGIN: Told = ("BEGIN", ())
_PLAN_ANEW = b"DISCARD PLANS"
_NUMBERS = count()
_prepared: WeakKeyDictionary[Connection[Any], _Prepared] = WeakKeyDictionary()


def rows_at_once(connection: Connection[Any], told: Sequence[Told]) -> list[Found]:
    """The rows of each statement (its text with $1 and so on, and the values), none for what gives no rows.

    They are run in order, up to the first that fails, and begin a transaction where the connection is to be in one and is not.

    Raises:
        psycopg.Error: what the server says of the first that fails.
    """
    status = connection.pgconn.transaction_status
    if not connection.autocommit and status == pq.TransactionStatus.IDLE:
        return _handed(connection, [_BEGIN, *told])[1:]
    return _handed(connection, told)


def _handed(connection: Connection[Any], told: Sequence[Told]) -> list[Found]:
    prepared, types = _prepared.setdefault(connection, _Prepared()), Transformer(connection)
    given, libpq = _dumped(types, told), connection.pgconn
    try:
        libpq.enter_pipeline_mode()
        asked = _sent(libpq, prepared, told, given)
        results = list(_results(libpq))
        libpq.exit_pipeline_mode()
    except BaseException:  # nobody knows what comes next from there
        connection.close()
        raise
    return _found(types, prepared, told, asked, results)


class Pipeline:
    """A connection whose statements stand alone, for who need not wait for it: statements are handed over, and what they found is
    received once the connection has something to read.

    It stays in pipeline mode, so that it is to be closed at the end.
    """

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection, self._libpq = connection, connection.pgconn
        self._prepared, self._types = _prepared.setdefault(connection, _Prepared()), Transformer(connection)
        self._told: Sequence[Told] = ()
        self._asked: list[bool] = []
        self._results: list[Any] = []
        self.socket = int(self._libpq.socket)  # its number, also once it is closed
        self._libpq.enter_pipeline_mode()

    def hand(self, told: Sequence[Told]) -> bool:
        """Hand the statements over, none before having received all that was found before; whether all is sent, else ``flush`` is
        to be called when more can be written.

        Raises:
            psycopg.Error: a value is none of the database's, and nothing was sent; or the connection is lost, see ``is_lost``.
        """
        given = _dumped(self._types, told)
        try:
            self._told, self._asked = told, _sent(self._libpq, self._prepared, told, given)
            return self.flush()
        except BaseException:
            self.close()
            raise

    def flush(self) -> bool:
        """Send what was not; whether all is sent by now."""
        return bool(self._libpq.flush() == 0)

    def received(self) -> list[Found] | None:
        """The rows of each statement that was handed over; None where not all of them are here yet.

        Raises:
            psycopg.Error: what the server says of the first that fails; or the connection is lost, see ``is_lost``.
        """
        try:
            whole = self._are_here()
        except BaseException:
            self.close()
            raise
        if not whole:
            return None
        told, asked, results = self._told, self._asked, self._results
        self._told, self._asked, self._results = (), [], []
        return _found(self._types, self._prepared, told, asked, results)

    def _are_here(self) -> bool:
        """Whether all results are here; those that are, are taken."""
        libpq = self._libpq
        libpq.consume_input()
        while self._asked and not libpq.is_busy():
            result = libpq.get_result()
            if result is None:
                _check(libpq)
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                return True
            else:
                self._results.append(result)
        _check(libpq)  # what is said unasked is mostly the end
        return False

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._connection.closed

    def close(self) -> None:
        self._connection.close()


def _dumped(types: Transformer, told: Sequence[Told]) -> list[Any]:
    return [types.dump_sequence(values, [PyFormat.TEXT] * len(values)) for _, values in told]


def _found(
    types: Transformer, prepared: _Prepared, told: Sequence[Told], asked: Sequence[bool], results: Sequence[Any]
) -> list[Found]:
    """The rows of each statement, of what ``_sent`` gave and all results."""
    failed = next((found for found in results if found.status == pq.ExecStatus.FATAL_ERROR), None)
    if failed is not None:
        for text, _ in told:  # it may not be prepared, or for a table as it was
            prepared.names.pop(text, None)
        raise error_from_result(failed, encoding=types.encoding)
    return [_rows(types, found) for found, of_statement in zip(results, asked, strict=True) if of_statement]


def _sent(libpq: Any, prepared: _Prepared, told: Sequence[Told], given: Sequence[Any]) -> list[bool]:
    """Of each result that will come whether it is a statement's, or that of preparing or planning one."""
    asked, names, now = [], prepared.names, time.monotonic()
    if now - prepared.planned >= PLANNED_ANEW_S:
        libpq.send_query_params(_PLAN_ANEW, None)
        prepared.planned = now
        asked.append(False)
    for (text, _), values in zip(told, given, strict=True):
        name = names.get(text)
        if name is None:
            name = names[text] = b"at_once_%d" % next(_NUMBERS)
            libpq.send_prepare(name, text.encode())
            asked.append(False)
        libpq.send_query_prepared(name, values)
        asked.append(True)
    libpq.pipeline_sync()
    return asked


def _check(libpq: Any) -> None:
    if libpq.status == pq.ConnStatus.BAD:
        raise OperationalError(libpq.get_error_message())


def _rows(types: Transformer, result: Any) -> Found:
    if result.status != pq.ExecStatus.TUPLES_OK:
        return []
    types.set_pgresult(result)
    rows: Found = types.load_rows(0, result.ntuples, tuple)
    return rows


def _results(libpq: Any) -> Iterator[Any]:
    """One result per message that was sent, up to where the pipeline ends."""
    while libpq.flush():
        _wait(libpq, POLLIN | POLLOUT)
        libpq.consume_input()
    while True:
        while libpq.is_busy():
            _wait(libpq, POLLIN)
            libpq.consume_input()
        result = libpq.get_result()
        if result is None:
            _check(libpq)
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return
        else:
            yield result


def _wait(libpq: Any, until: int) -> None:
    waiting = poll()
    waiting.register(libpq.socket, until)
    waiting.poll()
