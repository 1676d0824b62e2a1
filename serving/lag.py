"""How late an event loop is: what it had to do waits that long before it is looked at."""

import asyncio

BEAT_S = 0.01


class Lag:
    """The lateness of a timer that goes off a hundred times a second."""

    def __init__(self) -> None:
        self._latest = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin in the loop that runs."""
        loop = asyncio.get_running_loop()
        self._due = loop.time() + BEAT_S
        self._timer = loop.call_at(self._due, self._beat, loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def seconds(self) -> float:
        """By how much the timer was late when it went off last."""
        return self._latest

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._latest = now - self._due
        self._due = now + BEAT_S
        self._timer = loop.call_at(self._due, self._beat, loop)
