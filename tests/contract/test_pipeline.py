"""Statements handed to PostgreSQL at once: each one's rows, one transaction, and a connection that is as before after an error."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from serving.store.pipeline import rows_at_once

TELL = "SELECT $1::INTEGER, $2::TEXT, $3::FLOAT8, $4::BOOLEAN, $5::BYTEA"
ADD = "INSERT INTO told VALUES ($1::INTEGER)"
ALL = "SELECT * FROM told ORDER BY 1"


@pytest.fixture
def alone(postgresql: str) -> Iterator[Connection[Any]]:
    """A connection whose statements stand alone, with a table ``told`` of its own."""
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute("CREATE TEMPORARY TABLE told (number INTEGER)")
        yield connection


def is_usable(connection: Connection[Any]) -> bool:
    return rows_at_once(connection, [("SELECT 1", ())]) == [[(1,)]]


def test_each_statement_gets_its_rows_as_the_values_that_they_are(alone: Connection[Any]) -> None:
    values = (-3, "ä'\\ \n%s $1", 0.1, True, b"\x00\xff")
    nothing = (None,) * 5
    told = [(TELL, values), (ADD, (7,)), (TELL, nothing), (ALL, ()), ("SELECT 1 WHERE FALSE", ())]
    for _ in range(3):  # prepared first, then used again
        found = rows_at_once(alone, told)
        assert found[:3] == [[values], [], [nothing]]
        assert found[4] == []
    assert rows_at_once(alone, [(ALL, ())]) == [[(7,)] * 3]


def test_more_than_a_socket_holds_comes_and_goes(alone: Connection[Any]) -> None:
    long = "x" * 100_000
    assert rows_at_once(alone, [("SELECT $1::TEXT", (long,))] * 64) == [[(long,)]] * 64


def test_what_is_no_value_of_the_database_is_refused_before_anything_is_sent(alone: Connection[Any]) -> None:
    with pytest.raises(psycopg.DataError):
        rows_at_once(alone, [(ADD, (1,)), ("SELECT $1::TEXT", ("\x00",))])
    assert is_usable(alone)
    assert rows_at_once(alone, [(ALL, ())]) == [[]]


@pytest.mark.parametrize("wrong", [("SELECT 1 / $1::INTEGER", (0,)), ("SELECT nothing FROM nowhere", ())])
def test_the_first_that_fails_is_told_and_what_follows_it_is_not_run(
    alone: Connection[Any], wrong: tuple[str, tuple[int, ...]]
) -> None:
    for _ in range(2):
        with pytest.raises((psycopg.errors.DivisionByZero, psycopg.errors.UndefinedTable)):
            rows_at_once(alone, [("SELECT 1", ()), wrong, (ADD, (1,))])
        assert is_usable(alone)
    assert rows_at_once(alone, [(ALL, ())]) == [[]]


def test_a_statement_is_prepared_anew_where_its_table_has_changed(alone: Connection[Any]) -> None:
    assert rows_at_once(alone, [(ADD, (1,)), (ALL, ())])[1] == [(1,)]
    alone.execute("ALTER TABLE told ADD COLUMN name TEXT DEFAULT 'tea'")
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        rows_at_once(alone, [(ALL, ())])
    assert rows_at_once(alone, [(ALL, ())]) == [[(1, "tea")]]


def test_a_connection_that_is_to_be_in_a_transaction_is_in_one(postgresql: str) -> None:
    with psycopg.connect(postgresql) as connection:
        rows_at_once(connection, [("CREATE TABLE told (number INTEGER)", ())])
        rows_at_once(connection, [(ADD, (1,)), (ADD, (2,))])
        assert rows_at_once(connection, [(ALL, ())]) == [[(1,), (2,)]]
        connection.rollback()
        with pytest.raises(psycopg.errors.UndefinedTable):
            rows_at_once(connection, [(ALL, ())])


def test_a_connection_that_ended_is_closed(postgresql: str, alone: Connection[Any]) -> None:
    with psycopg.connect(postgresql, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 20000)", (alone.info.backend_pid,))
    with pytest.raises(psycopg.OperationalError):
        is_usable(alone)
    assert alone.closed
