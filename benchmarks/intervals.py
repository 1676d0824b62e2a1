"""How often intervals of churn hold the truth, on simulated shops, where it is known.

    python -m benchmarks.intervals [--customers 1500] [--seeds 21,31,32]

The truth of a customer follows from what the shop hides: having left after the last order, or waiting as a gamma renewal
process does. Customers are put into 30 cells by predicted probability; a cell is held where its mean truth lies within its
mean bounds.
"""

import argparse
import tempfile
from datetime import UTC
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import gamma

from benchmarks.measure import keep
from features.build import read_customer_features
from features.sources.files import import_file
from features.sources.simulated import busyness, parameter_sets, write_simulated
from features.sources.simulated_service import START
from regulars.engine import connect
from regulars.lake import Lake
from regulars.tables import TABLES
from training.churn import train_churn

AT = pd.Timestamp("2023-07-15")
HORIZONS = {"groceries": 28, "gifts": 60, "fashion": 60}
CELLS = 30


def main() -> None:
    """Measure every parameter set with every seed, print and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--customers", type=int, default=1_500)
    parser.add_argument("--seeds", default="21,31,32")
    asked = parser.parse_args()
    rows = []
    for name, horizon in HORIZONS.items():
        for seed in map(int, asked.seeds.split(",")):
            rows.append(_measured(name, horizon, customers=asked.customers, seed=seed))
            print(rows[-1])
    table = pd.DataFrame(rows)
    print(table.mean(numeric_only=True).round(3).to_string())
    keep("intervals", command=f"python -m benchmarks.intervals --seeds {asked.seeds}", rows=rows)


def _measured(name: str, horizon: int, *, customers: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_simulated(folder / "made", customers=customers, seed=seed, name=name)
        rows = {table: _read(folder / "made" / table) for table in ("orders", "deliveries", "truth")}
        rows["orders"][rows["orders"]["ordered_at"] < AT].to_parquet(folder / "orders.parquet")
        lake = Lake(folder / "lake")
        import_file(
            lake, TABLES["orders"], folder / "orders.parquet", mapping={}, timezone="UTC", refused_folder=folder
        )
        tables, as_of = lake.tables(connect("duckdb")), AT.to_pydatetime().replace(tzinfo=UTC)
        model = train_churn(tables, as_of=as_of, horizon_days=horizon).model
        features = read_customer_features(tables, as_of=as_of).set_index("customer_id").sort_index()
    said = model.predict(features[features["days_since_last_order"] <= model.lookback_days])
    said["truth"] = true_probability(parameter_sets()[name], **rows, days=horizon).reindex(said.index)
    said["cell"] = pd.qcut(said["churn_probability"].rank(method="first"), CELLS, labels=False)
    cells = said.groupby("cell").mean()
    return {
        "shop": name,
        "seed": seed,
        "customers": len(said),
        "held": float(cells["truth"].between(cells["churn_low"], cells["churn_high"]).mean()),
        "width": float((said["churn_high"] - said["churn_low"]).mean()),
        "wider_than_half": float((said["churn_high"] - said["churn_low"] > 0.5).mean()),
        "predicted": float(said["churn_probability"].mean()),
        "truth": float(said["truth"].mean()),
    }


def true_probability(
    parameters: dict[str, Any], *, orders: pd.DataFrame, deliveries: pd.DataFrame, truth: pd.DataFrame, days: int
) -> pd.Series:
    """Customer -> the probability of no order within ``days`` after ``AT``, given all that is hidden and the silence so far."""
    late = (deliveries["delivered_at"] - deliveries["promised_at"]).dt.days >= 1
    lateness = pd.Series(late.to_numpy(float), index=deliveries["order_id"])
    before = orders[orders["ordered_at"] < AT].sort_values("ordered_at")
    last = before.drop_duplicates("customer_id", keep="last").set_index("customer_id")
    own = truth.set_index("customer_id").loc[last.index]
    extra = lateness.reindex(last["order_id"]).fillna(0.0).to_numpy() * parameters["incident_leave"]
    leave = np.clip(own["leave_per_order"].to_numpy() + extra, 0.0, 1.0)
    day = (last["ordered_at"] - pd.Timestamp(START)).dt.total_seconds().to_numpy() / 86_400
    pace, silent = busyness(day, parameters), (AT - pd.Timestamp(START)).days - day
    shape = own["regularity"].to_numpy()

    def waits(longer_than: np.ndarray) -> np.ndarray:
        return gamma.sf(longer_than * pace, shape, scale=own["gap_days"].to_numpy() / shape)

    gone = leave + (1 - leave) * waits(silent + days)
    return pd.Series(gone / (leave + (1 - leave) * waits(silent)), index=last.index)


def _read(folder: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted(folder.iterdir())], ignore_index=True)


if __name__ == "__main__":
    main()
