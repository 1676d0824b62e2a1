"""Scoring every customer against the size of a simulated shop without browsing: about 20 order lines a customer.

    python -m benchmarks.scoring [--customers 2000,8000,32000]

Each step is a process of its own. ``features`` writes nothing: it makes every customer's features, a slice at a time. ``score``
is the whole command: features, churn and value with reasons, standing, and the file. Growth is seconds per customer against
those of the size before. Models learn from part of a large shop's customers (``training.learners``). For the largest shop:
``--customers 62500,250000,1000000``, an hour and 20 GB of disk.
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
STEPS = ("import", "train_churn", "train_value", "features", "score")


def main() -> None:
    """Measure all sizes and write the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--customers", default=",".join(map(str, SIZES)))
    parser.add_argument("--folder", type=Path, help="Where shops are made; default: the system's temporary folder.")
    parser.add_argument("--features", type=Path, help="Only make the features of the lake in this home folder.")
    asked = parser.parse_args()
    if asked.features:
        print(json.dumps(_features(asked.features)))
        return
    rows: list[dict[str, Any]] = []
    for customers in map(int, asked.customers.split(",")):
        with tempfile.TemporaryDirectory(dir=asked.folder) as scratch:
            rows.append(_measured(Path(scratch), customers))
        for step in ("features", "score"):
            rows[-1][f"{step}_growth"] = _growth(rows[-2:], step)
        print(_said(rows[-1]))
        keep("scoring", command=f"python -m benchmarks.scoring --customers {asked.customers}", rows=rows)
    for unit, title in (("seconds", "seconds"), ("megabytes", "peak memory, MB")):
        lines = {f"{step}_{unit}": step.replace("_", " ") for step in STEPS}
        plot(f"scoring-{unit}", rows=rows, x="customers", lines=lines, title=f"Simulated shop, mail order: {title}")


def _measured(home: Path, customers: int) -> dict[str, Any]:
    env = {"REGULARS_HOME": str(home), "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db"}
    shop = ["import-dataset", "simulated", "--kind", "mail_order", "--customers", customers]
    commands: dict[str, list[object]] = {
        "import": ["cli.main", *shop, "--json"],
        "train_churn": ["cli.main", "train", "churn", "--as-of", AS_OF, "--json"],
        "train_value": ["cli.main", "train", "value", "--as-of", AS_OF, "--json"],
        "features": ["benchmarks.scoring", "--features", home],
        "score": ["cli.main", "score", "--as-of", AS_OF, "--out", home / "scores.parquet", "--json"],
    }
    row: dict[str, Any] = {"customers": customers}
    for step, words in commands.items():
        spent = cost(words, env=env)
        row |= {f"{step}_seconds": spent.seconds, f"{step}_megabytes": spent.megabytes}
        if step == "import":
            row |= {table["table"]: table["added"] for table in spent.said["tables"]}
        if step == "score":
            row["scored"] = spent.said["rows"]
    return row


def _features(home: Path) -> dict[str, Any]:
    from features.build import customer_features_by_slice  # noqa: PLC0415 - the process carries only what it measures
    from regulars.engine import connect  # noqa: PLC0415
    from regulars.lake import Lake  # noqa: PLC0415

    began = time.monotonic()
    as_of = datetime.fromisoformat(AS_OF).replace(tzinfo=UTC)
    slices = customer_features_by_slice(Lake(home / "lake").tables(connect("duckdb")), as_of=as_of)
    return {"customers": sum(map(len, slices)), "seconds": time.monotonic() - began}


def _growth(rows: list[dict[str, Any]], step: str) -> float | None:
    """Seconds per customer over those of the size before; None for the first."""
    if len(rows) < 2:
        return None
    before, now = (row[f"{step}_seconds"] / row["customers"] for row in rows)
    return float(now / before)


def _said(row: dict[str, Any]) -> str:
    steps = "; ".join(
        f"{step.replace('_', ' ')} {row[f'{step}_seconds']:.0f} s, {row[f'{step}_megabytes']:.0f} MB" for step in STEPS
    )
    return f"{row['customers']:>9,} customers, {row['orders']:,} order lines: {steps}"


if __name__ == "__main__":
    main()
