"""What offers change, on trials whose true effect is known by construction."""

from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pytest

from features.assignments import customers_at
from regulars.engine import connect
from regulars.errors import MissingData
from regulars.models.offers import OfferModel
from tests.builders import at, lake_tables
from training.offers import OBSERVATIONAL, train_offers

AS_OF = at("2024-06-01")


@pytest.fixture(scope="module")
def duck() -> ibis.BaseBackend:
    return connect("duckdb")


def trial(customers: int, seed: int, *, drawn: bool = True) -> dict[str, list[dict[str, Any]]]:
    """Offer "good" lifts visits from 10 % to 40 % for young customers and lowers them to 2 % for the old."""
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, Any]]] = {"customers": [], "assignments": [], "outcomes": []}
    for number in range(customers):
        young, made = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        chance = 0.1 if not made else 0.4 if young else 0.02
        name = f"c{number:04}"
        rows["customers"].append({"customer_id": name, "attributes": f'{{"young": "{young}"}}'})
        assigned = {"assignment_id": name, "customer_id": name, "assigned_at": datetime(2024, 3, 1)}
        assigned |= {"offer_id": "good" if made else None, "propensity": 0.5 if drawn else None}
        rows["assignments"].append(assigned)
        if rng.random() < chance:
            rows["outcomes"].append({"assignment_id": name, "kind": "visited", "occurred_at": datetime(2024, 3, 5)})
    rows["offers"] = [{"offer_id": "good", "kind": "content", "cost": 0.0}]
    return rows


def test_who_gains_is_told_from_who_loses(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, **trial(4_000, seed=1))
    trained = train_offers(tables, as_of=AS_OF, outcome="visited", seed=0)
    about = trained.model.encoder
    assert "young" in about.categories

    customers = customers_at(tables, as_of=AS_OF)
    found = trained.model.decide(customers, offers=["good"]).set_index("customer_id")["expected_uplift"]
    young = customers["young"] == "True"
    assert found[young].mean() == pytest.approx(0.3, abs=0.05)
    assert found[~young].mean() == pytest.approx(-0.08, abs=0.05)
    assert trained.notes == ()
    row = trained.table.set_index("model").loc["adjusted difference, offer against none"]
    assert row["low"] < 0.11 < row["high"]


def test_assignments_that_were_not_drawn_are_called_observational(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, **trial(400, seed=2, drawn=False))
    assert train_offers(tables, as_of=AS_OF, outcome="visited").notes == (OBSERVATIONAL,)


def test_too_few_assignments_are_told(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, **trial(40, seed=3))
    with pytest.raises(MissingData, match="needs 50 customers"):
        train_offers(tables, as_of=AS_OF, outcome="visited")


def test_outcomes_after_the_moment_are_not_learnt_from(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, **trial(400, seed=4))
    with pytest.raises(MissingData, match="shorter --horizon"):
        train_offers(tables, as_of=at("2024-03-10"), outcome="visited")


def test_a_saved_model_says_the_same(duck: ibis.BaseBackend, tmp_path: Path) -> None:

    tables = lake_tables(duck, tmp_path, **trial(400, seed=5))
    model = train_offers(tables, as_of=AS_OF, outcome="visited").model
    folder = tmp_path / "model"
    folder.mkdir()
    model.save(folder)
    customers = customers_at(tables, as_of=AS_OF)
    again = OfferModel.load(folder).decide(customers, offers=["good", "new"])
    assert again.equals(model.decide(customers, offers=["good", "new"]))
