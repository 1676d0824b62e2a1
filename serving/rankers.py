"""Processes beside a worker that weigh for it.

Python's interpreter has one lock, and an answer gives it up and wants it back some fifteen times while it is made: made in
threads, answers, the event loop and the driver wait for each other while processors are idle.
"""

import asyncio
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from regulars.models.asking import Context
from regulars.models.history import Told
from regulars.models.recommender import Recommender
from serving.ranker import Answered, Asked, Ranker, RankerLost
from serving.usual import Usual

AHEAD = 2  # so that a ranker has the next question when it has answered one
PATIENCE_S = 2.0
PAUSE_S = 1.0  # after one that ended by itself: what ended it may end the next


class Rankers:
    """``count`` rankers of one event loop, none where the system does not fork; ``observe`` is told each wait in seconds."""

    def __init__(self, count: int, *, observe: Callable[[float], None] = lambda _: None) -> None:
        self._count = count if sys.platform == "linux" else 0
        self._observe = observe
        self._model: Recommender | None = None
        self._running: list[Ranker] = []
        self._ending: list[Ranker] = []  # of another model, while they have something to answer
        self._queue = deque[Asked]()
        self._took = Usual()
        self._not_before = 0.0
        self._watch: asyncio.TimerHandle | None = None

    def __bool__(self) -> bool:
        return self._count > 0

    @property
    def waiting(self) -> int:
        """How many questions wait to be begun."""
        return len(self._queue)

    @property
    def expected_wait(self) -> float:
        """The seconds that who comes now would wait: those before them by what one takes on average."""
        before = len(self._queue) + sum([len(one.asked) for one in self._running])
        return before * self._took.mean / self._count if self._count else 0.0

    def prepare(self, model: Recommender) -> None:
        """Have rankers of ``model``; those of another one end once they have answered what they were asked."""
        self._model, kept, now = model, [], time.monotonic()
        for one in self._running:
            if not one.alive:
                self._not_before = now + PAUSE_S
            elif one.model is model:
                kept.append(one)
            else:
                one.retire()
                self._ending.append(one)
        self._ending = [one for one in self._ending if one.alive]
        missing = self._count - len(kept) if now >= self._not_before else 0
        self._running = kept + [Ranker(model, settled=self._settled) for _ in range(missing)]

    async def weigh(
        self, model: Recommender, told: Told, context: Context, *, n: int, sketch: bool = False
    ) -> Answered:
        """``model.weigh_told`` with ``n`` products of it chosen, where the context steers nothing: as ``Weighed.chosen``, or as a
        ``sketch`` of what is given.

        Raises:
            RankerLost: where no ranker answers.
        """
        loop = asyncio.get_running_loop()
        one = Asked(told, context, n, sketch, loop.create_future(), time.perf_counter())
        self._queue.append(one)
        if model is not self._model:
            self.prepare(model)
        self._begin()
        if self._watch is None:
            self._watch = loop.call_later(PATIENCE_S, self._look, loop)
        return await one.answer

    def stop(self) -> None:
        """End all of them."""
        if self._watch is not None:
            self._watch.cancel()
        ended, self._model, self._running, self._ending = [*self._running, *self._ending], None, [], []
        for one in ended:
            one.end()

    def _settled(self, seconds: float | None) -> None:
        if seconds is not None:
            self._took.add(seconds)
        self._begin()

    def _begin(self) -> None:
        """Hand questions that wait to rankers that have room."""
        alive = [one for one in self._running if one.alive]
        if self._model is not None and self._queue and len(alive) < self._count:
            self.prepare(self._model)
            alive = self._running
        while self._queue:
            ranker = min(alive, key=lambda one: len(one.asked), default=None)
            if ranker is not None and len(ranker.asked) >= AHEAD:
                return
            one = self._queue.popleft()
            if one.answer.done():
                continue
            self._observe(time.perf_counter() - one.came)
            if ranker is None:
                one.answer.set_exception(RankerLost("no ranker runs at the moment"))
            else:
                ranker.ask(one)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up those that came too long ago; one timer for all, since a timer each takes as long as asking."""
        running = [asked for one in (*self._running, *self._ending) for asked in one.asked]
        waiting = [one for one in (*running, *self._queue) if not one.answer.done()]
        now, self._watch = time.perf_counter(), None
        for one in waiting:
            if now - one.came >= PATIENCE_S:
                self._give_up(one)
        if left := [one.came for one in waiting if not one.answer.done()]:
            self._watch = loop.call_later(min(left) + PATIENCE_S - now, self._look, loop)

    def _give_up(self, asked: Asked) -> None:
        asked.answer.set_exception(RankerLost(f"no ranker answered within {PATIENCE_S:g} seconds"))
        with suppress(ValueError):
            self._queue.remove(asked)
        for one in (*self._running, *self._ending):
            if asked in one.asked:
                one.end()
