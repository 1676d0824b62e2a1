"""What is remembered of visitors between two questions."""

import time

import pytest

from serving.services.forget import ELSEWHERE
from serving.services.remembered import Remembered


def test_only_what_was_kept_in_this_very_state_is_found() -> None:
    kept: Remembered[str] = Remembered()
    kept.put("ann", "weighed", state=("a click",))
    assert kept.get("ann", state=("a click",)) == "weighed"
    assert kept.get("ann", state=("a click", "an order")) is None
    assert kept.get("bob", state=("a click",)) is None


def test_the_oldest_goes_where_there_are_too_many() -> None:
    kept: Remembered[int] = Remembered(most=2)
    for number, name in enumerate(("ann", "bob", "ann", "cy")):
        kept.put(name, number, state=())
    assert [kept.get(name, state=()) for name in ("ann", "bob", "cy")] == [2, None, 3]


def test_nothing_is_found_after_its_time() -> None:
    kept: Remembered[str] = Remembered(seconds=-1.0)
    kept.put("ann", "weighed", state=())
    assert kept.get("ann", state=()) is None


def test_memory_lasts_as_long_as_the_receipt_of_forgetting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: Remembered[str] = Remembered()
    kept.put("ann", "weighed", state=())
    now = time.monotonic()
    monkeypatch.setattr("serving.services.remembered.time.monotonic", lambda: now + 119)
    assert kept.get("ann", state=()) == "weighed"
    monkeypatch.setattr("serving.services.remembered.time.monotonic", lambda: now + 121)
    assert kept.get("ann", state=()) is None
    assert "the memory of other running workers, for 2 minutes at most" in ELSEWHERE


def test_what_is_made_of_what_was_kept_is_no_younger() -> None:
    kept: Remembered[str] = Remembered(seconds=1_000.0)
    before = time.monotonic()
    kept.put("ann", "weighed", state=())
    since = kept.since("ann", state=())
    assert before <= since <= time.monotonic()
    kept.put("ann's answer", "chosen", state=(), since=since - 900)
    assert kept.get("ann's answer", state=()) == "chosen"
    kept.put("ann's answer", "chosen", state=(), since=since - 1_100)
    assert kept.get("ann's answer", state=()) is None
    assert kept.since("ann's answer", state=()) >= since


def test_nothing_is_found_after_all_is_forgotten() -> None:
    kept: Remembered[str] = Remembered()
    kept.put("ann", "weighed", state=())
    kept.forget()
    assert kept.get("ann", state=()) is None
