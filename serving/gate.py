"""Few answers under way at a time, the others in the order in which they came.

An answer is looked at by its event loop some five times. Where all that came are under way, each look waits behind a look at
every other one, and all are late together; who came first is done first where few are.
"""

import asyncio
from collections import deque
from types import TracebackType

from serving.lag import Lag

MOST = 8
LATE_S = 0.001  # a loop that is on time may have as many under way as come: it is something else that takes long


class Gate:
    """Lets ``MOST`` at a time through where the loop whose ``lag`` it is told is late; ``async with`` waits for its turn."""

    def __init__(self, lag: Lag) -> None:
        self._lag = lag
        self._under_way = 0
        self._waiting = deque[asyncio.Future[None]]()

    async def __aenter__(self) -> None:
        if not self._waiting and (self._under_way < MOST or self._lag.seconds < LATE_S):
            self._under_way += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._left()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self._left()

    def _left(self) -> None:
        self._under_way -= 1
        while self._waiting and (self._under_way < MOST or self._lag.seconds < LATE_S):
            turn = self._waiting.popleft()
            if not turn.done():
                self._under_way += 1
                turn.set_result(None)
