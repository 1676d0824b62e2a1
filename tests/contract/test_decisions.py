"""What is kept of decisions, and what holds when several are made at once, on SQLite and PostgreSQL."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from serving.store import Store, database, open_store
from serving.store.decisions import (
    Before,
    DecisionRow,
    Limits,
    OutcomeRow,
    add_outcome,
    decided_before,
    drawn_after,
    followed_after,
    hold,
    offers_made,
    outcomes_of,
)
from tests.builders import at

NOW = at("2024-06-01T12:00")


def decision(
    number: int, *, offer: str | None = "ten", hours: int = 24, subject: str = "ann", placement: str = "home"
) -> DecisionRow:
    expires = NOW + timedelta(hours=hours)
    return DecisionRow(f"dec_{number}", subject, placement, "", offer, f'"{number}"', NOW, expires, 0.9)


def before(store: Store, *, subject: str = "ann", placement: str = "home", hours: int = 0) -> Before:
    return decided_before(store, subject=subject, placement=placement, channel="", at=NOW + timedelta(hours=hours))


def test_one_decision_holds_until_it_expires(store: Store) -> None:
    assert before(store) == Before(None, [], {}, None)
    assert hold(store, decision(1))
    assert not hold(store, decision(2))
    assert before(store, hours=23) == Before('"1"')
    assert before(store, placement="cart", hours=23) == Before(None, [("ten", "", NOW)], {"ten": 1}, "ten")
    assert before(store, hours=24) == Before(None, [("ten", "", NOW)], {"ten": 1}, None)
    assert before(store, subject="bob") == Before(None, [], {"ten": 1}, None)


def test_of_many_at_once_one_decision_holds(store: Store) -> None:
    with ThreadPoolExecutor(8) as pool:
        held = list(pool.map(lambda number: hold(store, decision(number)), range(24)))
    assert sum(held) == 1
    assert before(store, hours=24).to_all == {"ten": 1}


def test_two_pages_at_once_get_one_offer_between_them(store: Store) -> None:
    pages = [decision(number, placement=f"page {number}") for number in range(12)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda made: hold(store, made), pages)) == 1
    assert hold(store, decision(99, placement="another", offer=None))


def test_an_offer_with_a_budget_is_never_made_once_too_often(store: Store) -> None:
    people = [decision(number, subject=f"c{number}") for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda made: hold(store, made, limits=Limits(in_all=5)), people)) == 5
    assert before(store).to_all == {"ten": 5}


def test_an_offer_made_as_often_as_a_customer_may_have_it_is_not_made_again(store: Store) -> None:
    assert hold(store, decision(1, hours=0), limits=Limits(per_subject=1))
    assert not hold(store, decision(2), limits=Limits(per_subject=1))
    assert hold(store, decision(3), limits=Limits(per_subject=2))


def test_only_decisions_do_not_wait_for_the_disk(store: Store) -> None:
    asked = text("pragma synchronous" if store.is_sqlite else "show synchronous_commit")
    full, normal = (2, 1) if store.is_sqlite else ("on", "off")
    with store.driver_unsynced() as connection:
        assert connection.execute(str(asked)).fetchone() == (normal,)
    for _ in range(3):
        with store.writing() as connection:
            assert connection.execute(asked).scalar_one() == full
    with store.reading() as connection:
        assert connection.execute(asked).scalar_one() == full


def test_what_cannot_be_kept_leaves_nothing_and_stops_nobody(store: Store) -> None:
    """A second decision of the same id breaks the table's key in the middle of its transaction."""
    assert hold(store, decision(1))
    with pytest.raises(Exception, match=r"(?i)unique"):
        hold(store, decision(1, subject="bob"))
    assert before(store, subject="bob") == Before(None, [], {"ten": 1}, None)
    assert hold(store, decision(2, subject="bob"))
    with store.writing() as connection:
        connection.execute(text("delete from offer_counts"))


def test_connections_that_the_database_ended_are_replaced(store: Store) -> None:
    def works() -> None:
        with store.reading() as connection:
            assert connection.execute(text("select 1")).scalar_one() == 1
        with store.writing() as connection:
            assert connection.execute(text("select 1")).scalar_one() == 1
        assert offers_made(store) == {}
        assert hold(store, decision(len(asked), subject=f"c{len(asked)}", offer=None))
        asked.append(None)

    asked: list[None] = []
    works()
    if not store.is_sqlite:  # which has no server
        admin = create_engine(store.engine.url, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            others = "datname = current_database() and pid <> pg_backend_pid()"
            ended = connection.execute(
                text(f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where {others}")
            )
            assert len(ended.all()) >= 3
        admin.dispose()
    works()


def test_what_was_decided_moves_from_the_log_into_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "CHECKPOINT_AFTER", 20)
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    sizes = []
    for number in range(20):
        assert hold(store, decision(number, subject=f"c{number}"))
        store.sync()
        sizes.append((tmp_path / "store.db").stat().st_size)
    assert sizes[0] == sizes[-2] < sizes[-1]
    assert offers_made(store) == {"ten": 20}
    store.close()


def test_an_outcome_is_kept_once_and_only_of_a_decision(store: Store) -> None:
    hold(store, decision(1))
    row = OutcomeRow("dec_1", "converted", NOW, 12.5, NOW)
    assert add_outcome(store, row)
    assert add_outcome(store, row)
    assert not add_outcome(store, OutcomeRow("dec_?", "converted", NOW, None, NOW))
    assert outcomes_of(store, "dec_1") == [row]


def test_a_trial_is_what_was_drawn_of_customers(store: Store) -> None:
    for number, (subject, propensity) in enumerate((("ann", 0.5), ("bob", 1.0), ("anonymous:x", 0.5))):
        hold(store, replace(decision(number, subject=subject), propensity=propensity))
        add_outcome(store, OutcomeRow(f"dec_{number}", "visited", NOW, None, NOW + timedelta(hours=1)))
    assert [row.decision_id for row in drawn_after(store, (NOW,), limit=9)] == ["dec_0"]
    assert [row.decision_id for row in followed_after(store, (NOW + timedelta(hours=1),), limit=9)] == ["dec_0"]
    assert drawn_after(store, (NOW + timedelta(seconds=1),), limit=9) == []
    assert followed_after(store, (NOW + timedelta(hours=2),), limit=9) == []


@pytest.mark.parametrize("limit", [1, 2, 3, 9])
def test_decisions_and_outcomes_of_one_moment_are_read_page_by_page_each_once(store: Store, limit: int) -> None:
    told = []
    for number in range(5):
        hold(store, replace(decision(number, subject=f"c{number}"), propensity=0.5, created_at=NOW))
        for kind in ("converted", "visited"):
            for hour in range(2):
                told.append((f"dec_{number}", kind, NOW + timedelta(hours=hour)))
                assert add_outcome(store, OutcomeRow(*told[-1], None, NOW))
    decided: list[str] = []
    place: tuple[object, ...] = (NOW,)
    while rows := drawn_after(store, place, limit=limit):
        decided += [row.decision_id for row in rows]
        place = (rows[-1].created_at, rows[-1].decision_id)
    assert decided == [f"dec_{number}" for number in range(5)]
    followed: list[tuple[str, str, datetime]] = []
    place = (NOW,)
    while rows := followed_after(store, place, limit=limit):
        followed += [(row.decision_id, row.kind, row.occurred_at) for row in rows]
        place = (rows[-1].received_at, *followed[-1])
    assert followed == told
