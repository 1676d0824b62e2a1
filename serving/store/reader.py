"""Short looks of many requests into PostgreSQL, by their event loop itself: whoever waits together goes there and back together."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from select import POLLIN, poll
from typing import TYPE_CHECKING, Any

from serving.store.database import Store
from serving.store.prepared import Asked, Found, read, told_of_each
from serving.store.writer import Overloaded

if TYPE_CHECKING:
    from serving.store.pipeline import Pipeline

MOST_TOGETHER = 32
MOST_WAITING = 2_048
PATIENCE_S = 5.0
LAST_S = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Look:
    """``again``: it was tried before, with others or on a connection that was lost."""

    asked: Sequence[Asked]
    found: "asyncio.Future[list[Found]]"
    came: float
    again: bool = False


@dataclass(frozen=True)
class _Together:
    """Looks on one way to the server: the ``distinct`` statements, and of each look the places of its own among them."""

    looks: list[_Look]
    distinct: list[Asked] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """What several ask alike, such as for the key of a shop's pages, is asked once."""
        known: dict[tuple[Any, ...], int] = {}
        for look in self.looks:
            own = []
            for asked in look.asked:
                place = known.setdefault((asked[0], *asked[1].values()), len(self.distinct))
                if place == len(self.distinct):
                    self.distinct.append(asked)
                own.append(place)
            self.places.append(own)


class GroupReader:
    """Reads for the event loop in which it is asked, on one connection: up to 32 looks are one way to the server and back.

    Where one of them fails, or the connection is lost, each is tried once more alone, so that it fails alone. A lost connection, or
    one that says nothing for five seconds, is replaced in a thread, since that may take long.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting = deque[_Look]()
        self._under_way: _Together | None = None
        self._looks: dict[_Look, None] = {}
        self._sending = self._connecting = False
        self._watch: asyncio.TimerHandle | None = None
        self._pipeline: Pipeline | None = None
        self._held = ExitStack()

    async def rows(self, *asked: Asked) -> list[Found]:
        """The rows of each SELECT, as they are committed by now.

        Raises:
            Overloaded: where 2,048 looks wait already, or nothing came for five seconds.
            psycopg.Error: what the server says.
        """
        if len(self._looks) >= MOST_WAITING:
            raise Overloaded
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._begin(loop)
        look = _Look(asked, loop.create_future(), loop.time())
        self._looks[look] = None
        self._waiting.append(look)
        self._soon(loop)
        if self._watch is None:
            self._watch = loop.call_later(PATIENCE_S, self._look, loop)
        try:
            return await look.found
        finally:
            self._looks.pop(look, None)

    def stop(self) -> None:
        """Read for who waits, as far as that takes no more than a second, and give the connection back; from within the loop."""
        until = time.monotonic() + LAST_S
        self._send()
        while self._pipeline is not None and self._under_way is not None and time.monotonic() < until:
            self._flush()
            _wait(self._pipeline.socket)
            self._read()
        self._let_go()
        self._loop = None

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        """Read for this loop from now on; nobody of another one waits any more."""
        self._let_go()
        self._loop, self._watch, self._sending, self._connecting = loop, None, False, False
        self._looks, self._waiting, self._under_way = {}, deque(), None

    def _soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """Send what waits once all that came at this moment have asked."""
        if not self._sending:
            self._sending = True
            loop.call_soon(self._send)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up those that came too long ago; one timer for all, since a timer each takes as long as asking."""
        now, self._watch = loop.time(), None
        for look in [*self._looks]:  # the oldest first
            if look.found.done():
                continue
            if now - look.came < PATIENCE_S:
                self._watch = loop.call_later(look.came + PATIENCE_S - now, self._look, loop)
                break
            look.found.set_exception(Overloaded())
        together = self._under_way
        if together is not None and all(now - look.came >= PATIENCE_S for look in together.looks):
            self._failed(Overloaded(), lost=True)  # nobody knows whether it will ever answer

    def _send(self) -> None:
        """Send those that wait, unless others are under way: those that come meanwhile go together."""
        self._sending = False
        while self._under_way is None and (looks := self._next()):
            if self._pipeline is None:
                self._waiting.extendleft(reversed(looks))
                self._connect()
                return
            self._under_way = _Together(looks)
            try:
                if not self._pipeline.hand(told_of_each(self._store.dialect, self._under_way.distinct)):
                    assert self._loop is not None
                    self._loop.add_writer(self._pipeline.socket, self._flush)
            except Exception as error:  # of the connection, or a value that is none of the database's: nothing was sent
                self._failed(error)

    def _next(self) -> list[_Look]:
        """Those that go together: who was tried before goes alone; who asked is there still."""
        looks: list[_Look] = []
        while self._waiting and len(looks) < MOST_TOGETHER and not (looks and self._waiting[0].again):
            look = self._waiting.popleft()
            if look.found.done():
                continue
            looks.append(look)
            if look.again:
                break
        return looks

    def _flush(self) -> None:
        """Go on sending what the socket did not take at once."""
        if self._pipeline is None or self._loop is None:
            return
        try:
            if self._pipeline.flush():
                self._loop.remove_writer(self._pipeline.socket)
        except Exception as error:
            self._failed(error, lost=True)

    def _read(self) -> None:
        if self._pipeline is None:
            return
        try:
            found = self._pipeline.received()
            if found is not None and self._under_way is not None:
                self._settle(self._under_way, found)
        except Exception as error:
            self._failed(error)
        self._send()

    def _settle(self, together: _Together, found: list[Found]) -> None:
        rows = read(self._store.dialect, together.distinct, found)
        self._under_way = None
        for look, places in zip(together.looks, together.places, strict=True):
            if not look.found.done():  # else who asked is gone
                look.found.set_result([rows[place] for place in places])

    def _failed(self, error: Exception, *, lost: bool = False) -> None:
        """Try those that were under way once more, each alone, on another connection where this one is lost."""
        lost = lost or (self._pipeline is not None and self._pipeline.is_lost)
        together, self._under_way = self._under_way, None
        if lost:
            self._let_go()
        for look in reversed([] if together is None else together.looks):
            if look.found.done():
                continue
            if look.again or (together is not None and len(together.looks) == 1 and not lost):
                look.found.set_exception(error)
            else:
                self._waiting.appendleft(replace(look, again=True))
        if self._waiting and self._loop is not None:
            self._soon(self._loop)

    def _connect(self) -> None:
        """Take a connection in a thread, then send."""
        if self._connecting or self._loop is None:
            return
        self._connecting = True
        loop, held = self._loop, ExitStack()
        taken = loop.run_in_executor(None, held.enter_context, self._store.driver())
        taken.add_done_callback(lambda taken: self._connected(loop, held, taken))

    def _connected(self, loop: asyncio.AbstractEventLoop, held: ExitStack, taken: "asyncio.Future[Any]") -> None:
        from serving.store.pipeline import Pipeline  # noqa: PLC0415 - its driver is an extra

        if taken.cancelled() or loop is not self._loop:  # stopped meanwhile
            held.close()
            return
        self._connecting = False
        error = taken.exception()
        if error is not None:
            log.error("no connection to read from: %s", error)
            while self._waiting:
                look = self._waiting.popleft()
                if not look.found.done():
                    look.found.set_exception(error)
            return
        self._held, self._pipeline = held, Pipeline(taken.result())
        loop.add_reader(self._pipeline.socket, self._read)
        self._send()

    def _let_go(self) -> None:
        """Give the connection back, closed: it may be in the middle of an answer."""
        if self._pipeline is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            self._loop.remove_reader(self._pipeline.socket)
            self._loop.remove_writer(self._pipeline.socket)
        self._pipeline.close()
        self._pipeline = None
        self._held.close()


def _wait(socket: int) -> None:
    waiting = poll()
    waiting.register(socket, POLLIN)
    waiting.poll(100)
