"""What offers change, on trials whose true effect is known by construction."""

from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
import pytest

from features.assignments import customers_at
from regulars.engine import connect
from regulars.errors import MissingData
from regulars.models.offers import OfferModel
from regulars.models.responses import encoder_for
from tests.builders import at, lake_tables
from training.deciding import decide_customers
from training.levels import pooled_levels
from training.offer_policies import EVERYBODY, GAIN, OBSERVATIONAL, OURS, OVER_SENT, PERSONAL, RANDOM, SENT, SIZE
from training.offers import train_offers

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
    tables = lake_tables(duck, tmp_path, **trial(1_600, seed=1))
    trained = train_offers(tables, as_of=AS_OF, outcome="visited", seed=0)
    about = trained.model.encoder
    assert "young" in about.categories

    customers = customers_at(tables, as_of=AS_OF)
    found = trained.model.decide(customers, offers=["good"]).set_index("customer_id")["expected_uplift"]
    young = customers["young"] == "True"
    assert found[young].mean() == pytest.approx(0.3, abs=0.05)
    assert found[~young].mean() == pytest.approx(-0.08, abs=0.05)
    assert trained.notes == ()
    assert trained.model.personal
    assert trained.model.levels["good"].mean == pytest.approx(0.11, abs=0.04)
    sizes = trained.table["metric"] == SIZE
    values = trained.table[~sizes].set_index("model")["value"]
    assert values[GAIN] == pytest.approx(values[PERSONAL] - values[EVERYBODY])
    assert values[OVER_SENT] == pytest.approx(values[OURS] - values[SENT])
    assert values[PERSONAL] == values[OURS]
    assert trained.table[sizes]["value"].between(1, 1_600).all()
    assert values[OURS] > values[EVERYBODY] + 0.02
    assert values[OURS] > values[RANDOM] + 0.02
    row = trained.table.set_index("model").loc["adjusted difference, offer against none"]
    assert row["low"] < 0.11 < row["high"]


def test_assignments_that_were_not_drawn_are_called_observational(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, **trial(400, seed=2, drawn=False))
    notes = train_offers(tables, as_of=AS_OF, outcome="visited").notes
    assert notes[0] == OBSERVATIONAL
    assert notes[1].startswith("Overlap: 0%")


def test_too_few_assignments_are_told(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, **trial(12, seed=3))
    with pytest.raises(MissingData, match="needs 10 customers"):
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


def test_where_customers_do_not_differ_the_best_offer_is_made_to_all(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    rows = trial(1_200, seed=6)
    rows["outcomes"] = [
        {"assignment_id": row["assignment_id"], "kind": "visited", "occurred_at": datetime(2024, 3, 5)}
        for row in rows["assignments"] if rng.random() < (0.4 if row["offer_id"] else 0.2)
    ]  # fmt: skip
    tables = lake_tables(duck, tmp_path, **rows)
    trained = train_offers(tables, as_of=AS_OF, outcome="visited")
    assert not trained.model.personal
    assert "best one for everybody" in trained.notes[0]
    made = decide_customers(
        tables, trained.model, as_of=AS_OF, customers=[f"c{n:04}" for n in range(1_200)], explore=False
    )
    assert (made.rows["offer_id"] == "good").all()


def test_with_few_assignments_rates_say_how_sure_they_are(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    rows = trial(80, seed=8)
    for row in rows["customers"]:
        row["attributes"] = row["attributes"].replace("young", "segment")
    tables = lake_tables(duck, tmp_path, **rows)
    trained = train_offers(tables, as_of=AS_OF, outcome="visited")
    assert "response rates" in trained.notes[0]
    rates = trained.table.set_index("model")
    assert list(rates.index) == ["no offer, False", "no offer, True", "good, False", "good, True"]
    assert (rates["high"] - rates["low"] > 0.1).all()
    assert rates.loc["good, True", "value"] > rates.loc["good, False", "value"]
    customers = customers_at(tables, as_of=AS_OF)
    found = trained.model.decide(customers, offers=["good"]).set_index("customer_id")["expected_uplift"]
    assert set(found.round(6)) == {
        round(rates.loc[f"good, {who}", "value"] - rates.loc[f"no offer, {who}", "value"], 6) for who in (True, False)
    }


def test_an_offer_never_made_is_expected_to_do_what_offers_alike_did() -> None:
    kinds = pd.DataFrame({"kind": ["gift", "gift", "percent", "percent"]})
    encoder = encoder_for(kinds)
    effects, errors = np.array([0.3, 0.32, 0.1, 0.09]), np.full(4, 0.01)
    pooled = pooled_levels(effects, errors, encoder.design(kinds))
    new = pooled.new_level.predict(encoder.design(pd.DataFrame({"kind": ["gift", "percent", "other"]})))
    assert new[0] > new[2] + 0.04 > new[1] + 0.08
    assert pooled.new_se > pooled.levels[0].se
    assert pooled.levels[0].mean == pytest.approx(0.3, abs=0.01)
