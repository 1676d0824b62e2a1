"""Statements handed to PostgreSQL all at once, by the driver's own lower layer: libpq's pipeline mode and prepared statements.

A cursor for each statement takes two thirds of the time that a look takes.
"""

from collections.abc import Iterator, Sequence
from itertools import count
from select import POLLIN, POLLOUT, poll
from typing import Any
from weakref import WeakKeyDictionary

from psycopg import Connection, OperationalError, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result

Told = tuple[str, Sequence[Any]]
Found = list[tuple[Any, ...]]

_BEGIN: Told = ("BEGIN", ())
_NUMBERS = count()
_prepared: WeakKeyDictionary[Connection[Any], dict[str, bytes]] = WeakKeyDictionary()


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
    names, types = _prepared.setdefault(connection, {}), Transformer(connection)
    given = [types.dump_sequence(values, [PyFormat.TEXT] * len(values)) for _, values in told]
    try:
        asked, results = _exchanged(connection.pgconn, names, [text for text, _ in told], given)
    except BaseException:  # nobody knows what comes next from there
        connection.close()
        raise
    failed = next((found for found in results if found.status == pq.ExecStatus.FATAL_ERROR), None)
    if failed is not None:
        for text, _ in told:  # it may not be prepared, or for a table as it was
            names.pop(text, None)
        raise error_from_result(failed, encoding=types.encoding)
    return [_rows(types, found) for found, of_statement in zip(results, asked, strict=True) if of_statement]


def _exchanged(
    libpq: Any, names: dict[str, bytes], texts: Sequence[str], given: Sequence[Any]
) -> tuple[list[bool], list[Any]]:
    """All results, and of each whether it is a statement's or that of preparing one."""
    asked = []
    libpq.enter_pipeline_mode()
    for text, values in zip(texts, given, strict=True):
        name = names.get(text)
        if name is None:
            name = names[text] = b"at_once_%d" % next(_NUMBERS)
            libpq.send_prepare(name, text.encode())
            asked.append(False)
        libpq.send_query_prepared(name, values)
        asked.append(True)
    libpq.pipeline_sync()
    results = list(_results(libpq))
    libpq.exit_pipeline_mode()
    return asked, results


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
            if libpq.status == pq.ConnStatus.BAD:
                raise OperationalError(libpq.get_error_message())
        elif result.status == pq.ExecStatus.PIPELINE_SYNC:
            return
        else:
            yield result


def _wait(libpq: Any, until: int) -> None:
    waiting = poll()
    waiting.register(libpq.socket, until)
    waiting.poll()
