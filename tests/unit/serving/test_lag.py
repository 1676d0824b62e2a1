"""How late an event loop is, and what follows from it."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regulars.settings import read_settings
from serving.champions import Champions
from serving.lag import Lag
from serving.live import Live
from serving.store import open_store


class Loop:
    """An event loop whose clock stands still."""

    now = 0.0
    due: tuple[float, Callable[[Any], None]] | None = None

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[Any], None], given: Any) -> None:
        self.due = (when, call)

    def went_off(self, late: float) -> None:
        """The timer goes off ``late`` seconds after it was due."""
        assert self.due is not None
        when, call = self.due
        self.now = when + late
        call(self)


def test_a_loop_is_as_late_as_its_timer_was_when_it_went_off_last(monkeypatch: pytest.MonkeyPatch) -> None:
    loop, lag = Loop(), Lag()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    lag.start()
    assert lag.seconds == 0
    for late in (0.0, 0.3, 0.002, 0.0):
        loop.went_off(late)
        assert lag.seconds == pytest.approx(late)


def test_in_a_loop_that_runs_the_timer_goes_off_until_it_is_stopped() -> None:
    async def beats() -> None:
        lag, beaten = Lag(), asyncio.Event()
        beat = lag._beat

        def counted(loop: asyncio.AbstractEventLoop) -> None:
            beat(loop)
            beaten.set()

        lag._beat = counted  # type: ignore[method-assign]
        lag.start()
        await asyncio.wait_for(beaten.wait(), 20)
        lag.stop()
        assert lag._timer is not None
        assert lag._timer.cancelled()

    asyncio.run(beats())


def test_who_waited_or_would_wait_for_too_much_of_the_time_budget_is_part_of_a_crowd(tmp_path: Path) -> None:
    settings = read_settings({"REGULARS_HOME": str(tmp_path), "REGULARS_TIME_BUDGET_MS": "50"})
    live = Live(settings, open_store(settings.database_url), Champions(settings.home))
    assert not live.crowded()
    assert not live.crowded(waited=0.0049)
    assert live.crowded(waited=0.0051)
    live.lag._latest = 0.0049  # there and back
    assert not live.crowded(waited=0.0049)
    live.lag._latest = 0.0051
    assert live.crowded()
    live.store.close()
