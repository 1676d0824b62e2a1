"""Scoring every customer against the size of a simulated shop without browsing: about 20 order lines a customer.

    python -m benchmarks.scoring [--customers 1000,4000,16000] [--folder FOLDER]

Each step is a process of its own; ``score`` is the whole command: features, churn with reasons, standing, and the file. Growth
is seconds per customer against those of the size before; of processor time, too, which other work on the machine changes
less. The churn model is trained on the largest shop, of which it reads at most 50,000 customers, and scores all. Shops and
models that are in FOLDER from an earlier run are taken as they are, without the cost of making them: a million customers
(``--customers 62500,250000,1000000``) need 3 GB of disk and a quarter of an hour to make.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import cost, keep, plot

AS_OF = "2023-12-01"
SIZES = (1_000, 4_000, 16_000)

Row = dict[str, Any]


def main() -> None:
    """Measure all sizes and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", default=",".join(map(str, SIZES)))
    parser.add_argument("--folder", type=Path, help="Where shops are kept; default: a temporary one.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = (asked.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        rows = _measured(folder, sorted(map(int, asked.customers.split(","))))
    made = " --folder FOLDER" if asked.folder else ""
    keep("scoring", command=f"python -m benchmarks.scoring --customers {asked.customers}{made}", rows=rows)
    for unit, title in (("seconds", "seconds"), ("megabytes", "peak memory, MB")):
        plot(f"scoring-{unit}", rows=rows, x="customers", lines={f"score_{unit}": "score"}, title=f"Scoring: {title}")


def _measured(folder: Path, sizes: list[int]) -> list[Row]:
    homes = {customers: folder / str(customers) for customers in sizes}
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    rows = [{"customers": customers} | _made(home, customers) for customers, home in homes.items()]
    if not (folder / "mlflow.db").exists():
        rows[-1] |= _spent("train", ["train", "churn", "--as-of", AS_OF], homes[sizes[-1]], env)[0]
    for place, (row, home) in enumerate(zip(rows, homes.values(), strict=True)):
        spent, said = _spent("score", ["score", "--as-of", AS_OF, "--out", home / "scores.parquet"], home, env)
        row.update(spent, scored=said["rows"])
        for unit in ("seconds", "cpu_seconds") if place else ():
            row[f"growth_of_{unit}"] = _per_customer(row, unit) / _per_customer(rows[place - 1], unit)
        print(row, flush=True)
    return rows


def _made(home: Path, customers: int) -> Row:
    """What it cost to simulate and import the shop, where it was not there yet."""
    if (home / "lake" / "manifest.json").exists():
        return {}
    words = ["import-dataset", "simulated", "--kind", "mail_order", "--customers", customers]
    spent, said = _spent("import", words, home, {})
    return spent | {"order_lines": next(told["added"] for told in said["tables"] if told["table"] == "orders")}


def _spent(step: str, words: list[object], home: Path, env: dict[str, str]) -> tuple[Row, Any]:
    spent = cost(["cli.main", *words, "--json"], env=env | {"REGULARS_HOME": str(home)})
    row = {"seconds": spent.seconds, "cpu_seconds": spent.cpu_seconds, "megabytes": spent.megabytes}
    return {f"{step}_{unit}": value for unit, value in row.items()}, spent.said


def _per_customer(row: Row, unit: str) -> float:
    return float(row[f"score_{unit}"] / row["customers"])


if __name__ == "__main__":
    main()
