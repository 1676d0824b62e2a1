"""Slots in which threads work: each keeps a processor busy, so that more of them at once only stand in each other's way."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from serving.usual import Usual

T = TypeVar("T")


class Slots:
    """``count`` slots of one event loop, and a queue before them; ``observe`` is told each wait, ``clock`` gives seconds."""

    def __init__(
        self,
        count: int,
        *,
        observe: Callable[[float], None] = lambda _: None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._free, self._count, self._observe, self._clock = CapacityLimiter(count), count, observe, clock
        self._took = Usual()
        self.waiting = 0

    @property
    def expected_wait(self) -> float:
        """The seconds that who comes now would wait: those before them by what one takes on average."""
        if self._free.available_tokens > 0:
            return 0.0
        return (self.waiting + 0.5) * self._took.mean / self._count

    async def run(self, make: Callable[[float], T]) -> T:
        """What ``make`` gives, told for how many seconds it waited, in a thread once there is a slot."""
        came = self._clock()
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        began = self._clock()
        self._observe(began - came)
        try:
            return await to_thread.run_sync(partial(make, began - came))
        finally:
            self._free.release()
            self._took.add(self._clock() - began)
