"""A small shop as it is published, and a service that answers from it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import ibis
import pandas as pd

from regulars.ids import IdMap
from regulars.models.recommender import Recommender
from serving.services.generation import publish_generation
from serving.store import open_store
from tests.builders import at, lake_tables, tiny_retrieval
from tests.services import Service, running, until

AS_OF = at("2024-06-01")
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
ABOUT = {
    "horizon_days": 28,
    "lookback_days": 365,
    "churn_method": "buy_till_you_die",
    "churn_version": 3,
    "tables": ["orders"],
    "currency": "EUR",
    "risk_medium": 0.3,
    "risk_high": 0.6,
    "policy_version": "offers-2",
    "outcome": "revenue",
    "randomised": False,
}


def publish(database: str, folder: Path, *, probability: float = 0.9) -> None:
    """A generation of three customers: ann at risk and reachable, bob at risk without consent, eve long gone."""
    orders = [
        ("o1", "ann", "tea", "2024-05-01"),
        ("o2", "ann", "tea", "2024-05-21"),
        ("o3", "bob", "axe", "2024-05-30"),
        ("o4", "eve", "cup", "2021-01-01"),
    ]
    tables = lake_tables(
        ibis.duckdb.connect(),
        folder,
        orders=[
            {"order_id": o, "customer_id": c, "product_id": p, "ordered_at": pd.Timestamp(t), "quantity": 1.0,
             "unit_price": 2.5}
            for o, c, p, t in orders
        ],
        customers=[
            {"customer_id": "ann", "email": "ann@example.com", "name": "Ann, the first", "country": "DE",
             "consent_email": True, "consent_ads": True},
            {"customer_id": "bob", "email": "bob@example.com", "consent_email": False},
            {"customer_id": "zoe", "consent_email": True},
        ],
        products=[
            {"product_id": p, "name": p.title(), "price": float(number + 1), "category": "Tea > Things" if number < 3 else "Tools",
             "available": p != "cup", "created_at": pd.Timestamp("2020-01-01")}
            for number, p in enumerate(IDS.to_json())
        ],
        offers=[
            {"offer_id": "ten", "kind": "percent", "name": "Ten off", "value": 10.0},
            {"offer_id": "poor", "kind": "gift"},
            {"offer_id": "old", "kind": "percent", "ends_at": pd.Timestamp("2024-01-01")},
            {"offer_id": "ruled", "kind": "percent", "eligibility": "customer.tier == 'gold'"},
            {"offer_id": "unknown", "kind": "percent"},
        ],
    )  # fmt: skip
    reason = {"code": "rhythm", "feature": "days_since_last_order", "value": 11.0, "effect": 0.3, "text": "Late"}
    scores = pd.DataFrame(
        {
            "customer_id": ["ann", "bob"],
            "churn_probability": [probability, 0.4],
            "churn_low": [0.2, 0.2],
            "churn_high": [0.95, 0.5],
            "risk": ["high", "medium"],
            "reasons": [json.dumps([reason])] * 2,
        }
    )
    values = pd.DataFrame(
        [("ann", "ten", 3.0, 2.0), ("ann", "poor", 0.5, -1.0), ("ann", "old", 9.0, 9.0), ("ann", "ruled", 9.0, 9.0)],
        columns=["customer_id", "offer_id", "expected_uplift", "expected_value"],
    )
    store = open_store(database)
    publish_generation(
        store, tables=tables, scores=scores, offer_values=values, as_of=AS_OF, about=ABOUT, now=datetime.now(UTC)
    )
    store.close()


@contextmanager
def ready(home: Path, database: str | None = None, *, workers: int = 1) -> Iterator[Service]:
    """A service that has a generation and a champion, once it is ready; over SQLite in ``home`` where no database is named."""
    database = database or f"sqlite:///{home}/store.db"
    (home / "rows").mkdir()
    publish(database, home / "rows")
    bring_champion(home, 1)
    with running(home, database, workers=workers) as made:
        until(lambda: httpx.get(made.address + "/health/ready").status_code == 200)
        yield made


def bring_champion(home: Path, version: int) -> None:
    """A champion where the registry's watcher would put it."""
    folder = make(home / "champions" / "recommender" / str(version))
    Recommender(tiny_retrieval(IDS), None, about={}).save(folder)
    written = folder.parent / "current.new"
    written.write_text(json.dumps({"version": version, "as_of": AS_OF.isoformat()}))
    written.replace(folder.parent / "current.json")


def make(folder: Path) -> Path:
    """``folder``, made."""
    folder.mkdir(parents=True)
    return folder


def products(answer: httpx.Response) -> list[str]:
    """The products of an answer, in order."""
    assert answer.status_code == 200, answer.text
    return [item["product_id"] for item in answer.json()["items"]]
