"""Short looks of many requests into PostgreSQL at once: whoever waits together goes there and back together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

from serving.store.database import Store
from serving.store.prepared import Asked, Found, rows_of_each
from serving.store.writer import Overloaded, those_together

MOST_TOGETHER = 32
MOST_WAITING = 2_048
PATIENCE_S = 5.0


@dataclass(frozen=True, eq=False)
class _Look:
    asked: Sequence[Asked]
    loop: asyncio.AbstractEventLoop
    found: asyncio.Future[list[Found]]
    came: float


class GroupReader:
    """A thread that reads for an event loop: the statements of up to 32 looks are one way to the server and back.

    Where one of them fails, each look is tried again alone, so that it fails alone.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting = SimpleQueue[_Look | None]()
        self._looks: dict[_Look, None] = {}
        self._watch: asyncio.TimerHandle | None = None
        self._watched: asyncio.AbstractEventLoop | None = None
        self._thread = Thread(target=self._work, name="reader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Read for who waits, then end."""
        self._waiting.put(None)
        if self._thread.is_alive():
            self._thread.join()

    async def rows(self, *asked: Asked) -> list[Found]:
        """The rows of each SELECT, as they are committed by now.

        Raises:
            Overloaded: where 2,048 looks wait already, or nothing came for five seconds.
        """
        if self._waiting.qsize() >= MOST_WAITING:
            raise Overloaded
        loop = asyncio.get_running_loop()
        look = _Look(asked, loop, loop.create_future(), loop.time())
        self._looks[look] = None
        self._waiting.put(look)
        if self._watch is None or self._watched is not loop:
            self._watch, self._watched = loop.call_later(PATIENCE_S, self._look, loop), loop
        try:
            return await look.found
        finally:
            self._looks.pop(look, None)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up those that came too long ago; one timer for all, since a timer each takes as long as asking."""
        now, self._watch = loop.time(), None
        for look in [look for look in self._looks if look.loop is loop]:  # the oldest first
            if look.found.done():
                continue
            if now - look.came < PATIENCE_S:
                self._watch = loop.call_later(look.came + PATIENCE_S - now, self._look, loop)
                return
            look.found.set_exception(Overloaded())

    def _work(self) -> None:
        for together in those_together(self._waiting, MOST_TOGETHER):
            self._read(together)

    def _read(self, together: Sequence[_Look]) -> None:
        try:
            found = self._rows(together)
        except Exception as error:
            if len(together) == 1:
                _tell([(together[0], error)])
                return
            for look in together:
                self._read([look])
            return
        _tell(list(zip(together, found, strict=True)))

    def _rows(self, together: Sequence[_Look]) -> list[list[Found]]:
        """What each look finds; what several ask alike, such as for the key of a shop's pages, is asked once."""
        places: dict[tuple[Any, ...], int] = {}
        distinct: list[Asked] = []
        of_look = []
        for look in together:
            own = []
            for asked in look.asked:
                place = places.setdefault((asked[0], *asked[1].values()), len(distinct))
                if place == len(distinct):
                    distinct.append(asked)
                own.append(place)
            of_look.append(own)
        found = rows_of_each(self._store, *distinct)
        return [[found[place] for place in own] for own in of_look]


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
