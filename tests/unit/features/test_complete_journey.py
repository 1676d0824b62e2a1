"""The reader of The Complete Journey, on files of its shape that are made here."""

from datetime import UTC, datetime
from pathlib import Path

import ibis
import pandas as pd

from features.sources.complete_journey import import_complete_journey
from regulars.as_of import known_tables
from regulars.intake import Report
from regulars.lake import Lake

LATER = datetime(2030, 1, 1, tzinfo=UTC)


def make_files(folder: Path) -> None:
    def transaction(
        household: str, basket: str, when: str, quantity: int, value: float, coupon: float
    ) -> dict[str, object]:
        return {
            "household_id": household,
            "store_id": "s",
            "basket_id": basket,
            "product_id": "p1",
            "quantity": quantity,
            "sales_value": value,
            "retail_disc": 0.5,
            "coupon_disc": coupon,
            "coupon_match_disc": 0.0,
            "week": 1,
            "transaction_timestamp": pd.Timestamp(when),
        }

    frames = {
        "transactions": [
            transaction("1", "b1", "2017-02-20 10:00", 2, 6.0, 0.0),
            transaction("2", "b2", "2017-02-21 10:00", 1, 3.0, 1.0),
            transaction("2", "b3", "2017-02-22 10:00", 0, 0.0, 0.0),
            transaction("3", "b4", "2016-01-01 10:00", 1, 3.0, 0.0),
        ],
        "products": [
            {
                "product_id": "p1",
                "manufacturer_id": "7",
                "department": "GROCERY",
                "brand": "National",
                "product_category": "SOUP",
                "product_type": "TOMATO SOUP",
                "package_size": "10 OZ",
            }
        ],
        "demographics": [
            {
                "household_id": "1",
                "age": "25-34",
                "income": "50-74K",
                "home_ownership": "Homeowner",
                "marital_status": "Married",
                "household_size": "2",
                "household_comp": "2 Adults No Kids",
                "kids_count": "0",
            }
        ],
        "campaigns": [{"campaign_id": "9", "household_id": "1"}],
        "campaign_descriptions": [
            {
                "campaign_id": "9",
                "campaign_type": "Type A",
                "start_date": pd.Timestamp("2017-03-01"),
                "end_date": pd.Timestamp("2017-04-01"),
            }
        ],
        "coupons": [{"coupon_upc": "c", "product_id": "p1", "campaign_id": "9"}],
        "coupon_redemptions": [
            {
                "household_id": "1",
                "coupon_upc": "c",
                "campaign_id": "9",
                "redemption_date": pd.Timestamp("2017-03-05"),
            }
        ],
    }
    for name, rows in frames.items():
        pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet", index=False)


def bring(folder: Path) -> list[Report]:
    return import_complete_journey(
        Lake(folder / "lake"), refused_folder=folder / "refused", folder=folder / "files", allow_rejects=True
    )


def known(folder: Path) -> dict[str, pd.DataFrame]:
    tables = Lake(folder / "lake").tables(ibis.duckdb.connect())
    return {name: rows.execute() for name, rows in known_tables(tables, as_of=LATER).items()}


def test_every_table_is_brought_and_a_second_time_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    make_files(tmp_path / "files")
    first, second = bring(tmp_path), bring(tmp_path)
    assert {report.table: report.added for report in first} == {
        "orders": 3,
        "products": 1,
        "customers": 3,
        "offers": 1,
        "assignments": 2,
        "outcomes": 1,
    }
    assert first[0].refused == {"quantity: must be above 0": 1}
    assert [report.added for report in second] == [0] * 6


def test_prices_are_as_paid_and_campaigns_are_observational(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    make_files(tmp_path / "files")
    bring(tmp_path)
    tables = known(tmp_path)
    orders = tables["orders"].set_index("order_id")
    assert orders.loc["b1", "unit_price"] == 3.0
    assert orders.loc["b2", "discount"] == 1.5
    assert orders["coupon_id"].notna().to_dict() == {"b1": False, "b2": True, "b4": False}
    assert tables["products"].loc[0, "category"] == "GROCERY > SOUP > TOMATO SOUP"
    offers = tables["offers"].iloc[0]
    assert (offers["kind"], offers["product_ids"], offers["ends_at"]) == (
        "coupon",
        '["p1"]',
        pd.Timestamp("2017-04-02"),
    )
    assigned = tables["assignments"].set_index("customer_id")
    assert sorted(assigned.index) == ["1", "2"]
    assert assigned.loc["1", "offer_id"] == "campaign-9"
    assert pd.isna(assigned.loc["2", "offer_id"])
    assert assigned["propensity"].isna().all()
    assert tables["outcomes"].loc[0, "kind"] == "redeemed"
