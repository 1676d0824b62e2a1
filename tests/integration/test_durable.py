"""Accepted means on disk, decided means kills cannot undo it: the calls to the operating system, and kills."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from benchmarks.decisions import publish_offers
from serving.store import open_store
from serving.store.decisions import offers_made
from tests.browser import missing
from tests.integration.test_events import fresh_database, statuses, track
from tests.services import ROOT, running, start, until

SYNCED = re.compile(r"(?:fsync|fdatasync)\(\d+<[^>]*(?:store\.db-wal|pg_wal/[^>]*)>\)")
SYNCING = re.compile(r"^(\d+) +(?:fsync|fdatasync)\(\d+<[^>]*(?:store\.db-wal|pg_wal/[^>]*)> <unfinished")
RESUMED = re.compile(r"^(\d+) +<\.\.\. (?:fsync|fdatasync) resumed>")
ANSWERED = re.compile(r"(writev|sendto|sendmsg|write)\(.*HTTP/1\.1 200 OK.*accepted")


def database_processes(database: str) -> list[int]:
    """The processes of the PostgreSQL server that keeps ``database``."""
    store = open_store(database)
    with store.reading() as connection:
        folder = Path(connection.exec_driver_sql("show data_directory").scalar_one())
    store.close()
    server = psutil.Process(int((folder / "postmaster.pid").read_text().split()[0]))
    return [server.pid, *(child.pid for child in server.children(recursive=True))]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_event_is_on_disk_before_it_is_said_to_be_accepted(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    strace = shutil.which("strace")
    if strace is None:
        missing("strace (Debian: apt-get install strace)")
    database = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else fresh_database(request)
    with running(tmp_path, database, workers=1) as service:
        event = track("X", anonymousId="v")
        service.send("/v1/track", event, scope="events")  # so that every connection is there
        traced = [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if service.address.rpartition(":")[2] in (process.info["cmdline"] or ())
        ]
        if kind == "postgresql":
            traced += database_processes(database)
        trace = tmp_path / "trace"
        words = [
            strace,
            "-f",
            "-y",
            "-s",
            "400",
            "-e",
            "trace=fsync,fdatasync,write,writev,sendto,sendmsg",
            "-o",
            str(trace),
        ]
        tracing = subprocess.Popen(
            [*words, *(word for pid in traced for word in ("-p", str(pid)))], stderr=subprocess.DEVNULL
        )
        try:

            def seen() -> bool:
                if tracing.poll() is not None:
                    missing("the right to trace processes")
                assert statuses(service.send("/v1/track", event, scope="events")) == ["accepted"]
                return len(ANSWERED.findall(trace.read_text() if trace.exists() else "")) >= 4

            until(seen)
        finally:
            tracing.send_signal(signal.SIGINT)
            tracing.wait(30)
    synced = 0
    answers = []
    syncing = set()  # processes in a call that another's call interrupted in the trace
    for line in trace.read_text().splitlines():
        if begun := SYNCING.search(line):
            syncing.add(begun[1])
        elif SYNCED.search(line):
            synced += 1
        elif (resumed := RESUMED.search(line)) and resumed[1] in syncing:
            syncing.discard(resumed[1])
            synced += 1
        elif ANSWERED.search(line):
            answers.append(synced)
            synced = 0
    assert all(before >= 1 for before in answers[1:]), answers  # the first may have been under way when tracing began
    assert len(answers) >= 4


DECIDING = """
import os, sys
from datetime import UTC, datetime, timedelta
from serving.store import open_store
from serving.store.decisions import DecisionRow, OutcomeRow, add_outcome, hold

store, now = open_store(sys.argv[1]), datetime(2024, 6, 1, tzinfo=UTC)

def decide(name):
    assert hold(store, DecisionRow(name, name, "home", "", "ten", "{}", now, now + timedelta(days=1), 0.9))

decide("first")  # begins the log
store.sync()
os.write(1, b"begun")
decide("second")
decide("third")
os.write(1, b"decided")
store.sync()
os.write(1, b"synced")
decide("fourth")
assert add_outcome(store, OutcomeRow("fourth", "redeemed", now, None, now))
os.write(1, b"reported")
"""


def test_a_decision_waits_for_no_disk_and_is_there_before_what_followed_it_is_reported(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None:
        missing("strace (Debian: apt-get install strace)")
    trace = tmp_path / "trace"
    words = [strace, "-f", "-y", "-e", "trace=fsync,fdatasync,write", "-o", str(trace), sys.executable, "-c", DECIDING]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*words, f"sqlite:///{tmp_path}/store.db"], env=env, cwd=tmp_path, capture_output=True, check=False
    )
    if b"ptrace" in done.stderr:
        missing("the right to trace processes")
    assert done.returncode == 0, done.stderr.decode()
    between = re.split(r'write\(1<[^>]*>, "(?:begun|decided|synced|reported)"', trace.read_text())
    synced = [len(SYNCED.findall(part)) for part in between]
    assert len(synced) == 5
    assert synced[1] == 0
    assert min(synced[2], synced[3]) >= 1


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_kill_right_after_the_answer_undoes_no_decision(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    database = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else fresh_database(request)
    store = open_store(database)
    publish_offers(store, active=3, customers=20)
    service, server = start(tmp_path, database, workers=1, held_out=0)
    told = {name: service.send("/v1/decisions", {"customer_id": f"c{name}"}).json() for name in range(20)}
    os.killpg(server.pid, signal.SIGKILL)
    server.wait()
    with running(tmp_path, database, workers=1, keys=service.keys, held_out=0) as service:
        again = {name: service.send("/v1/decisions", {"customer_id": f"c{name}"}).json() for name in told}
    assert again == told
    made = Counter(answer["offer"]["offer_id"] for answer in told.values() if answer["offer"])
    assert offers_made(store) == made
    assert made.total() > len(told) / 2
    store.close()


def test_a_worker_that_does_not_end_holds_up_no_stop_and_loses_nothing(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    service, server = start(tmp_path, database, workers=1)
    try:
        batch = [track("X", anonymousId="v", messageId=f"m{number}") for number in range(20)]
        assert statuses(service.send("/v1/batch", {"batch": batch})) == ["accepted"] * 20
        (worker,) = [
            child
            for child in psutil.Process(server.pid).children()
            if "cli.main" in child.cmdline() and child.name() != "champions"
        ]
        worker.suspend()
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in (0, -signal.SIGTERM)
        assert not worker.is_running()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
    with running(tmp_path, database, workers=1, keys=service.keys) as service:
        assert statuses(service.send("/v1/batch", {"batch": batch})) == ["duplicate"] * 20
