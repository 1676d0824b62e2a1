"""Who waits for a slot, for how long, and who does not."""

from threading import Event

import anyio
import pytest

from serving.slots import Slots


def test_as_many_as_there_are_slots_are_made_at_once_and_the_others_wait_and_are_told() -> None:
    slots, may_end, waited = Slots(2), Event(), []

    def make(seconds: float) -> str:
        waited.append(seconds)
        assert may_end.wait(20)
        return "made"

    async def ask(found: list[str]) -> None:
        found.append(await slots.run(make))

    async def crowd() -> list[str]:
        found: list[str] = []
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask, found)
            while len(waited) < 2 or not slots.waiting:
                await anyio.sleep(0)
            assert (len(waited), slots.waiting) == (2, 1)
            may_end.set()
        return found

    assert anyio.run(crowd) == ["made"] * 3
    assert slots.waiting == 0
    assert waited[2] > max(waited[:2])


def test_the_wait_that_is_expected_follows_from_who_is_before_and_what_answers_take() -> None:
    ticks = iter(range(1_000))
    slots = Slots(1, clock=lambda: float(next(ticks)))
    expected: list[float] = []

    async def ask() -> None:
        await slots.run(lambda _: None)

    async def crowd() -> None:
        expected.append(slots.expected_wait)  # a free slot
        await ask()
        async with anyio.create_task_group() as group:
            begun, may_end = anyio.Event(), Event()

            async def hold() -> None:
                begun.set()
                await slots.run(lambda _: may_end.wait(20))

            group.start_soon(hold)
            await begun.wait()
            await anyio.sleep(0)
            expected.append(slots.expected_wait)  # nobody waits: half of what one took
            group.start_soon(ask)
            await anyio.sleep(0)
            expected.append(slots.expected_wait)
            may_end.set()
        expected.append(slots.expected_wait)

    anyio.run(crowd)
    assert expected == [0.0, 0.5, 1.5, 0.0]


def test_an_answer_that_fails_or_is_given_up_gives_its_slot_back() -> None:
    slots = Slots(1)

    def fail(_: float) -> None:
        raise RuntimeError("broken")

    async def crowd() -> str:
        may_end = Event()
        with pytest.raises(RuntimeError, match="broken"):
            await slots.run(fail)
        async with anyio.create_task_group() as group:
            group.start_soon(slots.run, lambda _: may_end.wait(20))
            await anyio.sleep(0)
            with anyio.move_on_after(0):
                await slots.run(lambda _: None)
            may_end.set()
        return await slots.run(lambda _: "made")

    assert anyio.run(crowd) == "made"
    assert slots.waiting == 0
