"""What a visitor did with products is found without looking through what others did, or they did elsewhere."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from serving.store import open_store, pipeline
from serving.store.database import Store
from serving.store.events import (
    Covered,
    EventRow,
    add_events,
    by_customer,
    by_visitor,
    touched_by_customer,
    touched_by_visitor,
)
from serving.store.prepared import told_of_each
from tests.builders import at

NOW = at("2024-06-01T12:00")


def stranger(number: int) -> EventRow:
    return EventRow("server", f"x{number}", NOW, NOW, "Viewed", None, f"x{number}", f"x{number}", "[]", "{}")


def elsewhere(number: int) -> EventRow:
    """What ann did, some of it by name, that is about no product or was told with her name."""
    customer, touched = ("ann", None) if number % 2 else (None, None)
    return EventRow("server", f"page{number}", NOW, NOW, "Page Viewed", customer, "v", "s", touched, "{}")


@pytest.mark.parametrize("who", ["customer", "visitor", "session"])
def test_what_strangers_did_and_what_is_about_no_product_cost_nobody_an_answer(tmp_path: Path, who: str) -> None:
    """By the steps of SQLite's machine, which do not depend on what else this one does."""
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    steps: list[int] = []

    def asked() -> int:
        if who == "customer":
            found = touched_by_customer(store, "ann", covered=Covered(NOW - timedelta(days=1), 0), limit=500)
        else:
            by = (
                {"anonymous_id": "v", "session_id": None}
                if who == "visitor"
                else {"anonymous_id": None, "session_id": "s"}
            )
            found = touched_by_visitor(store, **by, limit=500)
        return len(found)

    def counted() -> int:
        assert asked() == 1  # compiled now, and its connection is there
        with store.driver() as connection:
            connection.set_progress_handler(lambda: steps.append(1), 1)
        steps.clear()
        assert asked() == 1
        return len(steps)

    own = EventRow("server", "own", NOW, NOW, "Viewed", None, "v", "s", "[1]", "{}")
    told = EventRow("server", "told", NOW, NOW, "Identified", "ann", "v", None, None, "{}")
    with store.writing() as connection:
        add_events(connection, [own, told])
    alone = counted()
    with store.writing() as connection:
        add_events(connection, [stranger(number) for number in range(2_000)])
        add_events(connection, [elsewhere(number) for number in range(2_000)])
    assert 10 < counted() < 2 * alone
    store.close()


@contextmanager
def empty_store(postgresql: str) -> Iterator[Store]:
    """A database of its own on that server."""
    name = f"empty_{uuid4().hex}"
    with psycopg.connect(postgresql, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    store = open_store(postgresql.replace("/postgres?", f"/{name}?"))
    with closing(store):
        yield store


@pytest.mark.parametrize("counted", [False, True], ids=["never counted", "counted while it was empty"])
def test_a_plan_of_postgresql_from_when_there_were_no_events_is_not_kept(
    postgresql: str, monkeypatch: pytest.MonkeyPatch, counted: bool
) -> None:
    """Before the server counts the events that came since, which takes it a minute or more."""
    monkeypatch.setattr(pipeline, "PLANNED_ANEW_S", 0.0 if counted else 1e9)
    with empty_store(postgresql) as store, store.reading() as connection:
        connection.exec_driver_sql("ALTER TABLE events SET (autovacuum_enabled = off)")
        if counted:
            connection.exec_driver_sql("VACUUM ANALYZE events")
        asked = [
            by_customer("ann", covered=Covered(NOW - timedelta(days=1), 0), limit=500),
            by_visitor(anonymous_id="v", session_id=None, limit=500),
            by_visitor(anonymous_id=None, session_id="s", limit=500),
        ]
        with store.driver() as driver:
            told = told_of_each(store.dialect, asked)
            for _ in range(10):  # one plan for all values is made after five
                pipeline.rows_at_once(driver, told)
            with store.writing() as writing:
                add_events(writing, [stranger(number) for number in range(2_000)])
            pipeline.rows_at_once(driver, told)
            looked_through = [rows for text, values in told for rows in _scanned(driver, text, values)]
    assert looked_through == [0, 0, 0, 0]


def _scanned(driver: psycopg.Connection[Any], text: str, values: list[object]) -> Iterator[int]:
    """Of each time that a kept plan reads events: how many of them it reads that are not what was asked for."""
    (name,) = driver.execute("SELECT name FROM pg_prepared_statements WHERE statement = %s", [text]).fetchone() or ()
    given = ", ".join(str(value) if isinstance(value, int) else f"'{value}'" for value in values)
    ((found,),) = driver.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE {name} ({given})").fetchall()
    waiting = [found[0]["Plan"]]
    while waiting:
        part = waiting.pop()
        waiting += part.get("Plans", [])
        if part.get("Relation Name") == "events":
            yield part["Actual Rows"] * part["Actual Loops"] + part.get("Rows Removed by Filter", 0)
