"""Training and scoring against the size of a simulated shop, each step a process of its own.

python -m benchmarks.models [--customers 1000,4000,16000]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import cost, keep, plot

AS_OF = "2023-12-01"
SIZES = (1_000, 4_000, 16_000)


def main() -> None:
    """Measure all sizes and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", default=",".join(map(str, SIZES)))
    asked = parser.parse_args()
    rows = [_measured(int(customers)) for customers in asked.customers.split(",")]
    keep("models", command=f"python -m benchmarks.models --customers {asked.customers}", rows=rows)
    steps = ("import", "train_churn", "score", "train_recommender", "recommend")
    for unit, name in (("seconds", "seconds"), ("megabytes", "peak memory, MB")):
        lines = {f"{step}_{unit}": step.replace("_", " ") for step in steps}
        plot(f"models-{unit}", rows=rows, x="customers", lines=lines, title=f"Simulated shop: {name}")
    for row in rows:
        print(f"{row['customers']:>7,} customers, {row['order_lines']:,} order lines: " + "; ".join(
            f"{step.replace('_', ' ')} {row[f'{step}_seconds']:.0f} s, {row[f'{step}_megabytes']:.0f} MB" for step in steps
        ))  # fmt: skip


def _measured(customers: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        env = {"REGULARS_HOME": scratch, "MLFLOW_TRACKING_URI": f"sqlite:///{scratch}/mlflow.db"}
        out = Path(scratch) / "out.parquet"
        commands: dict[str, list[object]] = {
            "import": ["import-dataset", "simulated", "--customers", customers],
            "train_churn": ["train", "churn", "--as-of", AS_OF],
            "score": ["score", "--as-of", AS_OF, "--out", out],
            "train_recommender": ["train", "recommender", "--as-of", AS_OF],
            "recommend": ["recommend", "--as-of", AS_OF, "-n", 10, "--out", out],
        }
        row: dict[str, Any] = {"customers": customers}
        for name, words in commands.items():
            spent = cost(["cli.main", *words, "--json"], env=env)
            row |= {f"{name}_seconds": spent.seconds, f"{name}_megabytes": spent.megabytes}
            if name == "import":
                row["order_lines"] = next(t["added"] for t in spent.said["tables"] if t["table"] == "orders")
        return row


if __name__ == "__main__":
    main()
