"""Readers of published data sets and of other programs' exports, on small files of their form."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest

from features.sources.ga4 import import_ga4
from features.sources.online_retail import import_online_retail
from features.sources.retail_rocket import import_retail_rocket
from features.sources.shopify import import_shopify
from regulars.as_of import known_tables
from regulars.errors import ImportRefused
from regulars.intake import Report
from regulars.lake import Lake
from tests.builders import at


def read(
    tmp_path: Path, reader: Callable[..., list[Report]], file: Path
) -> tuple[dict[str, pd.DataFrame], dict[str, Report]]:
    """The lake's tables after reading ``file``, and the reports by table."""
    lake = Lake(tmp_path / "lake")
    reports = reader(lake, file, timezone="UTC", refused_folder=tmp_path / "refused")
    tables = {name: table.execute() for name, table in lake.tables(ibis.duckdb.connect()).items()}
    return tables, {report.table: report for report in reports}


ONLINE_RETAIL = [
    ("489434", "85048", "GLASS BALL", 12, "2009-12-01 07:45", 6.95, 13085, "United Kingdom"),
    ("489434", "85048", "GLASS BALL", 12, "2009-12-01 07:45", 6.95, 13085, "United Kingdom"),
    ("489435", "85123a", "HEART", 1, "2009-12-01 08:00", 2.55, None, "United Kingdom"),
    ("489436", "POST", "POSTAGE", 1, "2009-12-01 08:10", 18.0, 12345, "France"),
    ("489436", "85048", "GLASS BALLS", 2, "2009-12-01 08:10", 6.95, 12345, "France"),
    ("C489449", "85048", "GLASS BALL", -3, "2009-12-02 09:00", 6.95, 13085, "United Kingdom"),
    ("C489450", "85048", "GLASS BALL", -3, "2009-12-02 09:00", 6.95, None, "United Kingdom"),
    ("489451", "85123a", "damaged", -40, "2009-12-02 09:10", 0.0, None, "United Kingdom"),
    ("A506401", "B", "Adjust bad debt", 1, "2009-12-02 09:10", -53594.36, None, "United Kingdom"),
    ("489452", "gift_0001_30", "Voucher", 1, "2009-12-02 09:20", 30.0, None, "United Kingdom"),
    ("489453", "TEST001", "This is a test product.", 5, "2009-12-02 09:20", 4.5, 12346, "United Kingdom"),
    ("489454", "S", "SAMPLES", -1, "2009-12-02 09:20", 5.0, None, "United Kingdom"),
]
KEYS = {"products": "product_id", "customers": "customer_id"}
COLUMNS = ["Invoice", "StockCode", "Description", "Quantity", "InvoiceDate", "Price", "Customer ID", "Country"]


def online_retail(file: Path) -> Path:
    frame = pd.DataFrame(ONLINE_RETAIL, columns=COLUMNS)
    frame["InvoiceDate"] = pd.to_datetime(frame["InvoiceDate"])
    if file.suffix == ".parquet":
        frame.to_parquet(file)
    elif file.suffix == ".csv":
        frame.to_csv(file, index=False)
    else:
        with pd.ExcelWriter(file) as book:
            frame.iloc[:6].to_excel(book, sheet_name="Year 2009-2010", index=False)
            frame.iloc[6:].to_excel(book, sheet_name="Year 2010-2011", index=False)
    return file


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".xlsx"])
def test_online_retail_in_every_form_it_is_passed_on_in(tmp_path: Path, ending: str) -> None:
    tables, reports = read(tmp_path, import_online_retail, online_retail(tmp_path / f"retail{ending}"))
    orders = tables["orders"].sort_values("import_order")
    assert orders["product_id"].tolist() == ["85048", "85048", "85123a", "85048"]
    assert [None if pd.isna(c) else c for c in orders["customer_id"]] == ["13085", "13085", None, "12345"]
    assert orders["line_id"].tolist()[:2] == ["85048#1", "85048#2"]
    assert orders["unit_price"].tolist() == [6.95, 6.95, 2.55, 6.95]
    returned = tables["returns"].iloc[0]
    assert (returned["customer_id"], returned["product_id"], returned["quantity"]) == ("13085", "85048", 3)
    assert (returned["amount"], returned["reason"]) == (pytest.approx(20.85), "cancelled")
    assert set(tables["products"]["product_id"]) == {"85048", "85123a"}
    assert tables["customers"].set_index("customer_id")["country"].to_dict() == {
        "13085": "United Kingdom",
        "12345": "France",
    }
    assert sum(reports["charges"].set_aside.values()) == 7
    assert any(rule.startswith("postage") for rule in reports["charges"].set_aside)
    assert all(not report.refused for report in reports.values())


def test_what_online_retail_calls_a_product_or_customer_later_is_not_known_before(tmp_path: Path) -> None:
    later = [
        ("489460", "85048", "GLASS BALL LIGHTS", 12, "2010-01-05 10:00", 6.95, 13085, "Eire"),
        ("489461", "85048", "GLASS BALL LIGHTS", 12, "2010-01-06 10:00", 6.95, 13085, "Eire"),
        ("489462", "85048", "GLASS BALL LIGHTS", 12, "2010-01-07 10:00", 6.95, 13085, "Eire"),
    ]
    early = online_retail(tmp_path / "early.parquet")
    rows = pd.concat([pd.read_parquet(early), pd.DataFrame(later, columns=COLUMNS)])
    rows.assign(InvoiceDate=pd.to_datetime(rows["InvoiceDate"])).to_parquet(tmp_path / "all.parquet")
    found = []
    for name in ("early", "all"):
        lake = Lake(tmp_path / f"lake-{name}")
        file = tmp_path / f"{name}.parquet"
        import_online_retail(lake, file, timezone="UTC", refused_folder=tmp_path)
        known = known_tables(lake.tables(ibis.duckdb.connect()), as_of=at("2010-01-01"))
        found.append(
            [known[table].execute().sort_values(key).astype(str).to_dict("list") for table, key in KEYS.items()]
        )
    assert found[0] == found[1]
    assert found[0][0]["name"][0] != "GLASS BALL LIGHTS"


def test_what_is_no_online_retail_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ImportRefused, match="Invoice, StockCode"):
        read(tmp_path, import_online_retail, tmp_path / "x.csv")


SHOPIFY_ORDERS = (
    "Name,Email,Financial Status,Paid at,Fulfilled at,Currency,Subtotal,Shipping,Taxes,Total,Discount Code,Discount Amount,"
    "Created at,Lineitem quantity,Lineitem name,Lineitem price,Lineitem sku,Lineitem discount,Cancelled at,Source\n"
    "#1001,Ann@Example.com,paid,2024-05-01 10:00:00 +0200,,EUR,27.00,4.90,4.31,31.90,SPRING,3.00,"
    "2024-05-01 10:00:00 +0200,2,Tea - Green,10.00,TEA-G,0.00,,web\n"
    "#1001,,,,,,,,,,,,,1,Cup,10.00,,0.00,,\n"
    '#1002,bob@example.com,refunded,,,EUR,5.00,0.00,0,5.00,,0.00,2024-05-02 09:00:00 +0200,1,"Cup",5.00,,0.00,'
    "2024-05-03 08:00:00 +0200,web\n"
    "#1003,,paid,,,EUR,25.00,0.00,0,25.00,,0.00,2024-05-04 09:00:00 +0200,1,Gift card,25.00,,0.00,,pos\n"
)


def test_shopify_orders_fill_an_orders_header_and_spread_its_discount(tmp_path: Path) -> None:
    (tmp_path / "orders_export.csv").write_text(SHOPIFY_ORDERS)
    tables, reports = read(tmp_path, import_shopify, tmp_path / "orders_export.csv")
    orders = tables["orders"].sort_values("import_order").to_dict("records")
    assert [row["product_id"] for row in orders] == ["TEA-G", "Cup", "Cup"]
    assert [row["customer_id"] for row in orders] == ["ann@example.com", "ann@example.com", "bob@example.com"]
    assert {row["ordered_at"] for row in orders[:2]} == {pd.Timestamp("2024-05-01 08:00")}
    assert [row["unit_price"] for row in orders] == pytest.approx([9.0, 9.0, 5.0])  # 3.00 off 30.00
    assert orders[0]["coupon_id"] == "SPRING"
    returned = tables["returns"].to_dict("records")
    assert [(r["order_id"], r["reason"], r["amount"]) for r in returned] == [("#1002", "cancelled", 5.0)]
    assert returned[0]["returned_at"] == pd.Timestamp("2024-05-03 06:00")
    assert tables["charges"]["product_id"].tolist() == ["shipping", "Gift card"]
    assert len(reports["charges"].set_aside) == 2


def test_shopify_orders_in_two_currencies_are_refused(tmp_path: Path) -> None:
    (tmp_path / "orders_export.csv").write_text(SHOPIFY_ORDERS.replace("refunded,,,EUR", "refunded,,,USD"))
    with pytest.raises(ImportRefused, match="EUR, USD"):
        read(tmp_path, import_shopify, tmp_path / "orders_export.csv")


def test_shopify_customers_and_products(tmp_path: Path) -> None:
    customers = tmp_path / "customers_export.csv"
    customers.write_text(
        "Customer ID,First Name,Last Name,Email,Accepts Email Marketing,Default Address Country Code,Accepts SMS Marketing,Tags\n"
        "'7001,Ann,Lee,Ann@Example.com,yes,DE,no,vip\n"
    )
    ann = read(tmp_path, import_shopify, customers)[0]["customers"].iloc[0]
    assert (ann["customer_id"], ann["name"], ann["country"]) == ("ann@example.com", "Ann Lee", "DE")
    assert (ann["consent_email"], ann["consent_sms"]) == (True, False)
    assert json.loads(ann["attributes"]) == {"shopify_id": "7001", "tags": "vip"}
    products = tmp_path / "products_export.csv"
    products.write_text(
        "Handle,Title,Body (HTML),Vendor,Type,Option1 Value,Variant SKU,Variant Price,Variant Inventory Qty,"
        "Variant Inventory Policy,Image Src,Status\n"
        'tea,Tea,"<p>green,\nor black</p>",Leaf,Drinks,Green,TEA-G,10.00,0,deny,https://cdn.example/tea.jpg,active\n'
        "tea,,,,,Black,TEA-B,9.00,0,continue,,\n"
        "cup,Cup,,Clay,Pottery,Default Title,,10.00,5,deny,,active\n"
    )
    rows = read(tmp_path, import_shopify, products)[0]["products"].sort_values("import_order").to_dict("records")
    assert [(r["product_id"], r["name"], r["available"], r["parent_id"]) for r in rows] == [
        ("TEA-G", "Tea - Green", False, "tea"),
        ("TEA-B", "Tea - Black", True, "tea"),
        ("Cup", "Cup", True, "cup"),
    ]
    assert rows[1]["brand"] == "Leaf"
    assert rows[1]["image_url"] == "https://cdn.example/tea.jpg"


def ga4_rows() -> list[dict[str, Any]]:
    def parameters(**given: Any) -> list[dict[str, Any]]:
        return [
            {"key": key, "value": {"string_value": value if isinstance(value, str) else None,
                                   "int_value": None if isinstance(value, str) else value}}
            for key, value in given.items()
        ]  # fmt: skip

    tea = {"item_id": "TEA", "item_name": "Tea", "item_brand": "Leaf", "item_category": "Drinks", "item_category2": "Tea",
           "price": 4.5, "quantity": 2}  # fmt: skip
    cup = {"item_id": "CUP", "item_name": "Cup", "item_brand": "", "item_category": "Pottery", "item_category2": "",
           "price": 8.0, "quantity": None}  # fmt: skip
    start = 1_714_550_400_000_000
    return [
        {"event_timestamp": start, "event_name": "view_item", "user_pseudo_id": "v1", "user_id": None,
         "event_params": parameters(ga_session_id=17), "items": [tea], "ecommerce": None},
        {"event_timestamp": start + 1, "event_name": "view_search_results", "user_pseudo_id": "v1", "user_id": None,
         "event_params": parameters(ga_session_id=17, search_term="green"), "items": [], "ecommerce": None},
        {"event_timestamp": start + 2, "event_name": "purchase", "user_pseudo_id": "v1", "user_id": "ann",
         "event_params": parameters(ga_session_id=17), "items": [tea, cup], "ecommerce": {"transaction_id": "T1"}},
    ]  # fmt: skip


@pytest.mark.parametrize("ending", [".ndjson", ".parquet"])
def test_ga4_export(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"events{ending}"
    if ending == ".ndjson":
        file.write_text("".join(json.dumps(row) + "\n" for row in ga4_rows()))
    else:
        pd.DataFrame(ga4_rows()).to_parquet(file)
    tables, _ = read(tmp_path, import_ga4, file)
    events = tables["events"].sort_values("occurred_at").to_dict("records")
    assert [(e["name"], e["anonymous_id"], e["session_id"]) for e in events] == [
        ("view_item", "v1", "v1-17"),
        ("view_search_results", "v1", "v1-17"),
    ]
    assert (events[0]["product_id"], events[0]["category"], events[0]["price"]) == ("TEA", "Drinks > Tea", 4.5)
    assert events[1]["query"] == "green"
    orders = tables["orders"].sort_values("line_id").to_dict("records")
    assert [(o["order_id"], o["product_id"], o["quantity"], o["customer_id"]) for o in orders] == [
        ("T1", "TEA", 2.0, "ann"),
        ("T1", "CUP", 1.0, "ann"),
    ]
    assert orders[0]["ordered_at"] == pd.Timestamp("2024-05-01 08:00:00.000002")


def test_retail_rocket(tmp_path: Path) -> None:
    folder = tmp_path / "rocket"
    folder.mkdir()
    (folder / "events.csv").write_text(
        "timestamp,visitorid,event,itemid,transactionid\n"
        "1433221332117,257597,view,355908,\n1433221999827,257597,addtocart,355908,\n1433222276276,257597,transaction,355908,4000\n"
    )
    (folder / "item_properties_part1.csv").write_text(
        "timestamp,itemid,property,value\n1435460400000,355908,categoryid,1338\n1435460400000,355908,available,0\n"
    )
    (folder / "item_properties_part2.csv").write_text(
        "timestamp,itemid,property,value\n1436460400000,355908,available,1\n"
    )
    (folder / "category_tree.csv").write_text("categoryid,parentid\n1338,213\n213,\n")
    tables, _ = read(tmp_path, import_retail_rocket, folder)
    assert tables["events"].sort_values("occurred_at")["name"].tolist() == ["Product Viewed", "Product Added"]
    assert tables["orders"][["order_id", "customer_id", "product_id"]].values.tolist() == [["4000", "257597", "355908"]]
    assert tables["orders"]["ordered_at"].iloc[0] == pd.Timestamp("2015-06-02 05:17:56.276")
    versions = tables["products"].sort_values("received_at")
    assert versions["category"].tolist() == ["213 > 1338"] * 2
    assert versions["available"].tolist() == [False, True]
