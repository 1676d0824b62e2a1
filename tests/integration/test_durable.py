"""Accepted means on disk: the calls to the operating system, in order, while events are taken."""

import re
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from serving.store import open_store
from tests.browser import missing
from tests.integration.test_events import fresh_database, statuses, track
from tests.services import running, until

SYNCED = re.compile(r"(fsync|fdatasync)\(\d+<[^>]*(store\.db-wal|pg_wal/[^>]*)>\)")
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
    for line in trace.read_text().splitlines():
        if SYNCED.search(line):
            synced += 1
        elif ANSWERED.search(line):
            answers.append(synced)
            synced = 0
    assert all(before >= 1 for before in answers[1:]), answers  # the first may have been under way when tracing began
    assert len(answers) >= 4
