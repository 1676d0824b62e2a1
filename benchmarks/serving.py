"""Recommendations per second of one worker beside a bare FastAPI endpoint that returns the same body, on the same server.

    python -m benchmarks.serving

Over the shop of the home folder, which must have been published (`make demo ARGS=--no-serve`); the loader is wrk (Debian) with
eight connections, up to three times five seconds each, the run with the median number counts. Customers are asked for the first
time, nobody twice (two seconds each, and a small shop has fewer runs); then the same few again and again, first with another
question each time, then with the same; the share of answers that were ranked in full is what the service itself counts. A server
is asked once it has nothing more to do after its start.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
from sqlalchemy import select

from benchmarks.measure import keep
from regulars.settings import read_settings
from serving.services.keys import create_key, revoke_key
from serving.services.remembered import SECONDS as REMEMBERED_S
from serving.store import open_store
from serving.store.schema import histories

SECONDS, FIRST_SECONDS, TIMES, CONNECTIONS = 5, 2, 3, 8
AGAIN = 300
BARE = """from fastapi import FastAPI
app = FastAPI()
BODY = {body!r}
@app.get("/v1/recommendations")
async def answer(customer_id: str = "", limit: int = 10): return BODY
"""
LOAD = """local names, place, asked = {{{names}}}, {start}, 0
request = function()
  place, asked = place % #names + 1, asked + 1
  return wrk.format("GET", "/v1/recommendations?customer_id=" .. names[place] .. "&limit=10{more}")
end
"""
ANOTHER = '&exclude=x" .. asked .. "'  # a question of its own: nothing is called so
IDLE, IDLE_S, IDLE_WITHIN_S = 0.05, 4.0, 120.0  # share of a processor, over a time in which the registry is looked at


def main() -> None:
    """Measure, print and keep the figures."""
    wrk = shutil.which("wrk")
    if wrk is None:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    settings = read_settings()
    store = open_store(settings.database_url)
    with store.reading() as connection:
        names = sorted(connection.execute(select(histories.c.customer_id).distinct()).scalars())
    if not names:
        sys.exit(f"nothing is published in {settings.home}; run: make demo ARGS=--no-serve")
    made = create_key(store, scope="admin", label="benchmark", now=datetime.now(UTC))
    try:
        rows = _measured(wrk, made.key, names)
    finally:
        revoke_key(store, key_id=made.key_id, now=datetime.now(UTC))
        store.close()
    for row in rows:
        print(row)
    print(f"kept in {keep('serving', command='python -m benchmarks.serving', rows=rows)}")


def _measured(wrk: str, key: str, names: Sequence[str]) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        began = time.monotonic()
        with answering(
            [sys.executable, "-m", "cli.main", "serve", "--workers", "1", "--port"], "/health/ready"
        ) as ours:
            ready = time.monotonic() - began
            until_idle()
            body = httpx.get(
                f"{ours}/v1/recommendations?customer_id={names[0]}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=20,
            ).json()
            first, once = first_asked(wrk, ours, key, names, folder)
            degrees = httpx.get(f"{ours}/health/ready").json()["latest_answers"]
            another = _again(wrk, ours, key, names[:AGAIN], folder, more=ANOTHER)
            again = _again(wrk, ours, key, names[:AGAIN], folder)
        (folder / "bare.py").write_text(BARE.format(body=body))
        server = [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "asgi",
            "--log-level",
            "critical",
            "bare:app",
            "--port",
        ]
        with answering(server, "/v1/recommendations", cwd=folder) as bare:
            until_idle()
            plain = median_of([loaded(wrk, bare, key, names, folder, start=0) for _ in range(TIMES)])
    asked = median_of(first)
    shared = {
        "customers": len(names),
        "products_per_answer": len(body["items"]),
        "loader": f"wrk, {CONNECTIONS} connections",
    }
    return [
        {"task": "bare FastAPI, the same body", **plain.beside(plain), **shared},
        {"task": "asked for the first time", **asked.beside(plain), "degrees": degrees,
         "runs": len(first), "at_most_each_once": once, **shared},
        {"task": f"{AGAIN} customers, another question each time", **another.beside(plain), **shared},
        {"task": f"{AGAIN} customers again and again", **again.beside(plain), **shared},
        {"task": "ready after", "seconds": ready},
    ]  # fmt: skip


@dataclass(frozen=True)
class Load:
    """Answers per second, and the milliseconds within which half of them and 99 % of them came."""

    per_second: float
    ms_50: float
    ms_99: float

    def beside(self, plain: "Load") -> dict[str, float]:
        return {
            "per_second": self.per_second,
            "ratio": self.per_second / plain.per_second,
            "ms_50": self.ms_50,
            "ms_99": self.ms_99,
        }


def first_asked(wrk: str, address: str, key: str, names: Sequence[str], folder: Path) -> tuple[list[Load], bool]:
    """Up to three loads, each of customers behind those that were asked before; and whether nobody was asked twice."""
    found: list[Load] = []
    start = 0
    while len(found) < TIMES:
        load = loaded(wrk, address, key, names, folder, start=start, seconds=FIRST_SECONDS)
        start += round(load.per_second * FIRST_SECONDS) + CONNECTIONS
        if start > len(names):
            return found or [load], bool(found)
        found.append(load)
    return found, True


def _again(wrk: str, address: str, key: str, names: Sequence[str], folder: Path, *, more: str = "") -> Load:
    """Once nothing of them is remembered, and without the first run, in which they are asked for the first time."""
    time.sleep(REMEMBERED_S)
    return median_of([loaded(wrk, address, key, names, folder, start=0, more=more) for _ in range(TIMES + 1)][1:])


def median_of(loads: Sequence[Load]) -> Load:
    """The load with the median number of answers, of two the one with fewer."""
    return sorted(loads, key=lambda load: load.per_second)[(len(loads) - 1) // 2]


def loaded(
    wrk: str,
    address: str,
    key: str,
    names: Sequence[str],
    folder: Path,
    *,
    start: int,
    more: str = "",
    seconds: int = SECONDS,
) -> Load:
    """What wrk says; raises RuntimeError where any answer was an error."""
    script = folder / "load.lua"
    script.write_text(LOAD.format(names=",".join(map(json.dumps, names)), start=start, more=more))
    words = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"]
    words += ["-H", f"Authorization: Bearer {key}", "-s", str(script)]
    told = subprocess.run([*words, address], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    times = dict(re.findall(r"(50|99)%\s+([\d.]+[mu]?s)", told))
    if found is None or len(times) < 2 or "Non-2xx" in told:
        raise RuntimeError(f"the load failed:\n{told}")
    return Load(float(found[1]), _milliseconds(times["50"]), _milliseconds(times["99"]))


def _milliseconds(text: str) -> float:
    for unit, factor in (("us", 0.001), ("ms", 1.0), ("s", 1_000.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    raise ValueError(f"expected a time of wrk, got {text}")


@contextmanager
def answering(words: Sequence[str], path: str, *, cwd: Path | None = None) -> Iterator[str]:
    """The address of a server that ``words`` and a free port start, once ``path`` answers 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [*words, str(port)], cwd=cwd, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                if httpx.get(address + path, timeout=2).status_code == 200:
                    break
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        else:
            raise RuntimeError(f"{' '.join(words)} did not answer")
        yield address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def until_idle() -> None:
    """Wait until the servers that were started have nothing more to do, two minutes at most."""
    deadline, before = time.monotonic() + IDLE_WITHIN_S, _seconds_used()
    while time.monotonic() < deadline:
        time.sleep(IDLE_S)
        now = _seconds_used()
        if now - before < IDLE * IDLE_S:
            return
        before = now


def _seconds_used() -> float:
    used = 0.0
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            used += sum(process.cpu_times()[:2])
    return used


if __name__ == "__main__":
    main()
