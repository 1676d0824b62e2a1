"""A loop that is kept busy knows that it is behind."""

import asyncio
import time

from serving.lag import Lag


def test_a_busy_loop_is_behind_while_it_is_busy_and_not_for_long_after() -> None:
    lag, told = Lag(), []

    async def run() -> None:
        lag.start()
        await asyncio.sleep(0.05)
        time.sleep(0.3)
        told.append(lag.seconds)  # still within the turn that is too long
        await asyncio.sleep(0)
        told.append(lag.seconds)
        for _ in range(200):  # until the machine gives it a turn in time
            await asyncio.sleep(0.02)
            if lag.seconds < 0.1:
                break
        told.append(lag.seconds)
        lag.stop()

    asyncio.run(run())
    assert told[0] > 0.2
    assert told[1] > 0.2
    assert told[2] < 0.1
    assert lag.seconds == 0.0


def test_nothing_is_behind_before_it_is_watched() -> None:
    assert Lag().seconds == 0.0
