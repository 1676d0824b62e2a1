"""What is done again and again goes on after a failure and ends when it is stopped."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from serving.every import Every


class Timer:
    def __init__(self, do: Callable[[], None]) -> None:
        self.do, self.cancelled = do, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop whose timers go off when they are told."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Timer]] = []

    def call_later(self, seconds: float, call: Callable[[Any], None], given: Any) -> Timer:
        self.timers.append((seconds, Timer(lambda: call(given))))
        return self.timers[-1][1]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: made)
    return made


def test_it_is_done_again_even_after_it_failed(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    def do() -> None:
        done.append(len(done))
        if len(done) == 1:
            raise RuntimeError("not this time")

    Every(0.1, do).start()
    for number in range(3):
        assert len(done) == number
        loop.timers[number][1].do()
    assert [seconds for seconds, _ in loop.timers] == [0.1] * 4
    assert [record.getMessage() for record in caplog.records] == ["what is done every 0.1 seconds failed, trying again"]


def test_it_can_be_stopped_before_between_and_by_what_is_done(loop: Loop) -> None:
    def do() -> None:
        every.stop()

    every = Every(0.1, do)
    every.stop()
    assert loop.timers == []
    every.start()
    every.stop()
    assert loop.timers[0][1].cancelled
    every.start()
    loop.timers[1][1].do()
    assert loop.timers[2][1].cancelled
