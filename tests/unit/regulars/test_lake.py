"""The lake: what is imported can be read, twice is once, and a kill leaves the old or the new state."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import ibis
import pandas as pd
import pytest

from features.build import customer_features, read_customer_features
from features.sources.files import import_file
from regulars.as_of import known_tables
from regulars.engine import connect
from regulars.errors import LakeError
from regulars.intake import Report
from regulars.lake import Lake
from regulars.tables import TABLES
from tests.builders import at

HEADER = "order_id,customer_id,product_id,ordered_at,quantity,unit_price,received_at\n"


def bring(folder: Path, rows: str, *, name: str = "orders.csv", header: str = HEADER) -> Report:
    file = folder / name
    file.write_text(header + rows)
    return import_file(
        Lake(folder / "lake"),
        TABLES["orders"],
        file,
        mapping={},
        timezone="UTC",
        refused_folder=folder / "refused",
    )


def orders_at(folder: Path, as_of: datetime) -> pd.DataFrame:
    tables = Lake(folder / "lake").tables(ibis.duckdb.connect())
    return known_tables(tables, as_of=as_of)["orders"].execute().sort_values(["order_id", "line_id"], ignore_index=True)


def test_an_empty_lake_has_no_tables(tmp_path: Path) -> None:
    assert Lake(tmp_path / "lake").tables(ibis.duckdb.connect()) == {}


def test_rows_are_kept_by_month_of_their_own_time(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-31 23:59:59,1,2,\n2,a,p,2024-02-01,1,2,\n")
    months = [file.month for file in Lake(tmp_path / "lake").manifest().files["orders"]]
    assert months == ["2024-01", "2024-02"]


def test_importing_twice_is_importing_once(tmp_path: Path) -> None:
    rows = "1,a,p,2024-01-01,1,2,\n1,a,p,2024-01-01,1,2,\n1,a,q,2024-01-01,1,2,\n"
    first, second = bring(tmp_path, rows), bring(tmp_path, rows)
    assert (first.added, second.added, second.identical) == (3, 0, 3)
    assert list(orders_at(tmp_path, datetime(2025, 1, 1, tzinfo=UTC))["line_id"]) == ["p#1", "p#2", "q#1"]


def test_a_file_with_one_new_row_adds_one(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    assert bring(tmp_path, "1,a,p,2024-01-01,1,2,\n2,a,p,2024-01-02,1,2,\n").added == 1


def test_the_version_received_last_before_the_moment_counts(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    bring(tmp_path, "1,a,p,2024-01-01,5,2,2024-03-01\n")
    assert orders_at(tmp_path, datetime(2024, 2, 1, tzinfo=UTC))["quantity"].tolist() == [1.0]
    assert orders_at(tmp_path, datetime(2024, 4, 1, tzinfo=UTC))["quantity"].tolist() == [5.0]


def test_of_versions_received_together_the_one_imported_last_counts(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    bring(tmp_path, "1,a,p,2024-01-01,7,2,\n")
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    assert orders_at(tmp_path, datetime(2024, 4, 1, tzinfo=UTC))["quantity"].tolist() == [7.0]


def test_two_tables_of_one_batch_become_visible_together(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    before = Lake(tmp_path / "lake").manifest().content_hash()
    bring(tmp_path, "2,a,p,2024-01-01,1,2,\n")
    assert Lake(tmp_path / "lake").manifest().content_hash() != before


def test_a_broken_manifest_is_named(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    (tmp_path / "lake" / "manifest.json").write_text("{")
    with pytest.raises(LakeError, match="manifest"):
        Lake(tmp_path / "lake").manifest()


def test_scores_of_an_earlier_moment_do_not_replace_later_ones(tmp_path: Path) -> None:
    lake = Lake(tmp_path)
    early, late = datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 2, 1, tzinfo=UTC)
    lake.keep_scores(pd.DataFrame({"customer_id": ["late"]}), model="churn", version=1, as_of=late)
    lake.keep_scores(pd.DataFrame({"customer_id": ["early"]}), model="churn", version=1, as_of=early)
    kept = lake.scores(model="churn", version=1)
    assert kept is not None
    assert (kept[0]["customer_id"].tolist(), kept[1]) == (["late"], late)


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from features.build import customer_features, read_customer_features
from features.sources.files import import_file
from regulars.lake import Lake
from regulars.tables import TABLES

root = Path(sys.argv[1])
steps = ("open", "os.rename", "os.remove", "os.mkdir", "os.fsync", "shutil.rmtree")

def bring(folder, last):
    seen = 0
    def count(event, args):
        nonlocal seen
        if event in steps and args and str(folder) in str(args[0]):
            seen += 1
            if seen == last:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)
    import_file(Lake(folder / "lake"), TABLES["orders"], root / "second.csv", mapping={}, timezone="UTC",
                refused_folder=folder / "refused")
    os._exit(0)

step, ended = 0, 1
while ended != 0:
    step += 1
    folder = root / f"killed-{step}"
    shutil.copytree(root / "lake", folder / "lake")
    child = os.fork()
    if child == 0:
        bring(folder, step)
    ended = os.waitpid(child, 0)[1]
    assert ended in (0, signal.SIGKILL), ended
print(step)
"""


def test_a_kill_at_any_step_leaves_the_old_or_the_new_state(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    (tmp_path / "second.csv").write_text(HEADER + "2,a,p,2024-01-02,1,2,\n3,a,p,2024-03-01,1,2,\n")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    found = []
    for step in range(1, int(done.stdout) + 1):
        folder = tmp_path / f"killed-{step}"
        found.append(list(orders_at(folder, datetime(2025, 1, 1, tzinfo=UTC))["order_id"]))
    assert all(ids in (["1"], ["1", "2", "3"]) for ids in found)
    assert found[0] == ["1"]
    assert found[-1] == ["1", "2", "3"]
    assert len(found) > 10


def test_the_next_writer_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    bring(tmp_path, "1,a,p,2024-01-01,1,2,\n")
    left = tmp_path / "lake" / "orders" / "2024-01" / "000009.parquet"
    left.write_bytes(b"half a file")
    bring(tmp_path, "2,a,p,2024-01-02,1,2,\n")
    assert not left.exists()
    assert len(orders_at(tmp_path, datetime(2025, 1, 1, tzinfo=UTC))) == 2


def test_a_large_import_is_kept_and_read_by_slices_of_customers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("regulars.slices.ROWS_PER_SLICE", 30)
    days = pd.date_range("2024-01-01", periods=400, freq="6h")
    rows = "".join(f"{n // 3},c{n // 3 % 25},p{n % 7},{day},1,2,\n" for n, day in enumerate(days))
    bring(tmp_path, rows + ",".join(["900", "", "p", "2024-01-01", "1", "2", ""]) + "\n")
    lake = Lake(tmp_path / "lake")
    files = lake.manifest().files["orders"]
    assert {file.month for file in files} == {"all"}
    slices = {file.slice for file in files}
    assert slices <= {"all", *(f"{number}of8" for number in range(8))}
    assert len(slices) > 5
    assert sum(file.rows for file in files if file.slice == "all") == 1
    bring(tmp_path, "901,c3,p,2024-05-01,1,2,\n902,new,p,2024-05-01,1,2,\n")
    as_of = datetime(2024, 6, 1, tzinfo=UTC)
    tables = lake.tables(connect("duckdb"))
    sliced = read_customer_features(tables, as_of=as_of).sort_values("customer_id", ignore_index=True)
    whole = customer_features(tables, as_of=as_of).execute().sort_values("customer_id", ignore_index=True)
    pd.testing.assert_frame_equal(sliced, whole)
    assert len(whole) == 26
    assert whole.loc[whole["customer_id"] == "c3", "count_orders"].item() == 7.0


def test_a_row_of_a_large_import_is_known_when_it_comes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regulars.slices.ROWS_PER_SLICE", 2)
    rows = [f"{n},c{n},p,2024-0{1 + n % 5}-01,1,2,\n" for n in range(30)]
    bring(tmp_path, "".join(rows))
    assert bring(tmp_path, rows[7]).identical == 1
    assert Lake(tmp_path / "lake").forget("c7") == {"orders": 1}
    assert len(orders_at(tmp_path, datetime(2025, 1, 1, tzinfo=UTC))) == 29


@pytest.mark.parametrize("with_keys", [False, True])
def test_an_import_in_many_passes_is_the_same_as_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_keys: bool
) -> None:
    header = "line_id," + HEADER if with_keys else HEADER
    lines = [f"{n // 3},c{n % 25},p{n % 2},2024-0{1 + n % 5}-01,1,{n % 4},\n" for n in range(200)]
    lines = [f"l{n}," * with_keys + line for n, line in enumerate(lines)]
    first = "".join([*lines, *lines[40:60], "x," * with_keys + "900,c1,p,2024-01-01,none,1,\n"])
    corrected = "l17," * with_keys + "5,c3,p1,2024-03-01,7,2,2024-06-01\n"
    second = "".join([*lines[:90], corrected, "l1," * with_keys + "901,new,p,2024-05-01,1,2,\n"])
    reports, found = [], []
    for name, at_once in (("one", 1_000), ("many", 7)):
        monkeypatch.setattr("regulars.intake.ROWS_AT_ONCE", at_once)
        monkeypatch.setattr("regulars.batch.ROWS_AT_ONCE", at_once)
        folder = tmp_path / name
        folder.mkdir()
        told = [bring(folder, rows, header=header) for rows in (first, second, first)]
        reports.append([(r.read, r.added, r.identical, r.refused) for r in told])
        files = Lake(folder / "lake").manifest().files["orders"]
        rows = pd.concat(pd.read_parquet(folder / "lake" / file.path) for file in files)
        found.append((rows.sort_values("import_order", ignore_index=True), len(files)))
        found.append((orders_at(folder, datetime(2025, 1, 1, tzinfo=UTC)), 0))
    assert reports[0] == reports[1]
    repeated = 20 if with_keys else 0
    assert reports[0][0] == (221, 220 - repeated, repeated, {"quantity: not a readable number": 1})
    assert [added for _, added, _, _ in reports[0][1:]] == [2, 0]
    pd.testing.assert_frame_equal(found[0][0], found[2][0])
    pd.testing.assert_frame_equal(found[1][0], found[3][0])
    assert found[2][1] > 4 * found[0][1]


def test_a_lake_below_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "{it's} 100 %"
    folder.mkdir()
    rows = "1,a,p,2024-01-01,1,2,\n"
    assert [bring(folder, rows).added, bring(folder, rows).added] == [1, 0]


def test_an_order_known_by_event_and_by_import_is_one_order_the_imports(tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake")
    told = "order_id,line_id,customer_id,product_id,ordered_at,quantity,unit_price,received_at\n"
    for table, lines in {
        "event_orders": "A,1,ann,tea,2024-05-01,1,3,2024-05-01\nB,1,bob,cup,2024-05-01,1,4,2024-05-01\n",
        "orders": "A,x,ann,tea,2024-05-01,2,3,2024-05-10\n",
    }.items():
        (tmp_path / f"{table}.csv").write_text(told + lines)
        import_file(lake, TABLES[table], tmp_path / f"{table}.csv", mapping={}, timezone="UTC", refused_folder=tmp_path)
    tables = lake.tables(ibis.duckdb.connect())
    assert "event_orders" not in tables

    def known(moment: str) -> list[tuple[str, float]]:
        rows = known_tables(tables, as_of=at(moment))["orders"].execute().sort_values("order_id")
        return list(zip(rows["order_id"], rows["quantity"], strict=True))

    assert known("2024-05-05") == [("A", 1.0), ("B", 1.0)]
    assert known("2024-05-11") == [("A", 2.0), ("B", 1.0)]
