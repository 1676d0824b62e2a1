"""The simulated shop, of which the truth is known."""

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from features.sources.simulated import import_simulated, parameter_sets, write_simulated
from regulars.errors import DataError
from regulars.lake import Lake


def made(folder: Path, *, customers: int = 300, seed: int = 1, name: str = "groceries") -> dict[str, pd.DataFrame]:
    write_simulated(folder, customers=customers, seed=seed, name=name)
    return {table.name: pd.concat(map(pd.read_parquet, sorted(table.iterdir()))) for table in sorted(folder.iterdir())}


def test_the_same_arguments_make_the_same_shop_and_others_another(tmp_path: Path) -> None:
    first, again, other = (made(tmp_path / name, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    for table, rows in first.items():
        pd.testing.assert_frame_equal(rows, again[table])
    assert not first["orders"].equals(other["orders"])


@pytest.mark.parametrize("name", sorted(parameter_sets()))
def test_every_row_is_taken_and_the_truth_stays_out_of_the_lake(tmp_path: Path, name: str) -> None:
    lake = Lake(tmp_path / "lake")
    truth = tmp_path / "truth.parquet"
    reports = import_simulated(
        lake, customers=200, seed=3, name=name, refused_folder=tmp_path / "refused", truth_file=truth
    )
    assert all(not report.refused and report.added == report.read for report in reports)
    tables = {table: rows.execute() for table, rows in lake.tables(ibis.duckdb.connect()).items()}
    assert set(tables) == {report.table for report in reports} >= {"orders", "products", "messages", "tickets"}
    assert ("events" in tables) == (name != "mail_order")
    told = pd.read_parquet(truth)
    assert len(told) == 200
    assert not {"left_at", "leave_per_order"} & {column for rows in tables.values() for column in rows.columns}
    orders = tables["orders"]
    assert set(orders["product_id"]) <= set(tables["products"]["product_id"])
    assert orders.duplicated(["order_id", "line_id"]).sum() == 0
    assert (orders["unit_price"] >= 0).all()
    assert tables["customers"]["name"].str.startswith("Simulated").all()


def test_who_left_never_orders_again_and_who_did_not_is_not_marked(tmp_path: Path) -> None:
    rows = made(tmp_path, customers=400)
    truth = rows["truth"].set_index("customer_id")
    last = rows["orders"].groupby("customer_id")["ordered_at"].max()
    left = truth["left_at"].dropna()
    assert 50 < len(left) < 350
    assert (last[left.index] <= left + pd.Timedelta(milliseconds=1)).all()


def test_rhythm_and_incidents_have_the_effect_they_were_given(tmp_path: Path) -> None:
    rows = made(tmp_path, customers=1_500, name="fashion")
    truth = rows["truth"].set_index("customer_id")
    times = rows["orders"].drop_duplicates("order_id").sort_values("ordered_at")
    gaps = times.groupby("customer_id")["ordered_at"].apply(lambda at: at.diff().dt.total_seconds().mean() / 86_400)
    counts = times.groupby("customer_id").size()
    known = gaps[counts >= 8]
    assert np.corrcoef(np.log(known), np.log(truth.loc[known.index, "gap_days"]))[0, 1] > 0.7
    per_order = truth["incidents"] / counts.reindex(truth.index)
    gone = truth["left_at"].notna()
    assert per_order[gone].mean() > 1.5 * per_order[~gone].mean()


def test_wrong_arguments_are_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="groceries"):
        write_simulated(tmp_path, customers=1, seed=0, name="moon")
    with pytest.raises(DataError, match="at least one"):
        write_simulated(tmp_path, customers=0, seed=0)
