"""Processes that weigh for a worker: they say what the model says, and whoever loses one is told at once."""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from regulars.ids import IdMap
from regulars.models.asking import Context
from regulars.models.history import DAY_S, History, Told
from regulars.models.recommender import Recommender, Weighed
from serving import rankers as pool
from serving.ranker import MASKS, RankerLost
from serving.rankers import Rankers
from serving.services.given import sketch
from serving.usual import Usual
from tests.builders import tiny_retrieval

IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
NOW = 1_700_000_000
HISTORY = History(("tea", "axe", "tea"), np.array([NOW - 9 * DAY_S, NOW - 5 * DAY_S, NOW - DAY_S]), ("purchase",) * 3)


@dataclass
class Asking:
    """A model, its rankers, and how to have one question weighed by each."""

    model: Recommender
    rankers: Rankers

    async def of(self, context: Context, history: History = HISTORY) -> Weighed:
        told = self.model.told(history, context)
        weighed, seconds, sketched = await self.rankers.weigh(self.model, told, context, n=10)
        assert (seconds >= 0, sketched) == (True, None)
        return weighed

    def here(self, context: Context, history: History = HISTORY) -> Weighed:
        return self.model.weigh(history, context)

    @property
    def pids(self) -> list[int]:
        return [one._pid for one in self.rankers._running]


@pytest.fixture
def asking() -> Iterator[Asking]:
    rankers, model = Rankers(1), Recommender(tiny_retrieval(IDS), None, about={})
    model.warm_up()  # as a worker does, so that no ranker compiles what it is asked
    yield Asking(model, rankers)
    rankers.stop()


def run(make: Callable[[], Awaitable[None]]) -> None:
    async def within_reason() -> None:
        await asyncio.wait_for(make(), 30)

    asyncio.run(within_reason())


def same(one: Weighed, other: Weighed) -> None:
    assert one.rows.tolist() == other.rows.tolist()
    assert one.scores.tolist() == other.scores.tolist()
    assert one.known.products.tolist() == other.known.products.tolist()


def test_a_ranker_weighs_as_the_model_does(asking: Asking) -> None:
    mask = IDS.mask(["cup", "axe", "nail"])
    contexts = [
        Context(NOW),
        Context(NOW, repeat="never"),
        Context(NOW, allowed=mask),
        Context(NOW, candidates=("pot", "saw")),
        Context(NOW, "product", ("pot",)),
        Context(NOW, "cart", ("pot", "axe"), exclude=frozenset(["nail"])),
        Context(NOW, "order", ("saw",)),
    ]

    async def ask() -> None:
        for one in contexts:
            same(await asking.of(one), asking.here(one))
        nothing = History((), np.zeros(0, np.int64), ())
        same(await asking.of(Context(NOW), nothing), asking.here(Context(NOW), nothing))

    run(ask)


def test_a_ranker_chooses_as_the_model_does_what_nothing_steers(asking: Asking) -> None:
    steering = np.array([1, 1, 9, 1, 1, 1.0])
    contexts = [
        Context(NOW),
        Context(NOW, allowed=IDS.mask(["cup", "axe", "nail"]), exclude=frozenset(["axe"])),
        Context(NOW, repeat="never", pinned=("saw",), diversity=0.5),
        Context(NOW, "cart", ("pot", "axe")),
        Context(NOW, explore=0.5, seed=7),
        Context(NOW, steering=steering),
    ]

    async def ask() -> None:
        for context in contexts:
            found, here = await asking.of(context), asking.here(context)
            chosen, expected = asking.model.choose(found, context, n=10), asking.model.choose(here, context, n=10)
            assert (chosen, len(chosen.items) > 0) == (expected, True)
            assert (found.chosen is None) == (context.steering is not None)
            assert found.chosen is None or chosen is found.chosen.answer
            fewer = asking.model.choose(found, context, n=2)
            assert fewer == asking.model.choose(here, context, n=2)

    run(ask)


@pytest.mark.parametrize("country", [None, "DE"])
def test_what_is_given_is_sketched_where_nothing_steers_it(asking: Asking, country: str | None) -> None:
    async def ask() -> None:
        for context in (Context(NOW, country=country), Context(NOW, placement="cart", product_ids=("tea", "pot"))):
            told = asking.model.told(HISTORY, context)
            weighed, _, sketched = await asking.rankers.weigh(asking.model, told, context, n=4, sketch=True)
            answer = asking.model.choose(asking.here(context), context, n=4)
            assert sketched == sketch(answer, placement=context.placement, country=country)
            assert (weighed.chosen, asking.model.choose(weighed, context, n=4)) == (None, answer)
        steered = Context(NOW, steering=np.array([1, 1, 9, 1, 1, 1.0]))
        told = asking.model.told(HISTORY, steered)
        assert (await asking.rankers.weigh(asking.model, told, steered, n=4, sketch=True)).sketched is None

    run(ask)


def test_what_was_chosen_is_for_its_context_only(asking: Asking) -> None:
    async def ask() -> None:
        found = await asking.of(Context(NOW))
        others = (Context(NOW, exclude=frozenset(["tea"])), Context(NOW, steering=np.array([1, 1, 9, 1, 1, 1.0])))
        for other in others:
            assert asking.model.choose(found, other, n=10) == asking.model.choose(asking.here(other), other, n=10)

    run(ask)


def test_many_at_once_are_each_told_their_own(asking: Asking) -> None:
    async def ask() -> None:
        contexts = [Context(NOW, candidates=(IDS.ids([at % 6])[0], "tea")) for at in range(50)]
        found = await asyncio.gather(*map(asking.of, contexts))
        assert len(asking.pids) == 1
        for one, context in zip(found, contexts, strict=True):
            same(one, asking.here(context))

    run(ask)


def test_more_masks_than_are_kept(asking: Asking) -> None:
    masks = [np.array([(number >> bit) & 1 for bit in range(6)], bool) for number in range(1, MASKS + 9)]

    async def ask() -> None:
        for number in (*range(len(masks)), 0, 5, len(masks) - 1, 1):
            context = Context(NOW, allowed=masks[number])
            same(await asking.of(context), asking.here(context))

    run(ask)


def test_one_that_is_killed_is_told_and_another_takes_its_place(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "PAUSE_S", 1_000.0)

    async def ask() -> None:
        await asking.of(Context(NOW))
        (first,) = asking.pids
        os.kill(first, signal.SIGSTOP)
        waiting = [asyncio.ensure_future(asking.of(Context(NOW))) for _ in range(3)]
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        told = await asyncio.gather(*waiting, return_exceptions=True)
        assert [type(one) for one in told] == [RankerLost] * 3
        with pytest.raises(RankerLost, match="at the moment"):
            await asking.of(Context(NOW))
        asking.rankers._not_before = 0.0  # the pause is over
        same(await asking.of(Context(NOW)), asking.here(Context(NOW)))
        assert asking.pids != [first]
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)

    run(ask)


def test_one_that_hangs_is_ended(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "PATIENCE_S", 0.2)
    monkeypatch.setattr(pool, "PAUSE_S", 0.0)

    async def ask() -> None:
        await asking.of(Context(NOW))
        (first,) = asking.pids
        os.kill(first, signal.SIGSTOP)
        with pytest.raises(RankerLost, match=r"within 0\.2 seconds"):
            await asking.of(Context(NOW))
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        same(await asking.of(Context(NOW)), asking.here(Context(NOW)))

    run(ask)


def test_what_fails_is_told_and_the_ranker_goes_on(asking: Asking, monkeypatch: pytest.MonkeyPatch) -> None:
    weigh = Recommender.weigh_told

    def fails(model: Recommender, told: Told, context: Context) -> Weighed:
        if context.placement == "email":
            raise ValueError("no such thing")
        return weigh(model, told, context)

    monkeypatch.setattr(Recommender, "weigh_told", fails)

    async def ask() -> None:
        with pytest.raises(RankerLost, match="weighing failed: ValueError: no such thing"):
            await asking.of(Context(NOW, "email"))
        first = asking.pids
        assert len((await asking.of(Context(NOW))).rows)
        assert asking.pids == first

    run(ask)


def test_another_model_is_asked_of_a_ranker_of_its_own(asking: Asking) -> None:
    other = Asking(Recommender(tiny_retrieval(IdMap(["a", "b", "c", "d", "e", "f"])), None, about={}), asking.rankers)
    history = History(("a", "d"), np.array([NOW - 2 * DAY_S, NOW - DAY_S]), ("purchase",) * 2)

    async def ask() -> None:
        await asking.of(Context(NOW))
        (first,) = asking.pids
        os.kill(first, signal.SIGSTOP)
        begun = asyncio.ensure_future(asking.of(Context(NOW)))
        await asyncio.sleep(0)
        same(await other.of(Context(NOW), history), other.here(Context(NOW), history))
        assert asking.pids != [first]
        os.kill(first, signal.SIGCONT)  # what it was asked, it still answers
        same(await begun, asking.here(Context(NOW)))
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)

    run(ask)


def test_the_wait_that_is_expected_follows_from_who_is_before(asking: Asking) -> None:
    async def ask() -> None:
        assert asking.rankers.expected_wait == 0
        await asking.of(Context(NOW))
        asking.rankers._took = Usual()
        asking.rankers._took.add(0.25)
        (first,) = asking.pids
        os.kill(first, signal.SIGSTOP)
        begun = [asyncio.ensure_future(asking.of(Context(NOW))) for _ in range(4)]
        await asyncio.sleep(0)
        assert asking.rankers.expected_wait == 1.0
        assert asking.rankers.waiting == 2
        os.kill(first, signal.SIGCONT)
        await asyncio.gather(*begun)
        assert (asking.rankers.expected_wait, asking.rankers.waiting) == (0, 0)

    run(ask)


def test_who_asked_and_went_away_holds_up_nobody(asking: Asking) -> None:
    async def ask() -> None:
        await asking.of(Context(NOW))
        (first,) = asking.pids
        os.kill(first, signal.SIGSTOP)
        begun = [asyncio.ensure_future(asking.of(Context(NOW))) for _ in range(4)]
        await asyncio.sleep(0)
        for one in begun[:3]:
            one.cancel()
        os.kill(first, signal.SIGCONT)
        same(await begun[3], asking.here(Context(NOW)))
        for one in begun[:3]:
            with suppress(asyncio.CancelledError):
                await one

    run(ask)


def test_a_ranker_holds_nothing_of_its_worker_open(asking: Asking, tmp_path: Path) -> None:
    with (tmp_path / "database").open("w") as file:

        async def ask() -> None:
            await asking.of(Context(NOW))
            (pid,) = asking.pids
            held = [os.readlink(f"/proc/{pid}/fd/{one}") for one in os.listdir(f"/proc/{pid}/fd")]
            assert file.name not in held
            assert len([one for one in held if one.startswith("socket:")]) == 1

        run(ask)


def test_without_rankers_nobody_is_asked() -> None:
    assert not Rankers(0)
    assert Rankers(0).expected_wait == 0
