"""What is done again and again beside the requests of an event loop."""

import asyncio
import logging
from collections.abc import Callable

log = logging.getLogger(__name__)


class Every:
    """Calls ``do``, which is over soon, again after ``seconds`` in the event loop that runs; what fails is tried again."""

    def __init__(self, seconds: float, do: Callable[[], object]) -> None:
        self._seconds, self._do = seconds, do
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin in the loop that runs."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._seconds, self._again, loop)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _again(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._seconds, self._again, loop)
        try:
            self._do()
        except Exception:
            log.exception("what is done every %g seconds failed, trying again", self._seconds)
