"""A forgotten customer leaves no byte under the home folder."""

import json
from pathlib import Path

import pandas as pd
import pytest

from tests.builders import at, shop_orders
from tests.shops import Shop

WHO = "quite-a-special-name"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "home")
    shop.home.mkdir()
    orders = shop_orders(customers=60, days=300, end=at("2024-06-01"), seed=7).replace({"customer_id": {"c3": WHO}})
    odd = orders.head(2).assign(customer_id=WHO, quantity=-1.0, order_id="odd")
    pd.concat([orders, odd]).to_parquet(tmp_path / "orders.parquet", index=False)
    pd.DataFrame({"customer_id": [WHO, "c1"], "email": ["x@example.com", None], "referred_by": [None, WHO]}).to_csv(
        tmp_path / "customers.csv", index=False
    )
    shop.run("import", "orders", tmp_path / "orders.parquet")
    shop.run("import", "customers", tmp_path / "customers.csv")
    shop.run("train", "churn", "--as-of", "2024-06-01")
    shop.train_recommender("--as-of", "2024-06-01")
    shop.run("score", "--as-of", "2024-06-01", "--out", tmp_path / "scores.parquet")
    shop.run("publish")
    shop.run("publish")
    return shop


def holding(folder: Path) -> set[str]:
    """The files under ``folder`` in which the bytes of the name stand, compressed Parquet read."""
    found = set()
    for file in folder.rglob("*"):
        if file.is_file() and WHO.encode() in file.read_bytes():
            found.add(file.relative_to(folder).parts[0])
        if file.suffix == ".parquet" and WHO in pd.read_parquet(file).to_csv():
            found.add(file.relative_to(folder).parts[0])
    return found


def test_nothing_remains_and_the_receipt_names_each_place(shop: Shop) -> None:
    assert holding(shop.home) == {"lake", "store.db", "refused"} | (holding(shop.home) & {"store.db-wal"})
    held = json.loads(shop.run("export-customer", WHO).stdout)
    assert {"lake/orders", "lake/customers", "store/profiles", "store/histories"} <= set(held["rows"])
    receipt = shop.json("forget", WHO)
    assert {"lake/orders", "lake/customers", "lake/scores", "store/profiles", "store/histories", "refused rows"} <= set(
        receipt["rows_removed"]
    )
    assert receipt["rows_removed"]["store/profiles"] == 2
    assert receipt["remains_elsewhere"]
    assert holding(shop.home) == set()
    assert not shop.json("forget", WHO)["found"]
    assert "nothing is held" in shop.run("export-customer", WHO, expect=1).stderr
    shop.run("publish")
    assert "c1" in shop.run("list", "at-risk", "--risk", "low", "--risk", "high", "--risk", "medium").stdout
    assert holding(shop.home) == set()
