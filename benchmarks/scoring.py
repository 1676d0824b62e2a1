"""Scoring every customer against the size of a simulated shop without browsing: about 20 order lines a customer.

    python -m benchmarks.scoring [--customers 2000,8000,32000] [--folder FOLDER]

Each step is a process of its own. ``features`` writes nothing: it makes every customer's features, a slice at a time. ``score``
is the whole command: features, churn with reasons, standing, and the file. Growth is seconds per customer against those of the
size before. The models are trained on the largest shop, of which they read at most 50,000 customers, and score all. Shops and
models that are in FOLDER from an earlier run are taken as they are, without the cost of making them: a million customers
(``--customers 62500,250000,1000000``) need 3 GB of disk and much of an hour to make.
"""

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.measure import cost, keep, plot

AS_OF = "2023-12-01"
SIZES = (2_000, 8_000, 32_000)
STEPS = ("features", "score")

Row = dict[str, Any]


def main() -> None:
    """Measure all sizes and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", default=",".join(map(str, SIZES)))
    parser.add_argument("--folder", type=Path, help="Where shops are kept; default: a temporary one.")
    parser.add_argument("--features", type=Path, help="Only make the features of the lake in this home folder.")
    asked = parser.parse_args()
    if asked.features:
        print(json.dumps(_features(asked.features)))
        return
    sizes = sorted(map(int, asked.customers.split(",")))
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        rows = _measured(folder, sizes)
    keep("scoring", command=f"python -m benchmarks.scoring --customers {asked.customers}", rows=rows)
    for unit, title in (("seconds", "seconds"), ("megabytes", "peak memory, MB")):
        lines = {f"{step}_{unit}": step for step in STEPS}
        plot(f"scoring-{unit}", rows=rows, x="customers", lines=lines, title=f"Simulated shop, mail order: {title}")


def _measured(folder: Path, sizes: list[int]) -> list[Row]:
    homes = {customers: folder / str(customers) for customers in sizes}
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    rows = [{"customers": customers} | _made(home, customers) for customers, home in homes.items()]
    if not (folder / "mlflow.db").exists():
        rows[-1] |= _spent(
            "train_churn", ["cli.main", "train", "churn", "--as-of", AS_OF, "--json"], homes[sizes[-1]], env
        )
    for place, (row, home) in enumerate(zip(rows, homes.values(), strict=True)):
        words = ["cli.main", "score", "--as-of", AS_OF, "--out", home / "scores.parquet", "--json"]
        row.update(_spent("features", ["benchmarks.scoring", "--features", home], home, env))
        row.update(_spent("score", words, home, env))
        for step in STEPS if place else ():
            row[f"{step}_growth"] = _per_customer(row, step) / _per_customer(rows[place - 1], step)
        print(row, flush=True)
    return rows


def _made(home: Path, customers: int) -> Row:
    """What it cost to simulate and import the shop, where it was not there yet."""
    if (home / "lake" / "manifest.json").exists():
        return {}
    words = ["cli.main", "import-dataset", "simulated", "--kind", "mail_order", "--customers", customers, "--json"]
    return _spent("import", words, home, {})


def _spent(step: str, words: list[object], home: Path, env: dict[str, str]) -> Row:
    spent = cost(words, env=env | {"REGULARS_HOME": str(home)})
    row: Row = {f"{step}_seconds": spent.seconds, f"{step}_megabytes": spent.megabytes}
    if step in STEPS:
        row[f"{step}_rows"] = spent.said["rows"]
    return row


def _per_customer(row: Row, step: str) -> float:
    return float(row[f"{step}_seconds"] / row["customers"])


def _features(home: Path) -> dict[str, Any]:
    from features.build import customer_features_by_slice  # noqa: PLC0415 - the process carries only what it measures
    from regulars.engine import connect  # noqa: PLC0415
    from regulars.lake import Lake  # noqa: PLC0415

    began = time.monotonic()
    as_of = datetime.fromisoformat(AS_OF).replace(tzinfo=UTC)
    slices = customer_features_by_slice(Lake(home / "lake").tables(connect("duckdb")), as_of=as_of)
    return {"rows": sum(map(len, slices)), "seconds": time.monotonic() - began}


if __name__ == "__main__":
    main()
