"""Recommendations per second of one worker beside a bare FastAPI endpoint that returns the same body, on the same server.

    python -m benchmarks.serving

Over the shop of the home folder, which must have been published (`make demo ARGS=--no-serve`); the loader is wrk (Debian) with
eight connections, three times five seconds each, the median counts. Customers are asked for the first time, each once, and
then the same few again and again; the share of answers that were ranked in full is what the service itself counts.
"""

import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from sqlalchemy import select

from benchmarks.measure import keep
from regulars.settings import read_settings
from serving.services.keys import create_key, revoke_key
from serving.store import open_store
from serving.store.schema import histories

SECONDS, TIMES, CONNECTIONS = 5, 3, 8
AGAIN = 300
BARE = """from fastapi import FastAPI
app = FastAPI()
BODY = {body!r}
@app.get("/v1/recommendations")
async def answer(customer_id: str = "", limit: int = 10): return BODY
"""
LOAD = """local names, place = {{{names}}}, {start}
request = function()
  place = place % #names + 1
  return wrk.format("GET", "/v1/recommendations?customer_id=" .. names[place] .. "&limit=10")
end
"""


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
            body = httpx.get(
                f"{ours}/v1/recommendations?customer_id={names[0]}",
                headers={"Authorization": f"Bearer {key}"},
                timeout=20,
            ).json()
            each = len(names) // TIMES
            first = [_load(wrk, ours, key, names, folder, start=each * number) for number in range(TIMES)]
            degrees = httpx.get(f"{ours}/health/ready").json()["latest_answers"]
            again = [_load(wrk, ours, key, names[:AGAIN], folder, start=0) for _ in range(TIMES + 1)][1:]
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
            plain = statistics.median(_load(wrk, bare, key, names, folder, start=0) for _ in range(TIMES))
    asked = statistics.median(first)
    shared = {
        "customers": len(names),
        "products_per_answer": len(body["items"]),
        "loader": f"wrk, {CONNECTIONS} connections",
    }
    return [
        {"task": "bare FastAPI, the same body", "per_second": plain, "ratio": 1.0, **shared},
        {"task": "asked for the first time", "per_second": asked, "ratio": asked / plain, "degrees": degrees,
         "at_most_each_once": asked * SECONDS <= each, **shared},
        {"task": f"{AGAIN} customers again and again", "per_second": statistics.median(again),
         "ratio": statistics.median(again) / plain, **shared},
        {"task": "ready after", "seconds": ready},
    ]  # fmt: skip


def _load(wrk: str, address: str, key: str, names: Sequence[str], folder: Path, *, start: int) -> float:
    """Requests per second; raises RuntimeError where any answer was an error."""
    script = folder / "load.lua"
    script.write_text(LOAD.format(names=",".join(map(json.dumps, names)), start=start))
    words = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "-H", f"Authorization: Bearer {key}", "-s", str(script)]
    told = subprocess.run([*words, address], capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", told)
    if found is None or "Non-2xx" in told:
        raise RuntimeError(f"the load failed:\n{told}")
    return float(found[1])


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


if __name__ == "__main__":
    main()
