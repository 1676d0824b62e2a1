"""Short looks of many requests into PostgreSQL at once: whoever waits together goes there and back together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread

from serving.store.database import Store
from serving.store.prepared import Asked, Found, rows_of_each
from serving.store.writer import Overloaded, those_together

THREADS = 2  # one reads what came while the other one waits
MOST_TOGETHER = 32
MOST_WAITING = 2_048
PATIENCE_S = 5.0


@dataclass(frozen=True, eq=False)
class _Look:
    asked: Sequence[Asked]
    loop: asyncio.AbstractEventLoop
    found: asyncio.Future[list[Found]]


class GroupReader:
    """Threads that read for an event loop: the statements of up to 32 looks are one way to the server and back.

    Where one of them fails, each look is tried again alone, so that it fails alone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting = SimpleQueue[_Look | None]()
        self._threads = [Thread(target=self._work, name=f"reader-{number}", daemon=True) for number in range(THREADS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Read for who waits, then end."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            if thread.is_alive():
                thread.join()

    async def rows(self, *asked: Asked) -> list[Found]:
        """The rows of each SELECT, as they are committed by now.

        Raises:
            Overloaded: where 2,048 looks wait already, or nothing came for five seconds.
        """
        if self._waiting.qsize() >= MOST_WAITING:
            raise Overloaded
        loop = asyncio.get_running_loop()
        look = _Look(asked, loop, loop.create_future())
        self._waiting.put(look)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await look.found
        except TimeoutError:
            raise Overloaded from None

    def _work(self) -> None:
        for together in those_together(self._waiting, MOST_TOGETHER):
            self._read(together)

    def _read(self, together: Sequence[_Look]) -> None:
        try:
            found = iter(rows_of_each(self._store, *(asked for look in together for asked in look.asked)))
        except Exception as error:
            if len(together) == 1:
                _tell([(together[0], error)])
                return
            for look in together:
                self._read([look])
            return
        _tell([(look, [next(found) for _ in look.asked]) for look in together])


def _tell(told: Sequence[tuple[_Look, list[Found] | Exception]]) -> None:
    for loop in {look.loop for look, _ in told}:
        try:
            loop.call_soon_threadsafe(_settle, [one for one in told if one[0].loop is loop])
        except RuntimeError:  # the loop ended meanwhile, and with it who asked
            continue


def _settle(told: Sequence[tuple[_Look, list[Found] | Exception]]) -> None:
    for look, found in told:
        if look.found.done():  # who asked is gone
            continue
        if isinstance(found, Exception):
            look.found.set_exception(found)
        else:
            look.found.set_result(found)
