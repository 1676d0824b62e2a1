"""What is done again and again goes on after a failure and ends when it is stopped."""

import asyncio

import pytest

from serving.every import Every


def test_it_is_done_again_even_after_it_failed_until_it_is_stopped(caplog: pytest.LogCaptureFixture) -> None:
    async def often() -> int:
        done, enough = 0, asyncio.Event()

        def do() -> None:
            nonlocal done
            done += 1
            if done == 1:
                raise RuntimeError("not this time")
            if done == 3:
                enough.set()

        every = Every(0.001, do)
        every.start()
        await asyncio.wait_for(enough.wait(), 20)
        every.stop()
        so_far = done
        await asyncio.sleep(0.05)
        assert done == so_far
        return done

    assert asyncio.run(often()) == 3
    assert [record.getMessage() for record in caplog.records] == [
        "what is done every 0.001 seconds failed, trying again"
    ]


def test_what_never_began_can_be_stopped() -> None:
    Every(1.0, lambda: None).stop()
