"""Rankers of a running service: whoever is killed is replaced, and nobody is left behind."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.published import bring_champion, publish
from tests.services import Service, start, until


def rankers_of(server: psutil.Process) -> dict[psutil.Process, psutil.Process]:
    """Ranker -> its worker."""
    return {ranker: worker for worker in server.children() for ranker in worker.children()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "rows").mkdir()
    publish(f"sqlite:///{tmp_path}/store.db", tmp_path / "rows")
    bring_champion(tmp_path, 1)
    return tmp_path


@contextmanager
def served(home: Path, **settings: object) -> Iterator[tuple[Service, psutil.Process]]:
    """A service that is ready, and its process; no ranker is left behind at the end."""
    made, server = start(home, f"sqlite:///{home}/store.db", workers=1, **settings)
    process = psutil.Process(server.pid)
    try:
        until(lambda: httpx.get(made.address + "/health/ready").status_code == 200)
        yield made, process
    finally:
        left = list(rankers_of(process))
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) in (0, -signal.SIGTERM)
    assert psutil.wait_procs(left, 10)[1] == []


@pytest.fixture
def service(home: Path) -> Iterator[tuple[Service, psutil.Process]]:
    with served(home) as found:
        yield found


def weighed_of(service: Service, visitor: str) -> list[str]:
    """What a visitor who looked at the axe is shown; ranked in full."""
    event = {
        "event": "Product Viewed",
        "anonymousId": visitor,
        "messageId": visitor,
        "properties": {"product_id": "axe"},
    }
    assert service.send("/v1/track", event).status_code == 200
    answer = service.ask(f"/v1/recommendations?anonymous_id={visitor}&limit=2")
    assert answer.status_code == 200, answer.text
    assert answer.json()["fallback"] is None
    return [item["product_id"] for item in answer.json()["items"]]


def test_no_thread_takes_the_processor_of_another_one_that_it_only_just_got(
    service: tuple[Service, psutil.Process],
) -> None:
    ((ranker, worker),) = rankers_of(service[1]).items()
    threads = [thread.id for process in (ranker, worker) for thread in process.threads()]
    assert len(threads) > 3
    assert {os.sched_getscheduler(thread) for thread in threads} == {os.SCHED_BATCH}


def test_a_ranker_that_is_killed_is_replaced_and_everybody_is_answered(service: tuple[Service, psutil.Process]) -> None:
    asked, server = service
    expected = weighed_of(asked, "first")
    (ranker,) = rankers_of(server)
    ranker.kill()
    until(lambda: not ranker.is_running())
    assert weighed_of(asked, "second") == expected
    number = 2

    def replaced() -> bool:
        nonlocal number
        number += 1
        assert weighed_of(asked, f"visitor {number}") == expected
        return bool(rankers_of(server))

    until(replaced)
    assert ranker not in rankers_of(server)


def test_a_worker_that_is_killed_takes_its_ranker_along(service: tuple[Service, psutil.Process]) -> None:
    asked, server = service
    expected = weighed_of(asked, "first")
    ((ranker, worker),) = rankers_of(server).items()
    worker.kill()
    assert psutil.wait_procs([ranker], 10)[1] == []
    until(lambda: httpx.get(asked.address + "/health/ready").status_code == 200)
    assert weighed_of(asked, "second") == expected
    assert len(rankers_of(server)) == 1


def test_another_champion_is_weighed_by_a_ranker_of_its_own(service: tuple[Service, psutil.Process]) -> None:
    asked, server = service
    expected = weighed_of(asked, "first")
    (before,) = rankers_of(server)
    bring_champion(asked.home, 2)
    until(lambda: asked.ask("/v1/recommendations?anonymous_id=x").json()["model_version"] == "recommender-2")
    assert weighed_of(asked, "second") == expected
    (after,) = rankers_of(server)
    assert after != before
    assert psutil.wait_procs([before], 10)[1] == []


def test_without_rankers_the_worker_weighs(home: Path) -> None:
    with served(home, rankers=0) as (asked, server):
        assert weighed_of(asked, "first")
        assert rankers_of(server) == {}
