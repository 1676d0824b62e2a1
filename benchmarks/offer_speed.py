"""How fast decisions are: 100,000 customers under a budget, and one request among 100 active offers."""

import json
import random
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from features.sources.files import import_file
from regulars.engine import connect
from regulars.lake import Lake
from regulars.models.offers import ANY_OFFER, Effect, Level, OfferModel, Worth
from regulars.models.responses import Encoder, Linear
from regulars.tables import TABLES
from serving.services.decisions import Question, decide
from serving.services.shelf import load_shelf
from serving.store import open_store
from serving.store.generations import add_rows, begin_generation, current_generation, flip_to
from serving.store.schema import offers as offers_table
from serving.store.schema import profiles
from training.deciding import decide_customers

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
CUSTOMERS, OFFERS, ACTIVE, REQUESTS = 100_000, 10, 100, 2_000
RULE = "price_interest > 0.2 && country in ['DE', 'FR']"


def speed() -> list[dict[str, Any]]:
    """Seconds of a batch, and milliseconds of requests."""
    with tempfile.TemporaryDirectory() as scratch:
        return [_batch(Path(scratch)), _requests(Path(scratch))]


def _batch(folder: Path) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    names = [f"c{number}" for number in range(CUSTOMERS)]
    told = [json.dumps({"price_interest": round(value, 4)}) for value in rng.random(CUSTOMERS)]
    customers = pd.DataFrame({"customer_id": names, "country": rng.choice(["DE", "FR", "GB"], CUSTOMERS)})
    customers = customers.assign(consent_email=True, attributes=told)
    offers = pd.DataFrame(
        {"offer_id": [f"o{k}" for k in range(OFFERS)], "kind": "percent", "cost": 2.0, "budget": 8_000.0}
    )
    offers["eligibility"] = [RULE if k % 2 else None for k in range(OFFERS)]
    lake = Lake(folder / "lake")
    for table, rows in (("customers", customers), ("offers", offers)):
        rows.to_parquet(folder / f"{table}.parquet", index=False)
        import_file(lake, TABLES[table], folder / f"{table}.parquet", mapping={}, timezone="UTC", refused_folder=folder)
    tables, model = lake.tables(connect("duckdb")), _model()
    began = time.perf_counter()
    decided = decide_customers(
        tables, model, as_of=AS_OF, customers=names, explore=False, channel="email", budget=50_000.0
    )
    return {
        "task": f"{CUSTOMERS} customers, {OFFERS} offers, half with rules, {OFFERS + 1} budgets",
        "seconds": time.perf_counter() - began,
        "offers_made": int((decided.rows["offer_id"] != "").sum()),
    }


def _model() -> OfferModel:
    encoder = Encoder({"price_interest": (0.5, 0.4, 0.2)}, {})
    responses = tuple(Linear((0.01 * (k + 1),), 0.0, False) for k in range(OFFERS))
    names = [f"o{k}" for k in range(OFFERS)]
    effects = {name: Effect(((1.0, k),), 0.0) for k, name in enumerate(names)} | {ANY_OFFER: Effect((), 0.0)}
    return OfferModel(
        encoder=encoder, responses=responses, without=Linear((0.0,), -1.0, True), effects=effects,
        levels={name: Level(0.05, 0.01) for name in names}, slope=1.0, terms=Encoder({}, {}),
        new_level=Linear((), 0.05, False), new_se=0.05, costs={}, worth=Worth(60.0, 1.0),
        about={"outcome": "converted", "as_of": AS_OF.isoformat(), "horizon_days": 28, "randomised": True, "personal": True},
    )  # fmt: skip


def _requests(folder: Path) -> dict[str, Any]:
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    generation = begin_generation(store, as_of=AS_OF, about=json.dumps({"policy_version": "offers-1"}))
    numbers = {f"o{k}": [0.05 + k / 1_000, 1.0 + k / 100, 0.5] for k in range(ACTIVE)}
    profile = json.dumps({"offers": numbers, "stage": "active", "facts": {"price_interest": 0.5, "country": "DE"}})
    plain = dict.fromkeys(column.name for column in profiles.columns)
    reach = {f"reachable_{channel}": True for channel in ("email", "sms", "push", "ads")}
    rows = [plain | reach | {"customer_id": f"c{n}", "unsubscribed": "[]", "reasons": "[]", "profile": profile,
                             "country": "DE"} for n in range(REQUESTS)]  # fmt: skip
    for row in rows:
        del row["generation"]
    add_rows(store, profiles, generation, [rows])
    made = [{"offer_id": f"o{k}", "kind": "percent", "cost": 1.0, "budget": 1e9, "max_per_customer": 2,
             "ends_at": "2030-01-01T00:00:00+00:00", **({"eligibility": RULE} if k % 2 else {})}
            for k in range(ACTIVE)]  # fmt: skip
    add_rows(store, offers_table, generation, [[{"offer_id": o["offer_id"], "offer": json.dumps(o)} for o in made]])
    flip_to(store, generation, published_at=AS_OF)
    found = current_generation(store)
    assert found is not None
    shelf, rng = load_shelf(store, found), random.Random(0)
    spent = {}
    for how in ("epsilon", "thompson"):
        taken, used = [], time.process_time()
        for number in range(REQUESTS // 2):
            who = Question(f"c{number + (REQUESTS // 2 if how == 'thompson' else 0)}", None, "home")
            began = time.perf_counter()
            decide(store, shelf, who, at=AS_OF + timedelta(hours=12), now=AS_OF, rng=rng, how=how)
            taken.append(1_000 * (time.perf_counter() - began))
        spent |= {
            f"{how}_p50_ms": float(np.median(taken)),
            f"{how}_p99_ms": float(np.quantile(taken, 0.99)),
            f"{how}_cpu_ms": 1_000 * (time.process_time() - used) / len(taken),
        }
    store.close()
    return {"task": f"new decisions among {ACTIVE} active offers, half with rules, SQLite, synchronous=FULL", **spent}
