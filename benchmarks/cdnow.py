"""Orders and spend of CDNOW's customers in the second half of what is known of them, beside BG/NBD and Gamma-Gamma.

    python -m benchmarks.cdnow FILE

FILE is ``CDNOW_master.txt`` (23,570 customers) or ``CDNOW_sample.txt`` (a tenth of them), as in PyPI's package ``lifetimes``:
first orders in the first quarter of 1997, all orders until June 1998. Learnt on 39 weeks, judged on the 39 weeks after.
Source: Fader & Hardie (2001), Forecasting Repeat Sales at CDNOW: A Case Study, Interfaces 31(3), S94-S107.
"""

import argparse
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.measure import keep
from features.build import read_customer_features
from features.labels import value_labels
from features.sources.files import import_file
from regulars.as_of import Tables
from regulars.engine import connect
from regulars.lake import Lake
from regulars.models.buy_till_you_die import fit_buy_till_you_die
from regulars.models.churn import RHYTHM
from regulars.models.gamma_gamma import fit_gamma_gamma
from regulars.models.value import Steady
from regulars.tables import TABLES
from training.metrics import VALUE_METRICS, metric_interval
from training.value import train_value

HALF = datetime(1997, 10, 1, tzinfo=UTC)
DAYS = 39 * 7
LOOKBACK = 365


def main() -> None:
    """Train on the first half, print and keep the figures of the second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = _judged(_tables(asked.file, Path(scratch)), data=asked.file.stem)
    print(pd.DataFrame(rows).round(4).to_string(index=False))
    print(
        f"kept in {keep(asked.file.stem.lower(), command=f'python -m benchmarks.cdnow {asked.file.name}', rows=rows)}"
    )


def _tables(file: Path, scratch: Path) -> Tables:
    raw = pd.read_csv(file, sep=r"\s+", header=None, dtype=str)
    raw = raw[raw[raw.columns[-3]].str.isdigit()].reset_index(drop=True)  # some copies carry a header
    customer, day, pieces, spent = (raw[column] for column in (raw.columns[-4], *raw.columns[-3:]))
    orders = pd.DataFrame(
        {
            "order_id": [f"o{place}" for place in range(len(raw))],
            "customer_id": customer,
            "product_id": "records",
            "ordered_at": pd.to_datetime(day, format="%Y%m%d"),
            "quantity": pieces.astype(float),
            "unit_price": spent.astype(float) / pieces.astype(float),
        }
    )
    orders.to_parquet(scratch / "orders.parquet")
    lake = Lake(scratch / "lake")
    import_file(lake, TABLES["orders"], scratch / "orders.parquet", mapping={}, timezone="UTC", refused_folder=scratch)
    return lake.tables(connect("duckdb"))


def _judged(tables: Tables, *, data: str) -> list[dict[str, Any]]:
    model: Any = train_value(tables, as_of=HALF, horizon_days=DAYS, lookback_days=LOOKBACK).model
    known = read_customer_features(tables, as_of=HALF).sort_values("customer_id", ignore_index=True)
    came = value_labels(tables, as_of=HALF, horizon_days=DAYS, lookback_days=LOOKBACK).execute()
    truth = known[["customer_id"]].merge(came, on="customer_id", validate="one_to_one")
    ours = model.predict(known)
    plain = _plain(known)
    guesses: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {
        "BG/NBD and Gamma-Gamma": (plain.order_days(known, DAYS), plain.order_days(known, DAYS) * plain.spend(known)),
        "regulars": (ours["predicted_orders"].to_numpy(), ours["predicted_value"].to_numpy()),
    }
    rows = []
    for name, (orders, money) in guesses.items():
        for thing, real, guess in (("orders", truth["orders"], orders), ("value", truth["money"], money)):
            for metric, measure in VALUE_METRICS.items():
                low, high = metric_interval(measure, real.to_numpy(float), guess, seed=0, draws=200)
                value = measure(real.to_numpy(float), guess)
                rows.append({"data": data, "model": name, "metric": f"{metric}_{thing}", "value": value,
                             "low": low, "high": high, "customers": len(truth)})  # fmt: skip
    return rows


def _plain(known: pd.DataFrame) -> Steady:
    days, span, age = (known[name].to_numpy(float) for name in RHYTHM)
    buyers = fit_buy_till_you_die(days - 1, span, age, decisive=np.inf)
    return Steady(buyers, fit_gamma_gamma(days, known["money_total"].to_numpy(float) / days), 1.0)


if __name__ == "__main__":
    main()
