"""Looks of many into PostgreSQL at once: each gets its own rows, and fails alone."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from serving.services.keys import create_key, key_asked, revoke_key, valid_key_in
from serving.store import open_store
from serving.store import reader as module
from serving.store.database import Store
from serving.store.events import by_visitor, touched_in
from serving.store.prepared import Asked, Found, rows_of_each
from serving.store.published import history_asked
from serving.store.reader import GroupReader
from serving.store.writer import Overloaded

NOW = datetime(2024, 6, 1, tzinfo=UTC)
NOBODY = history_asked(1, "nobody")


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
    found.start()
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

    def noted(store: Store, *asked: Asked) -> list[Found]:
        handed.append(len(asked))
        return rows_of_each(store, *asked)

    monkeypatch.setattr(module, "rows_of_each", noted)

    async def all_of_them() -> list[list[Found]]:
        looks = [asyncio.ensure_future(reader.rows(key_asked(key), of_visitor(name))) for name in ("v", "w", "v")]
        await asyncio.sleep(0)  # all wait
        reader.start()
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


def test_more_than_can_wait_are_refused_at_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 3)
    reader = GroupReader(store)  # nobody reads yet

    async def crowd() -> list[object]:
        waiting = [asyncio.ensure_future(reader.rows(NOBODY)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await reader.rows(NOBODY)
        reader.start()
        return await asyncio.gather(*waiting)

    assert asyncio.run(crowd()) == [[[]]] * 3
    reader.stop()


def test_nobody_waits_for_ever(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)

    async def look() -> None:
        with pytest.raises(Overloaded):
            await GroupReader(store).rows(NOBODY)  # nobody reads

    asyncio.run(look())


def test_who_waits_is_read_for_before_the_end(store: Store) -> None:
    reader = GroupReader(store)

    async def look() -> object:
        waiting = asyncio.ensure_future(reader.rows(NOBODY))
        await asyncio.sleep(0)
        reader.start()
        await asyncio.to_thread(reader.stop)
        return await waiting

    assert asyncio.run(look()) == [[]]
