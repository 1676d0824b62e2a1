"""How fast batch decisions are: 100,000 customers under a budget. The service's: ``benchmarks.decisions``."""

import json
import tempfile
import time
from datetime import UTC, datetime
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
from training.deciding import decide_customers

AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
CUSTOMERS, OFFERS = 100_000, 10
RULE = "price_interest > 0.2 && country in ['DE', 'FR']"


def speed() -> list[dict[str, Any]]:
    """Seconds of a batch."""
    with tempfile.TemporaryDirectory() as scratch:
        return [_batch(Path(scratch))]


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
