"""Versions of the offer model on a later campaign that they did not see."""

from datetime import datetime

import ibis
import numpy as np
import pytest

from regulars.errors import DataError, MissingData
from regulars.models.offers import OfferModel
from tests.builders import at, lake_tables
from training.offer_comparison import compare_offers, offers_holdout
from training.offer_policies import EVERYBODY, NOBODY
from training.offers import train_offers


@pytest.fixture(scope="module")
def campaigns(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, ibis.Table], OfferModel]:
    """Two campaigns in which an offer helps the young and harms the old, and a model of the first."""
    rng = np.random.default_rng(3)
    customers, assignments, outcomes = [], [], []
    for number in range(1_600):
        young, made = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
        moment = datetime(2024, 1, 10) if number < 1_000 else datetime(2024, 3, 1)
        name = f"c{number:04}"
        customers.append({"customer_id": name, "attributes": f'{{"young": {int(young)}}}'})
        assignments.append({"assignment_id": name, "customer_id": name, "assigned_at": moment,
                            "offer_id": "ten" if made else None, "propensity": 0.5})  # fmt: skip
        if rng.random() < (0.2 if not made else 0.5 if young else 0.05):
            outcomes.append({"assignment_id": name, "kind": "visited", "occurred_at": moment})
    tables = lake_tables(
        ibis.duckdb.connect(), tmp_path_factory.mktemp("campaigns"), customers=customers, assignments=assignments,
        outcomes=outcomes, offers=[{"offer_id": "ten", "kind": "percent", "cost": 0.0}],
    )  # fmt: skip
    return tables, train_offers(tables, as_of=at("2024-02-20"), outcome="visited").model


def blind(model: OfferModel) -> OfferModel:
    """The same without differences between customers."""
    return OfferModel(**(model.__dict__ | {"slope": 0.0}))


def test_a_version_that_tells_customers_apart_is_shown_to_gain(
    campaigns: tuple[dict[str, ibis.Table], OfferModel],
) -> None:
    tables, model = campaigns
    models = {"1": blind(model), "2": model}
    start, end = offers_holdout(tables, models, horizon_days=28)
    compared = compare_offers(tables, models, champion="1", start=start, end=end)
    rows = compared.table.set_index(["model", "metric"])
    assert rows.loc[("2", "value"), "value"] == pytest.approx(0.35, abs=0.06)
    assert rows.loc[("1", "value"), "value"] == rows.loc[(EVERYBODY, "value"), "value"]
    assert rows.loc[(NOBODY, "value"), "value"] == pytest.approx(0.2, abs=0.05)
    assert rows.loc[("2", "qini"), "low"] > 0
    verdict = compared.verdict("2")
    assert verdict["gain_low"] > 0
    assert verdict["worse"] == []
    assert compared.verdict("1")["gain_low"] == 0
    assert len(compared.curves["2"]["uplift"]) == 21


def test_a_version_that_saw_the_campaign_is_refused(campaigns: tuple[dict[str, ibis.Table], OfferModel]) -> None:
    tables, model = campaigns
    with pytest.raises(DataError, match="lies in the holdout"):
        compare_offers(tables, {"1": model}, champion="1", start=at("2024-02-01"), end=at("2024-04-10"))
    with pytest.raises(MissingData, match="50 assignments with an offer"):
        compare_offers(tables, {"1": model}, champion="1", start=at("2024-03-02"), end=at("2024-04-10"))
