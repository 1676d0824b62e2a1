"""Circles of objects are found among the young at each look, among all every ten minutes."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from serving.tidying import ALL_S, Tidying


class Circle:
    def __init__(self) -> None:
        self.own = self


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_the_young_are_looked_through_at_each_look_and_all_every_ten_minutes() -> None:
    now = 0.0
    tidying = Tidying(clock=lambda: now)
    circle = Circle()
    gone = weakref.ref(circle)
    tidying.look()  # it is not young any more
    del circle
    now = ALL_S - 1
    tidying.look()
    assert gone() is not None
    young = Circle()
    young_gone = weakref.ref(young)
    del young
    tidying.look()
    assert young_gone() is None
    now = ALL_S
    tidying.look()
    assert gone() is None


def test_what_is_there_at_first_is_not_looked_through_again() -> None:
    circle = Circle()
    gone = weakref.ref(circle)
    tidying = Tidying(clock=iter((0.0, ALL_S)).__next__)
    del circle
    tidying.look()
    assert gone() is not None
