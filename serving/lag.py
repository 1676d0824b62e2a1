"""How far an event loop is behind: who is looked at now has waited about that long already, and nothing else tells."""

import asyncio

EVERY_S = 0.01


class Lag:
    """Notes every 10 ms how late the loop comes to it."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._due = self._late = 0.0

    def start(self) -> None:
        """Watch the running loop until ``stop``."""
        self._loop = asyncio.get_running_loop()
        self._next(self._loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._loop = None

    @property
    def seconds(self) -> float:
        """The loop's last delay, or that of now where it is longer; 0 where no loop is watched."""
        return 0.0 if self._loop is None else max(self._late, self._loop.time() - self._due)

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        self._due = loop.time() + EVERY_S
        self._timer = loop.call_at(self._due, self._came, loop)

    def _came(self, loop: asyncio.AbstractEventLoop) -> None:
        self._late = loop.time() - self._due
        self._next(loop)
