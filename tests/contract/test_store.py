"""What every store promises: SQLite and PostgreSQL give the same answers."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import insert, literal_column, select, text, update
from sqlalchemy.exc import IntegrityError

from regulars.errors import DataError, StoreError
from serving.services.keys import create_key, list_keys, revoke_key, valid_key
from serving.store import Store, open_store
from serving.store.events import AT_ONCE, Covered, EventRow, add_events, touched_by_customer, touched_by_visitor
from serving.store.generations import add_rows, begin_generation, current_generation, flip_to, remove_older
from serving.store.prepared import Prepared, rows_of_each
from serving.store.published import (
    all_products,
    count_scored,
    history_body,
    profile_of,
    profiles_of,
    scored_conditions,
    scored_page,
)
from serving.store.schema import events, histories, products, profiles, state
from serving.store.shown import KEPT, ShownLog, ShownRow, add_shown, remove_shown, views_between
from serving.store.writer import MOST_WAITING as MOST_QUEUED
from serving.store.writer import GroupWriter, Rows
from tests.builders import at, profile_row

NOW = at("2024-06-01T12:00")


def test_statements_compiled_once_give_moments_and_what_is_committed_by_now(store: Store) -> None:
    def viewed(number: int, customer: str | None, visitor: str | None) -> None:
        when = NOW + timedelta(microseconds=number)
        row = EventRow(
            "server", f"m{number}", when, when, "Product Viewed", customer, visitor, None, f"[{number}]", "{}"
        )
        with store.writing() as connection:
            assert add_events(connection, [row]) == [True]

    nothing = Covered(NOW, 0)
    assert touched_by_customer(store, "ann", covered=nothing, limit=9) == []
    for number in range(4):
        viewed(number, "ann" if number else None, "x")
    now = 1_000_000 * int(NOW.timestamp())
    expected = [(now + number, f"[{number}]") for number in (3, 2, 1, 0)]
    assert touched_by_customer(store, "ann", covered=nothing, limit=9) == expected  # the visitor turned out to be ann
    assert touched_by_customer(store, "ann", covered=nothing, limit=2) == expected[:2]
    held = Covered(NOW + timedelta(microseconds=2), 9)
    assert touched_by_customer(store, "ann", covered=held, limit=9) == expected[:2]
    assert touched_by_visitor(store, anonymous_id="x", session_id=None, limit=9) == expected[3:]
    assert touched_by_visitor(store, anonymous_id=None, session_id="x", limit=9) == []
    assert touched_by_customer(store, "'; drop table events; --", covered=nothing, limit=9) == []


def test_looks_that_go_together_leave_nothing_behind_where_one_fails(store: Store) -> None:
    names = Prepared(select(state.c.name).order_by(state.c.name))
    broken = Prepared(select(literal_column("nothing_of_this_name")).select_from(state))
    before = rows_of_each(store, (names, {}), (names, {}))
    with pytest.raises(Exception, match="nothing_of_this_name"):
        rows_of_each(store, (names, {}), (broken, {}))
    with store.writing() as connection:
        connection.execute(insert(state).values(name="zebra", value="here"))
    assert before[0] == before[1]
    assert rows_of_each(store, (names, {}), (names, {})) == [[*before[0], ("zebra",)]] * 2


def published(store: Store, *rows: dict[str, object], as_of: str = "2024-06-01") -> int:
    generation = begin_generation(store, as_of=at(as_of), about="{}")
    add_rows(store, profiles, generation, [rows])
    flip_to(store, generation, published_at=NOW)
    return generation


def test_nothing_is_published_at_first(store: Store) -> None:
    assert current_generation(store) is None
    assert profile_of(store, "ann") is None
    assert history_body(store, 1, "ann") is None


def test_a_generation_answers_only_once_it_is_whole(store: Store) -> None:
    first = published(store, profile_row("ann", 0.5))
    second = begin_generation(store, as_of=at("2024-06-02"), about='{"x": 1}')
    add_rows(store, profiles, second, [[profile_row("ann", 0.9)], [profile_row("bob", 0.1)]])
    seen = profile_of(store, "ann")
    assert seen is not None
    assert seen.churn_probability == 0.5
    assert profile_of(store, "bob") is None
    flip_to(store, second, published_at=NOW)
    found = current_generation(store)
    assert found is not None
    assert (found.generation, found.as_of, found.published_at, found.about) == (
        second,
        at("2024-06-02"),
        NOW,
        '{"x": 1}',
    )
    assert set(profiles_of(store, ["bob", "ann", "eve"])) == {"ann", "bob"}
    remove_older(store, keep=first)
    assert count_scored(store, first, []) == 1
    remove_older(store, keep=None)
    assert count_scored(store, first, []) == 0


def test_an_overtaken_publishing_changes_nothing(store: Store) -> None:
    slow = begin_generation(store, as_of=at("2024-06-01"), about="{}")
    fast = published(store, profile_row("ann", 0.5))
    with pytest.raises(StoreError, match="overtaken"):
        flip_to(store, slow, published_at=NOW)
    found = current_generation(store)
    assert found is not None
    assert found.generation == fast


def test_histories_and_products(store: Store) -> None:
    generation = begin_generation(store, as_of=NOW, about="{}")
    add_rows(store, histories, generation, [[{"customer_id": "ann", "body": b"\x00\xff"}]])
    add_rows(store, products, generation, [[{"product_id": p, "attributes": "{}"} for p in ("b", "B", "a")]])
    flip_to(store, generation, published_at=NOW)
    assert history_body(store, generation, "ann") == b"\x00\xff"  # bytes, which are looked into
    assert history_body(store, generation - 1, "ann") is None
    assert [product for product, _ in all_products(store, generation)] == ["B", "a", "b"]


@pytest.mark.parametrize("order_by", ["probability", "customer_id"])
def test_pages_hold_everybody_once_also_where_probabilities_are_equal(store: Store, order_by: str) -> None:
    people = [profile_row(f"c{number:02}", 0.5 if number < 20 else number / 100) for number in range(35)]
    generation = published(store, *people, profile_row("unscored", None))
    seen: list[str] = []
    after = None
    while True:
        rows = scored_page(
            store,
            generation,
            scored_conditions(),
            order_by=order_by,
            limit=4,
            after=after,  # type: ignore[arg-type]
        )
        if not rows:
            break
        seen += [row.customer_id for row in rows]
        after = (rows[-1].churn_probability, rows[-1].customer_id)
    key = (lambda row: (-row["churn_probability"], row["customer_id"])) if order_by == "probability" else (
        lambda row: row["customer_id"]
    )  # fmt: skip
    assert seen == [row["customer_id"] for row in sorted(people, key=key)]  # type: ignore[arg-type, return-value]


def test_who_did_not_consent_is_not_reachable(store: Store) -> None:
    generation = published(
        store, profile_row("yes", 0.9, reachable_email=True), profile_row("no", 0.9), profile_row("low", 0.1)
    )

    def found(**asked: object) -> set[str]:
        conditions = scored_conditions(**asked)  # type: ignore[arg-type]
        rows = scored_page(store, generation, conditions, order_by="customer_id", limit=10)
        assert count_scored(store, generation, conditions) == len(rows)
        return {row.customer_id for row in rows}

    assert found(channel="email") == {"yes"}
    assert found(min_probability=0.5) == {"yes", "no"}
    assert found(max_probability=0.5) == {"low"}
    assert found(country="DE") == set()


def test_a_page_of_a_removed_generation_is_refused_not_short(store: Store) -> None:
    old = published(store, profile_row("ann", 0.5), profile_row("bob", 0.4))
    published(store, profile_row("ann", 0.5))
    remove_older(store, keep=None)
    with pytest.raises(StoreError, match="replaced"):
        scored_page(store, old, [], order_by="probability", limit=2)


def test_keys_are_kept_as_hashes_and_can_be_revoked(store: Store) -> None:
    made = create_key(store, scope="lists", label="mail", now=NOW)
    assert made.key.startswith("rg_lists_")
    found = valid_key(store, made.key)
    assert found is not None
    assert found.scope == "lists"
    assert valid_key(store, made.key + "x") is None
    with store.reading() as connection:
        assert made.key not in str(connection.execute(text("select * from keys")).all())
    revoke_key(store, key_id=made.key_id, now=NOW)
    assert valid_key(store, made.key) is None
    assert [(key.key_id, key.revoked_at) for key in list_keys(store)] == [(made.key_id, NOW)]
    with pytest.raises(DataError, match="no key"):
        revoke_key(store, key_id="key_?", now=NOW)
    with pytest.raises(DataError, match="scope"):
        create_key(store, scope="all", label="", now=NOW)


def test_a_store_of_another_version_is_refused(store: Store, address: str) -> None:
    with store.writing() as connection:
        connection.execute(update(state).where(state.c.name == "schema_version").values(value="0"))
    with pytest.raises(StoreError, match="schema version"):
        open_store(address)


def test_opened_twice_it_keeps_what_it_held(store: Store, address: str) -> None:
    published(store, profile_row("ann", 0.5))
    again = open_store(address)
    assert profile_of(again, "ann") is not None
    again.close()


@pytest.mark.parametrize("wrong", ["", "nonsense", "mysql://x/y", "sqlite:///:memory:", "sqlite://"])
def test_an_address_that_cannot_be_used_is_said(wrong: str) -> None:
    with pytest.raises(StoreError, match="REGULARS_DATABASE_URL"):
        open_store(wrong)


def shown_row(name: str, *products: str, at: datetime = NOW, **who: str) -> ShownRow:
    slots = json.dumps([{"placement": "home", "items": [[product, 0.5, 1.0] for product in products]}])
    told = {"customer_id": None, "anonymous_id": None, "session_id": None} | who
    summary = f"home:{len(products)}"
    return ShownRow(
        name, policy="p", slots=slots, summary=summary, product_ids=json.dumps(products), created_at=at, **told
    )


def test_what_was_shown_is_known_at_once_and_kept_for_thirty_days(store: Store) -> None:
    writer = GroupWriter(store)
    writer.start()
    log = ShownLog(store, writer)
    log.add(shown_row("rec_1", "tea", "pot", at=NOW - timedelta(days=31)))
    log.add(shown_row("rec_2", "tea"))
    assert log.before("rec_1") == ("tea", "pot")
    assert log.before("rec_3") is None
    log.settle()
    log.settle()
    writer.stop()
    assert ShownLog(store, writer).before("rec_2") == ("tea",)
    remove_shown(store, before=NOW - KEPT)
    assert (log.before("rec_1"), log.before("rec_2")) == (None, ("tea",))


def test_what_was_shown_waits_while_the_writer_takes_nothing(store: Store) -> None:
    writer = GroupWriter(store)
    for _ in range(MOST_QUEUED):
        writer.submit(lambda connection: None)
    log = ShownLog(store, writer)
    log.add(shown_row("rec_1", "tea"))
    assert log.flush() is None
    writer.start()
    while log.before("rec_1") is None or log.flush() is None:
        pass  # the queue is emptied in a moment
    log.settle()
    writer.stop()
    assert ShownLog(store, writer).before("rec_1") == ("tea",)


def test_what_was_shown_waits_while_the_database_takes_nothing_and_is_tried_again_after_a_while(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.store.shown.MOST_AT_ONCE", 2)
    writer = GroupWriter(store)
    log = ShownLog(store, writer)
    names = [f"rec_{number}" for number in range(5)]
    for name in names:
        log.add(shown_row(name, "tea"))
    with monkeypatch.context() as patched:
        patched.setattr("serving.store.shown.add_shown", None)  # whatever it is that fails
        first = log.flush()
        writer.start()
        assert first is not None
        with pytest.raises(TypeError):
            first.result(10)
        while log.flush() is first:  # which is settled right after
            pass
        assert log.flush() is None
        with pytest.raises(TypeError):
            log.settle()
    assert [log.before(name) for name in names] == [("tea",)] * 5
    assert log.flush() is None
    log.settle()
    assert [ShownLog(store, writer).before(name) for name in names] == [("tea",)] * 5
    log.add(shown_row("late", "pot"))
    assert log.flush() is None
    monkeypatch.setattr("serving.store.shown.time.monotonic", lambda: 1e12)
    assert log.flush() is not None
    log.settle()
    writer.stop()


def test_how_much_was_shown_outlasts_what_was_shown(store: Store) -> None:
    days = [NOW - timedelta(days=back, minutes=minutes) for back, minutes in ((40, 0), (40, 20), (31, 0), (1, 0))]
    with store.writing() as connection:
        add_shown(connection, [shown_row(f"rec_{day}", "tea", "pot", at=day) for day in days])

    def counts() -> list[tuple[datetime, int, int]]:
        with store.reading() as connection:
            found = views_between(connection, at("2024-01-01"), at("2024-07-01"))
        return sorted((view.at, view.views, view.products) for view in found)

    quarters = [(quarter, 1, 2) for quarter in sorted(day.replace(minute=day.minute // 15 * 15) for day in days)]
    assert counts() == quarters
    for before in (NOW - timedelta(days=35), NOW - KEPT, NOW - KEPT):
        remove_shown(store, before=before)
        assert counts() == quarters


def test_what_is_committed_is_on_disk(store: Store) -> None:
    asked = "pragma synchronous" if store.is_sqlite else "show synchronous_commit"
    with store.reading() as connection:
        assert connection.exec_driver_sql(asked).scalar() in (2, "on")  # SQLite's 2 is FULL


def event(message_id: str, *, origin: str = "server", **told: str) -> EventRow:
    named = {"customer_id": None, "anonymous_id": None, "session_id": None, "touched": None} | told
    return EventRow(origin, message_id, NOW, NOW - timedelta(microseconds=1), "Tried", body="{}", **named)


def test_events_of_many_requests_are_new_once_and_numbered_in_order(store: Store) -> None:
    """More than one statement takes, the same ids in one request, in another, and from a page."""
    writer = GroupWriter(store)
    first = [event("a", customer_id="ann"), event("b"), event("a", customer_id="bob")]
    others = [event("b"), event("b", origin="page"), event("c")]
    many = [event(f"m{number}") for number in range(AT_ONCE)]
    writes = [writer.submit(Rows(add_events, rows)) for rows in (first, others, many, many[-1:])]
    writer.start()
    kept = [list(write.result(20)) for write in writes]
    writer.stop()
    assert kept == [[True, True, False], [False, True, True], [True] * AT_ONCE, [False]]
    with store.reading() as connection:
        rows = connection.execute(select(events).order_by(events.c.seq)).all()
    assert [(row.origin, row.message_id) for row in rows[:4]] == [
        ("server", "a"), ("server", "b"), ("page", "b"), ("server", "c"),
    ]  # fmt: skip
    assert [row.message_id for row in rows[4:]] == [row.message_id for row in many]
    assert (rows[0].customer_id, rows[0].occurred_at, rows[1].customer_id) == (
        "ann",
        NOW - timedelta(microseconds=1),
        None,
    )


def test_a_write_that_fails_takes_no_other_rows_with_it(store: Store) -> None:
    writer = GroupWriter(store)
    broken = replace(event("b"), name=None)  # type: ignore[arg-type]
    writes = [writer.submit(Rows(add_events, [row])) for row in (event("a"), broken, event("c"))]
    writer.start()
    assert list(writes[0].result(20)) == [True]
    with pytest.raises(IntegrityError):
        writes[1].result(20)
    assert list(writes[2].result(20)) == [True]
    writer.stop()


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)  # SQLite has one writer
def test_numbers_are_given_by_one_transaction_at_a_time(store: Store) -> None:
    """Who reads up to a number misses nothing: a second transaction gets numbers only after the first has ended."""
    with store.writing() as one:
        add_events(one, [event("a")])
        add_events(one, [event("b")])
        with ThreadPoolExecutor(1) as pool:

            def second() -> list[bool]:
                with store.writing() as other:
                    return add_events(other, [event("c")])

            waiting = pool.submit(second)
            locks = text("select count(*) from pg_locks where locktype = 'advisory' and not granted")
            with store.reading() as connection:
                while connection.execute(locks).scalar() == 0:
                    assert not waiting.done()
            one.commit()
            assert waiting.result(20) == [True]
    with store.reading() as connection:
        found = connection.execute(select(events.c.message_id).order_by(events.c.seq)).scalars().all()
    assert found == ["a", "b", "c"]
