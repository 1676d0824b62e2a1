"""A loop that is kept busy knows that it is behind."""

import asyncio

import pytest

from serving.lag import EVERY_S, Lag


class Clocked(asyncio.SelectorEventLoop):
    """A loop whose clock stands still unless it is moved."""

    now = 100.0

    def time(self) -> float:
        return self.now


async def turn(loop: Clocked, took: float) -> None:
    """One turn of the loop that takes so many seconds, and what is due after it."""
    loop.now += took
    for _ in range(3):
        await asyncio.sleep(0)


def lags(*took: float) -> list[float]:
    """What is told after each of turns that take so long."""

    async def run() -> list[float]:
        loop, lag, told = asyncio.get_running_loop(), Lag(), []
        assert isinstance(loop, Clocked)
        lag.start()
        for seconds in took:
            await turn(loop, seconds)
            told.append(lag.seconds)
        lag.stop()
        return [*told, lag.seconds]

    with asyncio.Runner(loop_factory=Clocked) as runner:
        return runner.run(run())


def test_a_busy_loop_is_behind_until_it_comes_in_time_again() -> None:
    late = 0.3 - EVERY_S
    assert lags(0.3, 0.3, 0.5, EVERY_S) == pytest.approx([0.0, late, late, 0.0, 0.0])


def test_one_pause_is_no_crowd() -> None:
    assert lags(EVERY_S, 0.3, EVERY_S, EVERY_S) == pytest.approx([0.0] * 5)


def test_what_is_stopped_is_not_behind() -> None:
    assert lags(0.3, 0.3)[-1] == 0.0
    assert Lag().seconds == 0.0
