"""Whose turn it is where an event loop is late."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from serving.gate import MOST, Gate
from serving.lag import Lag


class Visitors:
    """Who goes through ``gate``: ``inside`` and ``left`` in the order in which they did; ``leave`` lets one go."""

    def __init__(self, *, late: float) -> None:
        self.lag = Lag()
        self.lag._latest = late
        self.gate = Gate(self.lag)
        self.inside: list[int] = []
        self.left: list[int] = []
        self._leave: dict[int, asyncio.Event] = {}

    async def visit(self, number: int) -> None:
        self._leave[number] = asyncio.Event()
        async with self.gate:
            self.inside.append(number)
            await self._leave[number].wait()
        self.left.append(number)

    async def come(self, count: int) -> list[asyncio.Task[None]]:
        tasks = [asyncio.ensure_future(self.visit(number)) for number in range(count)]
        await settled()
        return tasks

    async def leave(self, *numbers: int) -> None:
        for number in numbers:
            self._leave[number].set()
        await settled()


async def settled() -> None:
    """Everything that can go on has."""
    for _ in range(10):
        await asyncio.sleep(0)


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))  # type: ignore[arg-type]


def test_in_a_late_loop_a_few_are_under_way_and_who_came_first_is_next() -> None:
    async def test() -> None:
        visitors = Visitors(late=0.02)
        await visitors.come(MOST + 3)
        assert visitors.inside == list(range(MOST))
        await visitors.leave(5)
        await visitors.leave(2)
        assert visitors.inside == [*range(MOST), MOST, MOST + 1]
        await visitors.leave(*(set(range(MOST + 2)) - {2, 5}))
        await visitors.leave(MOST + 2)
        assert len(visitors.left) == MOST + 3

    run(test)


def test_in_a_loop_on_time_as_many_are_under_way_as_come() -> None:
    async def test() -> None:
        visitors = Visitors(late=0.0)
        await visitors.come(5 * MOST)
        assert len(visitors.inside) == 5 * MOST

    run(test)


def test_all_go_on_once_the_loop_is_on_time_again() -> None:
    async def test() -> None:
        visitors = Visitors(late=0.02)
        await visitors.come(3 * MOST)
        visitors.lag._latest = 0.0
        await visitors.leave(0)
        assert len(visitors.inside) == 3 * MOST

    run(test)


@pytest.mark.parametrize("when", ["waiting", "called", "inside"])
def test_who_goes_away_takes_nobodys_turn(when: str) -> None:
    async def test() -> None:
        visitors = Visitors(late=0.02)
        tasks = await visitors.come(MOST + 2)
        if when == "waiting":
            tasks[MOST].cancel()
        elif when == "called":  # its turn has come, and it does not know yet
            visitors.gate._left()
            visitors.gate._under_way += 1  # nobody did leave
            tasks[MOST].cancel()
        else:
            tasks[0].cancel()
        await settled()
        for _ in range(MOST + 2):
            await visitors.leave(*visitors.inside)
        gone = {"waiting": MOST, "called": MOST, "inside": 0}[when]
        assert set(visitors.left) == set(range(MOST + 2)) - {gone}
        assert visitors.gate._under_way == 0

    run(test)
