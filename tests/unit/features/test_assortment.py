"""In a large lake some customers are asked what is bought again: the same ones whatever came later and however it is read."""

from pathlib import Path

import pandas as pd
import pytest

from features.build import read_customer_features
from features.customers.assortment import FEATURES
from features.sources.files import import_file
from regulars.engine import connect
from regulars.lake import Lake
from regulars.tables import TABLES
from tests.builders import at, shop_orders

AS_OF = at("2024-03-01")


def features_of(folder: Path, orders: pd.DataFrame, *, one_in: int = 1) -> pd.DataFrame:
    """The features of customers whom ``of_some_customers`` keeps, from a lake of ``orders``."""
    folder.mkdir()
    orders.to_parquet(folder / "orders.parquet", index=False)
    lake = Lake(folder / "lake")
    import_file(
        lake,
        TABLES["orders"],
        folder / "orders.parquet",
        mapping={},
        timezone="UTC",
        refused_folder=folder / "refused",
    )
    tables = lake.tables(connect("duckdb")).of_some_customers(one_in=one_in)
    return read_customer_features(tables, as_of=AS_OF).set_index("customer_id").sort_index()


@pytest.fixture(scope="module")
def orders() -> pd.DataFrame:
    return shop_orders(customers=300, days=800, end=at("2025-06-01"), seed=3)


def test_later_rows_change_nobody_who_is_asked(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    past = orders[orders["ordered_at"] < AS_OF.replace(tzinfo=None)]
    assert len(orders) > 2 * len(past)
    whole = features_of(tmp_path / "whole", past)
    monkeypatch.setattr("features.customers.assortment.MOST_LINES", len(past) // 3)
    found, cut = features_of(tmp_path / "found", orders), features_of(tmp_path / "cut", past)
    pd.testing.assert_frame_equal(found, cut, check_exact=True)
    assert not found[list(FEATURES)].equals(whole[list(FEATURES)])  # some customers were asked


def test_whoever_is_read_the_same_customers_are_asked(
    orders: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("features.customers.assortment.MOST_LINES", len(orders) // 6)
    all_, some = features_of(tmp_path / "all", orders), features_of(tmp_path / "some", orders, one_in=2)
    assert 0 < len(some) < len(all_)
    pd.testing.assert_frame_equal(some, all_.loc[some.index], check_exact=True)
