"""How late an event loop is, and what follows from it."""

import asyncio
import time
from pathlib import Path

from regulars.settings import read_settings
from serving.champions import Champions
from serving.lag import Lag
from serving.live import Live
from serving.store import open_store


def test_a_loop_that_was_kept_busy_is_late_by_as_much_and_catches_up() -> None:
    async def kept_busy() -> tuple[float, float]:
        lag = Lag()
        lag.start()
        await asyncio.sleep(0.02)
        time.sleep(0.3)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = lag.seconds
        while lag.seconds > 0.05:
            await asyncio.sleep(0.02)
        lag.stop()
        return late, lag.seconds

    late, after = asyncio.run(asyncio.wait_for(kept_busy(), 30))
    assert late > 0.25
    assert after <= 0.05


def test_a_loop_that_is_later_than_the_time_budget_is_crowded(tmp_path: Path) -> None:
    settings = read_settings({"REGULARS_HOME": str(tmp_path), "REGULARS_TIME_BUDGET_MS": "50"})
    live = Live(settings, open_store(settings.database_url), Champions(settings.home))
    assert not live.crowded
    live.lag._latest = 0.04
    assert not live.crowded
    live.lag._latest = 0.06
    assert live.crowded
    live.store.close()
