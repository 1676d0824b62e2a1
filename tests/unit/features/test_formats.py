"""A file of rows in whatever form it comes."""

from pathlib import Path

import ibis
import pandas as pd
import pytest

from features.sources.files import import_file
from regulars.errors import ImportRefused
from regulars.intake import Report
from regulars.lake import Lake
from regulars.tables import TABLES

ROWS = [("007", "ann", "Käse", "2024-03-01 10:00", "1", "4.5"), ("8", "", "tea", "2024-03-02 10:00", "2", "3")]
FIELDS = ["order_id", "customer_id", "product_id", "ordered_at", "quantity", "unit_price"]


def taken(tmp_path: Path, file: Path, *, timezone: str = "UTC") -> tuple[Report, pd.DataFrame]:
    lake = Lake(tmp_path / "lake")
    report = import_file(
        lake, TABLES["orders"], file, mapping={}, timezone=timezone, refused_folder=tmp_path / "refused"
    )
    return report, lake.tables(ibis.duckdb.connect())["orders"].execute().sort_values("ordered_at")


def text(separator: str) -> str:
    return "\n".join(separator.join(row) for row in [FIELDS, *ROWS]) + "\n"


@pytest.mark.parametrize(
    ("name", "content", "how"),
    [
        ("a.csv", text(",").encode(), "utf-8, separated by commas"),
        ("a.csv", text(",").encode("utf-8-sig"), "utf-8, separated by commas"),
        ("a.csv", text(";").encode("windows-1252"), "windows-1252, separated by semicolons"),
        ("a.csv", text("|").encode("utf-16"), "utf-16, separated by bars"),
        ("a.tsv", text("\t").encode(), "utf-8, separated by tabs"),
    ],
)
def test_encoding_and_separator_are_found_out_and_said(tmp_path: Path, name: str, content: bytes, how: str) -> None:
    (tmp_path / name).write_bytes(content)
    report, rows = taken(tmp_path, tmp_path / name)
    assert report.how == how
    assert rows["product_id"].tolist() == ["Käse", "tea"]
    assert rows["order_id"].tolist() == ["007", "8"]


def test_ndjson(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=FIELDS)
    frame.to_json(tmp_path / "a.ndjson", orient="records", lines=True)
    _, rows = taken(tmp_path, tmp_path / "a.ndjson")
    assert rows["order_id"].tolist() == ["007", "8"]
    assert rows["quantity"].tolist() == [1, 2]


def test_xlsx_with_numbers_and_times_of_its_own(tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS, columns=FIELDS).assign(
        order_id=[1001, 1002],
        ordered_at=lambda f: pd.to_datetime(f["ordered_at"]),
        quantity=[1, 2],
        unit_price=[4.5, 3],
    )
    with pd.ExcelWriter(tmp_path / "a.xlsx") as book:
        frame.to_excel(book, sheet_name="orders", index=False)
        pd.DataFrame({"note": ["x"]}).to_excel(book, sheet_name="about", index=False)
    report, rows = taken(tmp_path, tmp_path / "a.xlsx")
    assert rows["order_id"].tolist() == ["1001", "1002"]
    assert rows["ordered_at"].iloc[0] == pd.Timestamp("2024-03-01 10:00")
    assert "left out, other columns: about" in report.how


def test_times_without_a_zone_are_in_the_zone_given(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(","))
    _, rows = taken(tmp_path, tmp_path / "a.csv", timezone="Europe/Berlin")
    assert rows["ordered_at"].iloc[0] == pd.Timestamp("2024-03-01 09:00")


def test_lines_within_quotes(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(",").replace("Käse", '"Käse,\nalt"'))
    _, rows = taken(tmp_path, tmp_path / "a.csv")
    assert rows["product_id"].tolist()[0] == "Käse,\nalt"


def test_a_refused_row_is_shown_with_line_column_and_value(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text(",").replace(",2,3", ",two,3"))
    with pytest.raises(ImportRefused, match=r"quantity: not a readable number, first row 2, column quantity: 'two'"):
        taken(tmp_path, tmp_path / "a.csv")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "empty"),
        ("a.pdf", b"x", "expected one of"),
        ("a.xlsx", b"no book", "cannot be read"),
        ("a.ndjson", b"{broken", "cannot be read"),
        ("a.parquet", b"PAR1", "cannot be read"),
    ],
)
def test_a_broken_file_is_one_clear_error(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImportRefused, match=said) as caught:
        taken(tmp_path, tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)
