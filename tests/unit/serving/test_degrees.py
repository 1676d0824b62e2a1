"""Which degree a budget chooses, and what the lower degrees answer."""

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count
from typing import Any

import numpy as np
import pytest

from regulars.ids import IdMap
from regulars.models.asking import Answer, Context
from regulars.models.history import NOTHING, History
from regulars.models.recommender import Recommender, Weighed
from serving.services.degrees import FULL, POPULAR, RETRIEVERS, TRIED_EVERY, Budget, answer
from serving.services.remembered import Memory, Remembered
from serving.services.shelf import Filters, Shelf
from tests.builders import tiny_retrieval

IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
ATTRIBUTES = ["{}", "{}", '{"available": false}', '{"parent_id": "tool"}', '{"parent_id": "tool"}', "{}"]
NOW = datetime(2024, 6, 1, tzinfo=UTC)
SHELF = Shelf(1, NOW, NOW, {}, IDS, ATTRIBUTES, (), popular=("cup", "saw", "axe", "tea"))
MOMENT = int(NOW.timestamp())
NAILS = History(["nail"], np.array([MOMENT - 86_400]), ["purchase"])


def experienced(seconds: float, full: float, retrievers: float) -> Budget:
    budget = Budget(seconds)
    for _ in range(5):
        budget.took(FULL, full)
        budget.took(RETRIEVERS, retrievers)
    return budget


def test_the_fullest_degree_that_fits_is_chosen() -> None:
    budget = experienced(0.05, full=0.03, retrievers=0.01)
    assert [budget.degree(spent) for spent in (0.0, 0.019, 0.021, 0.039, 0.041, 0.06)] == [
        FULL, FULL, RETRIEVERS, RETRIEVERS, POPULAR, POPULAR,
    ]  # fmt: skip
    assert Budget(0.05).degree(0.0) == FULL  # nothing is known yet
    assert Budget(0.0).degree(0.001) == POPULAR


def test_waiting_as_long_as_the_budget_is_forgiven_and_what_is_longer_counts() -> None:
    budget = experienced(0.05, full=0.03, retrievers=0.01)
    assert [budget.degree(0.01, waited=waited) for waited in (0.04, 0.055, 0.07, 0.085, 0.1)] == [
        FULL, FULL, RETRIEVERS, POPULAR, POPULAR,
    ]  # fmt: skip


def test_one_slow_answer_changes_nothing_and_a_slow_minute_is_forgotten() -> None:
    budget = experienced(0.05, full=0.03, retrievers=0.01)
    budget.took(FULL, 9.0)
    assert budget.degree(0.0) == FULL
    for _ in range(31):
        budget.took(FULL, 9.0)
    chosen = [budget.degree(0.0) for _ in range(2 * TRIED_EVERY)]
    assert set(chosen) == {FULL, RETRIEVERS}
    assert chosen.count(FULL) == 2
    assert {budget.degree(1.0) for _ in range(2 * TRIED_EVERY)} == {POPULAR}  # no time left to try anything


class Broken(Recommender):
    """A recommender whose ranking fails, and what else fails: ``placements``."""

    def __init__(self, *placements: str) -> None:
        super().__init__(tiny_retrieval(IDS), None, about={})
        self.placements = placements

    def weigh(self, history: History, context: Context) -> Weighed:
        if context.placement in self.placements:
            raise RuntimeError("broken")
        return super().weigh(history, context)

    def recommend(self, history: History, context: Context, *, n: int) -> Answer:
        return self.choose(self.weigh(history, context), context, n=n)


def asked(
    model: Recommender | None, degree: str, history: History = NAILS, **said: Any
) -> tuple[list[str], str, str | None]:
    clock: Iterator[int] = count()
    found, given = answer(
        model, SHELF, history, Context(MOMENT, **said), Filters(), n=3, degree=degree, budget=Budget(1.0),
        clock=lambda: float(next(clock)),
    )  # fmt: skip
    assert [item.rank for item in found.items] == list(range(1, len(found.items) + 1))
    return [item.product_id for item in found.items], given, found.fallback


def test_what_fails_is_answered_by_the_degree_below() -> None:
    model = Recommender(tiny_retrieval(IDS), None, about={})
    assert asked(model, FULL)[1:] == (FULL, None)
    assert asked(Broken("home"), FULL)[1:] == (RETRIEVERS, "retrievers_only")
    assert asked(Broken("home", "cart"), FULL)[1:] == (POPULAR, "popular_only")
    assert asked(None, FULL)[1:] == (POPULAR, "popular_only")


def test_what_was_weighed_a_moment_ago_is_chosen_from_even_where_there_is_no_time() -> None:
    model, budget = Recommender(tiny_retrieval(IDS), None, about={}), Budget(1.0)
    kept: Remembered[Weighed] = Remembered()
    said = {"n": 3, "budget": budget, "memory": Memory(kept, "ann", ())}
    first, _ = answer(model, SHELF, NAILS, Context(MOMENT), Filters(), degree=FULL, **said)
    again, degree = answer(Broken("home"), SHELF, NAILS, Context(MOMENT), Filters(), degree=POPULAR, **said)
    assert (again, degree) == (first, FULL)
    said["memory"] = Memory(kept, "ann", ("a click",))
    assert answer(Broken("home"), SHELF, NAILS, Context(MOMENT), Filters(), degree=FULL, **said)[1] == RETRIEVERS


def test_retrievers_answer_what_goes_with_the_newest_products() -> None:
    model = Recommender(tiny_retrieval(IDS), None, about={})
    assert set(asked(model, RETRIEVERS)[0][:2]) == {"axe", "saw"}
    assert "axe" not in asked(model, RETRIEVERS, exclude=frozenset({"axe"}))[0]
    assert asked(model, RETRIEVERS, history=NOTHING)[0][0] == "tea"


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, ["saw", "tea"]),  # the cup is sold out, the axe a variant of the saw
        ({"exclude": frozenset({"saw"})}, ["axe", "tea"]),
        ({"pinned": ("nail",)}, ["nail", "saw", "tea"]),
        ({"repeat": "only", "pinned": ("nail",)}, ["nail"]),
        ({"repeat": "never", "pinned": ("nail",)}, ["saw", "tea"]),
        ({"candidates": ("pot", "tea")}, ["tea", "pot"]),
        ({"placement": "cart", "product_ids": ("saw",)}, ["axe", "tea"]),
    ],
)
def test_popular_products_keep_to_what_was_asked(said: dict[str, Any], expected: list[str]) -> None:
    assert asked(None, POPULAR, **said)[0] == expected
