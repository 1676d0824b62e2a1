"""Importing files: types, mappings, refused rows by rule, and what fails as a whole."""

from datetime import UTC, datetime
from pathlib import Path

import ibis
import pandas as pd
import pytest

from features.sources.files import import_file
from regulars.as_of import known_tables
from regulars.errors import ImportRefused
from regulars.intake import Report
from regulars.lake import Lake
from regulars.tables import TABLES

LATER = datetime(2030, 1, 1, tzinfo=UTC)


def bring(folder: Path, table: str, file: Path, *, allow_rejects: bool = False, **mapping: str) -> Report:
    return import_file(
        Lake(folder / "lake"),
        TABLES[table],
        file,
        mapping=mapping,
        timezone="Europe/Berlin",
        refused_folder=folder / "refused",
        allow_rejects=allow_rejects,
    )


def rows_of(folder: Path, table: str) -> pd.DataFrame:
    tables = Lake(folder / "lake").tables(ibis.duckdb.connect())
    return known_tables(tables, as_of=LATER)[table].execute()


def test_columns_are_mapped_and_times_taken_in_the_shops_zone(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("nr,who,sku,when,n,price\n007, a ,p,2024-07-01 02:00,1,2.5\n008,a,p,2024-07-01T02:00:00Z,1,2.5\n")
    names = {
        "order_id": "nr",
        "customer_id": "who",
        "product_id": "sku",
        "ordered_at": "when",
        "quantity": "n",
    }
    assert bring(tmp_path, "orders", file, unit_price="price", **names).added == 2
    found = rows_of(tmp_path, "orders").sort_values("order_id")
    assert found["order_id"].tolist() == ["007", "008"]
    assert found["customer_id"].tolist() == ["a", "a"]
    assert found["ordered_at"].tolist() == [
        pd.Timestamp("2024-07-01 00:00"),
        pd.Timestamp("2024-07-01 02:00"),
    ]


@pytest.mark.parametrize("unit", ["us", "ns"])
def test_zoned_times_of_parquet_are_taken_as_they_are(tmp_path: Path, unit: str) -> None:
    file = tmp_path / "events.parquet"
    times = pd.to_datetime(["2024-07-01T02:00:00+02:00"]).as_unit(unit)
    pd.DataFrame({"event_id": ["e"], "occurred_at": times, "name": ["x"], "anonymous_id": ["a"]}).to_parquet(file)
    assert bring(tmp_path, "events", file).added == 1
    assert rows_of(tmp_path, "events")["occurred_at"].tolist() == [pd.Timestamp("2024-07-01 00:00")]


def test_whole_numbers_that_came_as_floats_lose_their_point(tmp_path: Path) -> None:
    file = tmp_path / "orders.parquet"
    pd.DataFrame(
        {
            "order_id": [1.0, 2.0],
            "customer_id": [17850.0, None],
            "product_id": ["p", "p"],
            "ordered_at": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "quantity": [1, 2],
            "unit_price": [1.0, 1.0],
        }
    ).to_parquet(file)
    bring(tmp_path, "orders", file)
    found = rows_of(tmp_path, "orders").sort_values("order_id")
    assert found["order_id"].tolist() == ["1", "2"]
    assert found["customer_id"].iloc[0] == "17850"
    assert pd.isna(found["customer_id"].iloc[1])


BAD = "order_id,product_id,ordered_at,quantity,unit_price\n" + "".join(
    f"{number},p,2024-01-01,{quantity},{price}\n"
    for number, (quantity, price) in enumerate([(1, 1), (0, 1), (-1, 1), ("two", 1), (1, -5), (1, ""), (1, 2)])
)


def test_many_refused_rows_stop_the_import_and_nothing_is_taken(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(BAD)
    with pytest.raises(ImportRefused, match="quantity: must be above 0"):
        bring(tmp_path, "orders", file)
    assert Lake(tmp_path / "lake").manifest().files == {}


def test_refused_rows_are_counted_by_rule_and_written(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(BAD)
    report = bring(tmp_path, "orders", file, allow_rejects=True)
    assert report.added == 2
    assert report.refused == {
        "quantity: must be above 0": 2,
        "quantity: not a readable number": 1,
        "unit_price: missing": 1,
        "unit_price: must be 0 or more": 1,
    }
    assert report.refused_file is not None
    written = pd.read_csv(report.refused_file)
    assert len(written) == 5
    assert "two" in set(written["quantity"].astype(str))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("order_id,product_id\n1,p\n")
    with pytest.raises(ImportRefused, match=r"ordered_at.*--map"):
        bring(tmp_path, "orders", file)


def test_a_mapping_to_nothing_is_named(tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text("order_id,product_id\n1,p\n")
    with pytest.raises(ImportRefused, match="'nowhere'"):
        bring(tmp_path, "orders", file, ordered_at="nowhere")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match=r"none\.csv"):
        bring(tmp_path, "orders", tmp_path / "none.csv")


def test_every_table_takes_a_row(tmp_path: Path) -> None:
    rows = {
        "returns": "order_id,product_id,returned_at,quantity,reason\n1,p,2024-01-01,1,fit\n",
        "deliveries": "order_id,promised_at,delivered_at\n1,2024-01-01,2024-01-03\n",
        "products": 'product_id,name,price,available,attributes\np,Tea,2.5,no,"{""a"": 1}"\n',
        "customers": "customer_id,email,consent_email,birth_date\na,a@example.com,yes,1990-02-03\n",
        "consents": "customer_id,channel,purpose,at,given\na,email,news,2024-01-01,false\n",
        "events": "occurred_at,name,anonymous_id,product_id\n2024-01-01,Product Viewed,v,p\n",
        "tickets": "ticket_id,customer_id,opened_at,satisfaction\nt,a,2024-01-01,0.5\n",
        "messages": "message_id,customer_id,channel,sent_at\nm,a,email,2024-01-01\n",
        "surveys": "customer_id,answered_at,score\na,2024-01-01,9\n",
        "loyalty": "customer_id,at,reason,points\na,2024-01-01,order,10\n",
        "subscriptions": "subscription_id,customer_id,started_at\ns,a,2024-01-01\n",
        "offers": "offer_id,kind,max_per_customer\no,coupon,1\n",
        "assignments": "assignment_id,customer_id,assigned_at,propensity\nx,a,2024-01-01,0.5\n",
        "impressions": "recommendation_id,placement,product_id,shown_at,rank\nr,home,p,2024-01-01,1\n",
        "outcomes": "assignment_id,kind,occurred_at,revenue\nx,converted,2024-01-02,5\n",
    }
    for table, text in rows.items():
        file = tmp_path / f"{table}.csv"
        file.write_text(text)
        assert bring(tmp_path, table, file).added == 1, table
    assert set(rows) | {"orders", "event_orders", "charges"} == set(TABLES)
