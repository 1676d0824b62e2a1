"""How far an event loop is behind: who is looked at now has waited about that long already, and nothing else tells."""

import asyncio

EVERY_S = 0.01


class Lag:
    """Notes every 10 ms how late the loop comes to it."""

    def __init__(self) -> None:
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._before = self._late = 0.0

    def start(self) -> None:
        """Watch the running loop until ``stop``."""
        self._next(asyncio.get_running_loop())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._before = self._late = 0.0

    @property
    def seconds(self) -> float:
        """The lesser of the last two delays: one alone is a pause of the machine, not a crowd."""
        return min(self._before, self._late)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + EVERY_S
        self._timer = loop.call_at(self._due, self._came, loop)

    def _came(self, loop: asyncio.AbstractEventLoop) -> None:
        self._before, self._late = self._late, max(loop.time() - self._due, 0.0)
        self._next(loop)
