"""A store that is slow, full or away: what cannot be kept is said to be so, soon, with when to try again; then nothing is lost."""

import asyncio
import resource
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from serving.store import open_store
from tests.integration.test_events import fresh_database, track
from tests.published import ready
from tests.services import Service, until

MANY = 700  # more than may wait to be written


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    with ready(tmp_path, None if request.param == "sqlite" else fresh_database(request)) as made:
        assert sent(made, "first").status_code == 200  # so that every connection is there
        yield made


def sent(service: Service, message: str) -> httpx.Response:
    return service.send("/v1/track", track("X", anonymousId="v", messageId=message), scope="events")


def kept(service: Service) -> Counter[str]:
    """How many events the store holds, by message_id."""
    store = open_store(service.database)
    with store.reading() as connection:
        found = Counter(connection.exec_driver_sql("select message_id from events").scalars())
    store.close()
    return found


def refused(answer: httpx.Response, *statuses: int) -> bool:
    """Whether it is one of these, said as a problem with when to try again."""
    told = int(answer.headers.get("retry-after", 0)) >= 1
    return answer.status_code in statuses and told and answer.json()["status"] == answer.status_code


def taken(service: Service, *messages: str) -> None:
    """Send them until they are taken, as clients do; then each is there once."""
    for message in messages:
        until(lambda message=message: sent(service, message).status_code == 200)
    found = kept(service)
    assert {message: found[message] for message in messages} == dict.fromkeys(messages, 1)


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Somebody else writes and does not end."""
    if service.database.startswith("sqlite"):
        with closing(sqlite3.connect(service.database.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
        return
    with psycopg.connect(service.database) as other:
        other.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        yield
        other.rollback()


def test_while_the_store_is_slow_events_are_to_be_sent_again_and_questions_are_answered(service: Service) -> None:
    names = [f"m{number}" for number in range(MANY)]

    async def all_at_once() -> list[httpx.Response]:
        headers = {"Authorization": f"Bearer {service.keys['events']}"}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=service.address, headers=headers, limits=limits, timeout=60) as client:
            told = (track("X", anonymousId="v", messageId=name) for name in names)
            return await asyncio.gather(*(client.post("/v1/track", json=event) for event in told))

    with locked(service):  # until all are answered, so that none waited for its end
        answers = asyncio.run(all_at_once())
        assert service.ask("/v1/recommendations?anonymous_id=v").status_code == 200
    assert all(refused(answer, 429, 503) for answer in answers)
    assert {answer.status_code for answer in answers} == {429, 503}
    never_begun = [name for name, answer in zip(names, answers, strict=True) if answer.status_code == 429]
    taken(service, *names[::100], *never_begun[:3])
    assert set(kept(service).values()) == {1}


def processes(service: Service) -> Iterator[psutil.Process]:
    """The service's, its workers among them."""
    port = service.address.rpartition(":")[2]
    for process in psutil.process_iter(["cmdline"]):
        if port in (process.info["cmdline"] or ()):
            yield from (process, *process.children(recursive=True))


@pytest.mark.parametrize("service", ["sqlite"], indirect=True)
def test_while_the_disk_is_full_events_are_to_be_sent_again(service: Service) -> None:
    """No file may grow beyond what it has, as far as the service's processes are concerned."""
    size = (service.home / "store.db-wal").stat().st_size
    limits = {process.pid: resource.prlimit(process.pid, resource.RLIMIT_FSIZE) for process in processes(service)}
    for pid, (_, most) in limits.items():
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))
    try:
        answers = {f"m{number}": sent(service, f"m{number}") for number in range(20)}
    finally:
        for pid, before in limits.items():
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert all(answer.status_code == 200 or refused(answer, 503) for answer in answers.values())
    assert refused(answers["m19"], 503)
    found = kept(service)
    assert {name for name, answer in answers.items() if answer.status_code == 200} <= set(found)
    taken(service, *answers)


@pytest.mark.parametrize("service", ["postgresql"], indirect=True)
def test_while_the_database_is_away_it_is_said_to_be(service: Service) -> None:
    name = service.database.partition("?")[0].rpartition("/")[2]
    server = service.database.replace(f"/{name}?", "/postgres?")
    paths = ("/v1/recommendations?anonymous_id=v", "/v1/customers/ann", "/v1/lists/at-risk")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        try:
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            answers = [sent(service, "m"), *(service.ask(path) for path in paths)]
            decided = service.send("/v1/decisions", {"customer_id": "ann"})
            health = httpx.get(service.address + "/health/ready", timeout=20)
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert [refused(answer, 503) for answer in [*answers, decided]] == [True] * 5
    assert health.status_code == 503
    taken(service, "m")
    assert [service.ask(path).status_code for path in paths] == [200] * 3
    until(lambda: httpx.get(service.address + "/health/ready").status_code == 200)
