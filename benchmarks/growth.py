"""First answers against how many customers there are and how much each of them did.

    python -m benchmarks.growth [--customers 10000,100000,1000000] [--lengths 200,500,5000,50000]

A made shop of 10,000 products (``benchmarks/shops.py``, 2,000 customers with histories of 200 purchases) is trained and published.
Its histories are then copied under other names until the store, SQLite, holds as many as ``--customers`` says, and customers drawn
by chance are asked for the first time, nobody twice: answers a second of one worker with its ranker (wrk, eight connections, with
a time budget in which all are ranked in full), the middle of three loads of two seconds. Then, inside the process and in one
thread, what a weighing takes for histories of ``--lengths``, of which the newest 500 count.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import text

from benchmarks.measure import keep
from benchmarks.serving import answering, first_asked, median_of, until_idle
from benchmarks.shops import AS_OF, MadeShop, made_shop
from benchmarks.storefront import PATIENT, UNLIMITED
from regulars.models.asking import Context
from regulars.models.history import DAY_S, History
from regulars.models.recommender import Recommender
from regulars.models.threads import one_thread
from serving.services.keys import create_key
from serving.store import open_store
from serving.store.generations import current_generation

PRODUCTS, CUSTOMERS, DRAWN, WEIGHED = 10_000, 2_000, 12_000, 200
COPIED_AT_ONCE = 25
COPY = "{:04}-"  # before a customer's id, so that a copy's rows lie together, behind those of the copies before
COPIES = text("insert into histories (generation, customer_id, body) "
              "select generation, :copy || customer_id, body from histories "
              "where generation = :generation and customer_id >= 'c' order by customer_id")  # fmt: skip
Row = dict[str, Any]


def main() -> None:
    """Measure, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", default="10000,100000,1000000")
    parser.add_argument("--lengths", default="200,500,5000,50000")
    asked = parser.parse_args()
    wrk = shutil.which("wrk")
    if wrk is None:
        sys.exit("wrk is missing (Debian: apt-get install wrk)")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        shop = made_shop(Path(scratch) / "home", products=PRODUCTS, customers=CUSTOMERS)
        os.environ.update(shop.env | UNLIMITED | PATIENT)
        of_customers = (_with_customers(shop, wrk, int(count)) for count in asked.customers.split(","))
        for row in chain(of_customers, _with_lengths(shop, [int(length) for length in asked.lengths.split(",")])):
            rows.append(row)
            print(json.dumps(row), flush=True)
    said = f"python -m benchmarks.growth --customers {asked.customers} --lengths {asked.lengths}"
    print(f"kept in {keep('growth', command=said, rows=rows)}")


def _with_customers(shop: MadeShop, wrk: str, count: int) -> Row:
    """First answers a second where the store holds the histories of ``count`` customers."""
    copies = count // CUSTOMERS
    store = open_store(f"sqlite:///{shop.home}/store.db")
    published = current_generation(store)
    assert published is not None
    with store.reading() as connection:
        held = connection.execute(text("select count(*) from histories")).scalar_one() // CUSTOMERS
    for first in range(held, copies, COPIED_AT_ONCE):
        with store.writing() as connection:
            for copy in range(first, min(first + COPIED_AT_ONCE, copies)):
                connection.execute(COPIES, {"copy": COPY.format(copy), "generation": published.generation})
    key = create_key(store, scope="admin", label="benchmark", now=datetime.now(UTC)).key
    store.close()
    os.sync()  # gigabytes that wait for the disk would slow down what is measured
    drawn = np.random.default_rng(count).choice(count, size=min(DRAWN, count), replace=False)
    names = [(COPY.format(at // CUSTOMERS) if at >= CUSTOMERS else "") + shop.customers[at % CUSTOMERS] for at in drawn]
    words = [sys.executable, "-m", "cli.main", "serve", "--workers", "1", "--port"]
    with answering(words, "/health/ready") as address:
        until_idle()
        found, once = first_asked(wrk, address, key, names, shop.home)
        degrees = httpx.get(f"{address}/health/ready").json()["latest_answers"]
    middle = median_of(found)
    return {
        "task": "asked for the first time",
        "customers": count,
        "per_second": middle.per_second,
        "ms_50": middle.ms_50,
        "runs": len(found),
        "at_most_each_once": once,
        "degrees": degrees,
    }


def _with_lengths(shop: MadeShop, lengths: list[int]) -> Iterator[Row]:
    """Milliseconds in the middle that a weighing takes, by how many interactions each history has; all lengths in turns."""
    model = Recommender.load(shop.home / "champions" / "recommender" / "1")
    moment = int(datetime.fromisoformat(f"{AS_OF}T00:00:00+00:00").timestamp())
    rng, ids, context = np.random.default_rng(0), model.retrieval.ids, Context(moment)
    took: dict[int, list[float]] = {length: [] for length in lengths}

    def made(length: int) -> History:
        rows = (len(ids) ** rng.random(length)).astype(int) - 1
        at = np.sort(rng.integers(moment - 300 * DAY_S, moment, length))
        return History(ids.ids(rows), at, ("purchase",) * length)

    # all of them first, since making one empties the caches
    histories = [(length, made(length)) for _ in range(WEIGHED) for length in lengths]
    with one_thread():
        for length, history in histories:
            began = time.perf_counter()
            model.weigh(history, context)
            took[length].append(1_000 * (time.perf_counter() - began))
    for length, times in took.items():
        yield {"task": "weighing", "interactions": length, "ms_50": statistics.median(times[20:])}


if __name__ == "__main__":
    main()
