"""A simulated shop in which incidents drive customers away: the model sees it, and the reasons say it."""

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from features.build import read_customer_features
from features.sources.simulated import write_simulated
from regulars.models.churn import ChurnModel
from tests.builders import at, lake_tables
from training.churn import train_churn
from training.metrics import auc

AS_OF = at("2023-10-01")
SMALL = {"members": 2, "trees": 120, "most_snapshots": 3, "folds": 1}
READ = ("orders", "deliveries", "tickets")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("made")
    write_simulated(folder / "fashion", customers=1_200, seed=7, name="fashion")
    return {name: pd.concat(map(pd.read_parquet, sorted((folder / "fashion" / name).iterdir()))) for name in READ}


@pytest.fixture(scope="module")
def shop(made: dict[str, pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> dict[str, ibis.Table]:
    rows = {name: made[name].to_dict("records") for name in ("orders", "deliveries")}
    return lake_tables(ibis.duckdb.connect(), tmp_path_factory.mktemp("fashion"), **rows)


@pytest.fixture(scope="module")
def model(shop: dict[str, ibis.Table]) -> ChurnModel:
    return train_churn(shop, as_of=AS_OF, horizon_days=60, params=SMALL).model


@pytest.fixture(scope="module")
def features(shop: dict[str, ibis.Table]) -> pd.DataFrame:
    rows = read_customer_features(shop, as_of=AS_OF).sort_values("customer_id").set_index("customer_id")
    return rows[rows["days_since_last_order"] <= 365]


def test_reasons_find_late_parcels(model: ChurnModel, features: pd.DataFrame) -> None:
    recent = features[features["days_since_last_order"].between(14, 120)]
    late = (recent["days_late_last_parcel"] >= 1).to_numpy()
    found = [{reason.code: reason for reason in reasons} for reasons in model.reasons(recent, most=9)]
    effect = np.array([reasons["delivery"].effect if "delivery" in reasons else 0.0 for reasons in found])
    assert late.sum() > 20
    assert effect[late].mean() > 0.02 > effect[~late].mean()
    texts = {reasons["delivery"].text for reasons, was in zip(found, late, strict=True) if was}
    assert all(text.startswith("Last parcel 4 days late") for text in texts), texts


def test_who_got_a_late_parcel_is_known_to_leave(
    model: ChurnModel, features: pd.DataFrame, shop: dict[str, ibis.Table]
) -> None:
    """Beside a model that knows only the orders."""
    lines = shop["orders"].select("customer_id", "ordered_at").execute()
    later = lines[lines["ordered_at"].between(pd.Timestamp("2023-10-01"), pd.Timestamp("2023-11-30"))]
    gone = (~features.index.isin(later["customer_id"])).astype(float)
    blind = train_churn({"orders": shop["orders"]}, as_of=AS_OF, horizon_days=60, params=SMALL).model
    seen, unseen = (one.predict(features)["churn_probability"].to_numpy() for one in (model, blind))
    assert auc(gone, seen) > auc(gone, unseen)


def faults(made: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The same incidents that drive customers away, told by what they sent back instead of by a late parcel."""
    parcels, orders = made["deliveries"], made["orders"].drop_duplicates("order_id").set_index("order_id")
    late = parcels[parcels["delivered_at"] > parcels["promised_at"]]
    about = orders.loc[late["order_id"], ["customer_id", "product_id"]].reset_index()
    return about.assign(
        return_id="fault-" + about["order_id"],
        returned_at=late["delivered_at"].to_numpy(),
        quantity=1.0,
        reason="quality",
    )


@pytest.mark.parametrize(
    ("table", "code", "count", "said"),
    [("tickets", "complaints", "count_tickets_since_order", "complaint"),
     ("returns", "returns", "count_returns_since_order", "Sent back")],
)  # fmt: skip
def test_reasons_find_what_customers_complained_of_or_sent_back(
    made: dict[str, pd.DataFrame], tmp_path: Path, table: str, code: str, count: str, said: str
) -> None:
    """Nothing but the orders and one table that tells of the incidents: its reason raises the risk of whom it befell."""
    told = {"orders": made["orders"], table: made["tickets"] if table == "tickets" else faults(made)}
    tables = lake_tables(
        ibis.duckdb.connect(), tmp_path, **{name: rows.to_dict("records") for name, rows in told.items()}
    )
    model = train_churn(tables, as_of=AS_OF, horizon_days=60, params=SMALL).model
    rows = read_customer_features(tables, as_of=AS_OF).sort_values("customer_id").set_index("customer_id")
    recent = rows[rows["days_since_last_order"].between(14, 120)]
    befell = (recent[count] >= 1).to_numpy()
    found = [{reason.code: reason for reason in reasons} for reasons in model.reasons(recent, most=9)]
    effect = np.array([reasons[code].effect if code in reasons else 0.0 for reasons in found])
    assert befell.sum() > 20
    assert effect[befell].mean() > 0.02 > effect[~befell].mean()
    texts = [reasons[code].text for reasons, was in zip(found, befell, strict=True) if was and code in reasons]
    assert texts
    assert all(said in text for text in texts), texts
