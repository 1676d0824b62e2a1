"""What is given again where the same question comes a moment later."""

import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from regulars.ids import IdMap
from regulars.models.history import History
from regulars.models.recommender import Recommender, Weighed
from serving.services.asked import UNSEEN, Question
from serving.services.degrees import POPULAR, Budget
from serving.services.given import DRAWN_AT_ONCE
from serving.services.history import Clock
from serving.services.recommend import (
    Sources,
    is_weighed,
    recommend,
    recommend_unseen,
    repeat,
    rests_on_nobody,
    visitor_of,
)
from serving.services.shelf import Shelf
from serving.store import open_store
from serving.store.events import EventRow, add_events
from serving.store.shown import ShownLog
from serving.store.writer import GroupWriter
from tests.builders import tiny_retrieval

NOW = datetime(2024, 6, 1, tzinfo=UTC)
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
ANN = Question(anonymous_id="ann", limit=3)


class Counting(Recommender):
    """A recommender that knows how often it weighed."""

    weighed = 0

    def weigh(self, history: History, context: Any) -> Weighed:
        self.weighed += 1
        return super().weigh(history, context)


@pytest.fixture
def sources(tmp_path: Path) -> Iterator[Sources]:
    store = open_store(f"sqlite:///{tmp_path}/store.db")
    shelf = Shelf(1, NOW, NOW, {}, IDS, ["{}"] * len(IDS), (), popular=("cup", "saw"))
    model = Counting(tiny_retrieval(IDS), None, about={})
    model.warm_up()  # compiling takes longer than answers are remembered
    model.weighed = 0
    log = ShownLog(store, GroupWriter(store))
    clock = Clock(int(NOW.timestamp()), int(NOW.timestamp()), NOW)
    yield Sources(store, shelf, model, "recommender-1", clock, log, Budget(600.0))
    store.close()


def asked(sources: Sources, question: Question) -> tuple[dict[str, Any], bool]:
    """The answer, and whether it was given again."""
    visitor = visitor_of(sources, question)
    again = repeat(sources, visitor, question)
    return json.loads(recommend(sources, visitor, question) if again is None else again), again is not None


def viewed(sources: Sources, product_id: str, number: int) -> None:
    touched = json.dumps([[product_id, "view"]])
    row = EventRow("server", f"m{number}", NOW, NOW, "Product Viewed", None, "ann", None, touched, "{}")
    with sources.store.writing() as connection:
        assert add_events(connection, [row]) == [True]


def test_the_same_question_gets_the_same_answer_under_an_id_of_its_own(sources: Sources) -> None:
    first, repeated = asked(sources, ANN)
    later = replace(sources, clock=replace(sources.clock, at=NOW + timedelta(seconds=1)))
    second, again = asked(later, ANN)
    assert (repeated, again) == (False, True)
    assert first.pop("recommendation_id") != (second_id := second.pop("recommendation_id"))
    assert first == second
    shown = tuple(item["product_id"] for item in second["items"])
    assert len(shown) == 3
    assert sources.log.before(second_id) == shown
    assert sources.budget.latest() == {"full": 2, "retrievers": 0, "popular": 0}


@pytest.mark.parametrize(
    "said",
    [{"limit": 2}, {"exclude": ("tea",)}, {"placement": "email"}, {"fields": ("name",)}, {"session_id": "s"}],
)
def test_another_question_is_answered_anew(sources: Sources, said: dict[str, Any]) -> None:
    asked(sources, ANN)
    other = replace(ANN, **said)
    assert not asked(sources, other)[1]
    assert asked(sources, other)[1]


def test_many_questions_of_one_visitor_push_out_nothing_of_what_others_were_weighed_by(sources: Sources) -> None:
    asked(sources, ANN)
    sources.shelf.answered.most = 2
    for number in range(4):
        asked(sources, replace(ANN, exclude=(str(number),)))
    assert isinstance(sources.model, Counting)
    assert (asked(sources, ANN)[1], sources.model.weighed) == (False, 1)


def test_nothing_of_anybody_is_given_again_once_visitors_are_forgotten(sources: Sources) -> None:
    asked(sources, ANN)
    sources.shelf.forget_visitors()
    assert not asked(sources, ANN)[1]
    assert isinstance(sources.model, Counting)
    assert sources.model.weighed == 2


def test_what_is_popular_is_made_once_and_logged_as_shown_to_each(
    sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = [json.loads(recommend_unseen(sources, ANN))]
    with monkeypatch.context() as patched:
        patched.setattr("serving.services.recommend._answers", None)  # nothing more is made
        bob = Question(customer_id="bob", limit=3)
        given += [json.loads(recommend_unseen(sources, question)) for question in (bob, ANN)]
    ids = [body.pop("recommendation_id") for body in given]
    assert len(set(ids)) == 3
    assert given[0] == given[1] == given[2]
    assert [item["product_id"] for item in given[0]["items"]] == ["cup", "saw"]
    told = [(row.customer_id, row.anonymous_id) for row in map(sources.log._waiting.__getitem__, ids)]
    assert told == [(None, "ann"), ("bob", None), (None, "ann")]
    assert sources.budget.latest()["popular"] == 3
    fewer = json.loads(recommend_unseen(sources, replace(ANN, limit=1)))
    assert [item["product_id"] for item in fewer["items"]] == ["cup"]


def test_what_is_sold_out_is_not_popular_any_more(sources: Sources) -> None:
    recommend_unseen(sources, ANN)
    after = replace(sources, shelf=sources.shelf.changed([("cup", {"available": False})]))
    assert [item["product_id"] for item in json.loads(recommend_unseen(after, ANN))["items"]] == ["saw"]


def test_a_product_is_called_by_the_name_that_was_told_last() -> None:
    shelf = Shelf(1, NOW, NOW, {}, IDS, ['{"name": "Tea"}', *["{}"] * (len(IDS) - 1)], ())
    assert (shelf.name_of("tea"), shelf.name_of("pot"), shelf.name_of("unheard of")) == ("Tea", None, None)
    assert shelf.changed([("tea", {"name": "Green tea"})]).name_of("tea") == "Green tea"


def test_what_happened_since_counts(sources: Sources) -> None:
    before, _ = asked(sources, ANN)
    viewed(sources, "saw", 1)
    after, repeated = asked(sources, ANN)
    assert not repeated
    assert after["items"] != before["items"]
    assert asked(sources, ANN)[1]


def test_another_model_answers_for_itself(sources: Sources) -> None:
    asked(sources, ANN)
    body, repeated = asked(replace(sources, policy="recommender-2"), ANN)
    assert (body["model_version"], repeated) == ("recommender-2", False)


@pytest.mark.parametrize("said", [{"explore": 0.5}, {"after": "the first"}, {"anonymous_id": None}])
def test_what_is_drawn_what_follows_and_what_nobody_asks_is_never_given_again(
    sources: Sources, said: dict[str, Any]
) -> None:
    first, _ = asked(sources, replace(ANN, limit=1))
    question = replace(ANN, **said)
    question = replace(question, after=first["recommendation_id"] if question.after else None)
    assert [asked(sources, question)[1] for _ in range(2)] == [False, False]


def test_less_than_full_ranking_is_never_given_again(sources: Sources) -> None:
    hurried = replace(sources, budget=Budget(0.0))
    assert [asked(hurried, ANN)[1] for _ in range(2)] == [False, False]


def test_an_answer_holds_no_longer_than_what_it_rests_on(sources: Sources) -> None:
    asked(sources, replace(ANN, limit=2))
    weighed = time.monotonic()
    asked(sources, ANN)
    assert isinstance(sources.model, Counting)
    assert sources.model.weighed == 1
    assert sources.shelf.answered.since(("recommender-1", ANN), state=()) <= weighed
    assert asked(sources, ANN)[1]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"limit": 2}, True),
        ({"exclude": ("tea",)}, True),
        ({"repeat": "never"}, False),
        ({"placement": "cart", "product_ids": ("tea",)}, False),
        ({"after": "the first"}, False),
        ({"session_id": "s"}, False),
    ],
)
def test_another_question_is_only_chosen_where_what_it_rests_on_was_weighed(
    sources: Sources, said: dict[str, Any], expected: bool
) -> None:
    viewed(sources, "saw", 1)
    assert not is_weighed(sources, visitor_of(sources, ANN), ANN)
    first, _ = asked(sources, ANN)
    other = replace(ANN, **said)
    other = replace(other, after=first["recommendation_id"] if other.after else None)
    visitor = visitor_of(sources, other)
    assert is_weighed(sources, visitor, other) == expected
    recommend(sources, visitor, other)
    assert isinstance(sources.model, Counting)
    assert (sources.model.weighed == 1) == (expected or bool(other.after))
    viewed(sources, "axe", 2)
    assert not is_weighed(sources, visitor_of(sources, ANN), ANN)


def test_who_cannot_wait_is_answered_without_ranking_but_by_what_was_weighed(sources: Sources) -> None:
    viewed(sources, "saw", 1)
    hurried = json.loads(recommend(sources, visitor_of(sources, ANN), ANN, waited=9.0, most=POPULAR))
    assert hurried["fallback"] == "popular_only"
    assert isinstance(sources.model, Counting)
    assert sources.model.weighed == 0
    asked(sources, ANN)
    other = replace(ANN, limit=2)
    found = recommend(sources, visitor_of(sources, other), other, waited=9.0, most=POPULAR)
    assert json.loads(found)["fallback"] is None


def test_what_is_popular_is_answered_without_a_look_at_who_asks_and_is_no_answer_to_remember(sources: Sources) -> None:
    body = json.loads(recommend(sources, UNSEEN, ANN, most=POPULAR))
    assert body["fallback"] == "popular_only"
    assert [item["product_id"] for item in body["items"]] == ["cup", "saw"]
    assert repeat(sources, visitor_of(sources, ANN), ANN) is None
    asks_more = [replace(ANN, repeat="never"), replace(ANN, after="rec_1")]
    assert [rests_on_nobody(one) for one in (ANN, *asks_more)] == [True, False, False]


def test_every_answer_has_an_id_of_its_own_also_where_many_are_given_at_once(sources: Sources) -> None:
    twice_as_many = DRAWN_AT_ONCE + 10

    def ids(_: int) -> list[str]:
        return [
            json.loads(recommend(sources, visitor_of(sources, ANN), ANN))["recommendation_id"]
            for _ in range(twice_as_many // 2)
        ]

    with ThreadPoolExecutor(4) as pool:
        found = [one for part in pool.map(ids, range(4)) for one in part]
    assert len(found) == len(set(found)) == 4 * (twice_as_many // 2)
    assert all(re.fullmatch("rec_[0-9a-f]{32}", one) for one in found)
