"""Looks of many into PostgreSQL at once: each gets its own rows, and fails alone."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from sqlalchemy import Dialect, text

from serving.services.keys import create_key, key_asked, revoke_key, valid_key_in
from serving.store import open_store
from serving.store import reader as module
from serving.store.database import Store
from serving.store.events import by_visitor, touched_in
from serving.store.prepared import Asked, Found, told_of_each
from serving.store.published import history_asked
from serving.store.reader import GroupReader
from serving.store.writer import Overloaded

NOW = datetime(2024, 6, 1, tzinfo=UTC)
NOBODY = history_asked(1, "nobody")
WAITING_FOR_A_LOCK = (
    "SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = pg_locks.database "
    "WHERE NOT granted AND datname = current_database()"
)


def of_visitor(name: str) -> Asked:
    return by_visitor(anonymous_id=name, session_id=None, limit=3)


@pytest.fixture
def store(postgresql: str) -> Iterator[Store]:
    found = open_store(postgresql)
    yield found
    found.close()


@pytest.fixture
def reader(store: Store) -> Iterator[GroupReader]:
    found = GroupReader(store)
    yield found
    found.stop()


def test_each_of_many_looks_gets_what_it_asked_for(store: Store, reader: GroupReader) -> None:
    keys = [create_key(store, scope="lists", label=f"reader {number}", now=NOW) for number in range(100)]

    async def look(number: int) -> str:
        found, nothing = await reader.rows(key_asked(keys[number].key), NOBODY)
        row = valid_key_in(found)
        assert row is not None
        assert nothing == []
        return row.label

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*map(look, range(len(keys))))

    assert asyncio.run(all_of_them()) == [f"reader {number}" for number in range(100)]


def test_what_several_ask_alike_is_asked_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    key, handed, reader = create_key(store, scope="lists", label="one for all", now=NOW).key, [], GroupReader(store)

    def noted(dialect: Dialect, asked: Sequence[Asked]) -> list[tuple[str, Any]]:
        handed.append(len(asked))
        return told_of_each(dialect, asked)

    monkeypatch.setattr(module, "told_of_each", noted)

    async def all_of_them() -> list[list[Found]]:
        looks = (reader.rows(key_asked(key), of_visitor(name)) for name in ("v", "w", "v"))
        return await asyncio.gather(*looks)

    for found in asyncio.run(all_of_them()):
        row = valid_key_in(found[0])
        assert row is not None
        assert (row.label, found[1]) == ("one for all", [])
    assert handed == [3]  # the key, and two visitors
    reader.stop()


def test_a_look_that_fails_fails_alone(store: Store, reader: GroupReader) -> None:
    key = create_key(store, scope="lists", label="fails alone", now=NOW).key

    async def all_of_them() -> list[object]:
        good = [reader.rows(key_asked(key), of_visitor("v")) for _ in range(20)]
        bad = [reader.rows(key_asked(key), of_visitor("\x00")) for _ in range(2)]
        return await asyncio.gather(*good, *bad, return_exceptions=True)

    *good, one, other = asyncio.run(all_of_them())
    assert isinstance(one, Exception)
    assert isinstance(other, Exception)
    for found in good:
        assert isinstance(found, list)
        assert valid_key_in(found[0]) is not None
        assert touched_in(found[1]) == []


def test_a_key_that_was_revoked_is_seen_revoked_by_the_next_look(store: Store, reader: GroupReader) -> None:
    made = create_key(store, scope="lists", label="short-lived", now=NOW)

    async def valid() -> bool:
        (found,) = await reader.rows(key_asked(made.key))
        return valid_key_in(found) is not None

    assert asyncio.run(valid())
    revoke_key(store, key_id=made.key_id, now=NOW)
    assert not asyncio.run(valid())


def test_connections_that_the_server_ended_are_no_error(store: Store, reader: GroupReader) -> None:
    made = create_key(store, scope="lists", label="again", now=NOW)

    async def look() -> bool:
        (found,) = await reader.rows(key_asked(made.key))
        return valid_key_in(found) is not None

    assert asyncio.run(look())
    others = text(
        "select pg_terminate_backend(pid, 20000) from pg_stat_activity "  # waits until each has ended
        "where pid <> pg_backend_pid() and datname = current_database()"
    )
    with store.writing() as connection:
        assert connection.execute(others).scalars().all()
    assert asyncio.run(look())


def test_who_was_under_way_on_a_connection_that_was_lost_is_read_for_on_another(
    store: Store, reader: GroupReader, postgresql: str
) -> None:
    """While it waits for a lock, the server's process ends; asked again, another one waits until the lock is gone."""
    with psycopg.connect(postgresql) as other, psycopg.connect(postgresql, autocommit=True) as killer:
        other.execute("LOCK TABLE histories IN ACCESS EXCLUSIVE MODE")

        async def look() -> list[list[Found]]:
            looks = [asyncio.ensure_future(reader.rows(NOBODY, of_visitor(name))) for name in ("v", "w")]
            async with asyncio.timeout(20):
                while not (waiting := killer.execute(WAITING_FOR_A_LOCK).fetchall()):
                    await asyncio.sleep(0.01)
            assert killer.execute("SELECT pg_terminate_backend(%s, 20000)", waiting[0]).fetchone() == (True,)
            other.rollback()
            return await asyncio.gather(*looks)

        assert asyncio.run(look()) == [[[], []]] * 2


def test_more_than_a_socket_holds_is_sent_bit_by_bit(reader: GroupReader) -> None:
    long = "x" * 1_000_000

    async def look() -> list[list[Found]]:
        return await asyncio.gather(*(reader.rows(of_visitor(f"{long}{number}")) for number in range(20)))

    assert asyncio.run(look()) == [[[]]] * 20


def test_a_database_that_is_away_is_said_to_be(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def away() -> Iterator[object]:
        raise psycopg.OperationalError("nobody listens there")
        yield

    driver, reader = store.driver, GroupReader(store)
    monkeypatch.setattr(store, "driver", away)

    async def look() -> None:
        looks = [reader.rows(NOBODY) for _ in range(3)]
        failed = await asyncio.gather(*looks, return_exceptions=True)
        assert [str(error) for error in failed] == ["nobody listens there"] * 3
        monkeypatch.setattr(store, "driver", driver)  # it is back
        assert await reader.rows(NOBODY) == [[]]

    asyncio.run(look())
    reader.stop()


def test_who_gave_up_keeps_nobody_waiting(reader: GroupReader) -> None:
    async def look() -> object:
        gone = asyncio.ensure_future(reader.rows(NOBODY))
        await asyncio.sleep(0)
        gone.cancel()
        return await reader.rows(NOBODY)

    assert asyncio.run(look()) == [[]]


def test_more_than_can_wait_are_refused_at_once(reader: GroupReader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)

    async def crowd() -> list[object]:
        waiting = [asyncio.ensure_future(reader.rows(NOBODY)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await reader.rows(NOBODY)
        return await asyncio.gather(*waiting)

    assert asyncio.run(crowd()) == [[[]]] * 3


def test_nobody_waits_for_ever_nor_for_a_connection_that_says_nothing(
    reader: GroupReader, postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    async def look() -> None:
        with pytest.raises(Overloaded):
            await reader.rows(NOBODY)
        monkeypatch.setattr(module, "PATIENCE_S", 20.0)  # the next one is read for on another connection
        assert await reader.rows(of_visitor("v")) == [[]]

    with psycopg.connect(postgresql) as other:
        other.execute("LOCK TABLE histories IN ACCESS EXCLUSIVE MODE")
        asyncio.run(look())


def test_who_waits_is_read_for_before_the_end(reader: GroupReader) -> None:
    async def look() -> object:
        assert await reader.rows(NOBODY) == [[]]
        waiting = asyncio.ensure_future(reader.rows(NOBODY))
        await asyncio.sleep(0)
        reader.stop()
        return await waiting

    assert asyncio.run(look()) == [[]]
