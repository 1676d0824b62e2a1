"""Each model beside its baselines on outside data, which is not in this repository.

    python -m benchmarks.quality FOLDER

Complete Journey comes from its package; FOLDER holds ``online_retail*.parquet`` (UCI Online Retail II) and
``yoochoose_clicks*.parquet`` (RecSys Challenge 2015). What is not there is named and left out.
"""

import argparse
import os
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.measure import keep
from features.sources.complete_journey import import_complete_journey
from features.sources.files import import_file
from features.sources.online_retail import import_online_retail
from regulars.engine import connect
from regulars.errors import MissingData
from regulars.lake import Lake
from regulars.tables import TABLES
from training.churn import train_churn
from training.recommender import train_recommender

RETAIL = "online_retail*.parquet"
CLICKS = "yoochoose_clicks*.parquet"
# data set, model, as of, horizon in days
PLAN = (
    ("complete-journey", "churn", "2017-12-11", 28),
    ("complete-journey", "recommender", "2017-12-29", 28),
    ("online-retail", "churn", "2010-10-01", 60),
    ("online-retail", "churn", "2010-11-25", 90),
    ("online-retail", "recommender", "2010-10-01", 28),
    ("yoochoose", "recommender", "2014-04-05", 1),
)


def main() -> None:
    """Import what is there, train as planned, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        lakes = dict(_lakes(folder, Path(scratch)))
        for name, model, as_of, horizon in PLAN:
            if name not in lakes:
                continue
            table = _trained(lakes[name], model, as_of, horizon)
            print(f"\n{name}, {model} as of {as_of}, {horizon} days: {table['split'].iloc[0]}")
            print(_wide(table).to_string())
            rows += [{"data": name, "task": model, "as_of": as_of, **row} for row in table.to_dict("records")]
    if rows:
        print(f"\nkept in {keep('quality', command='make quality', rows=rows)}")


def _lakes(folder: Path, scratch: Path) -> Iterator[tuple[str, Lake]]:
    journey, retail = Lake(scratch / "journey"), Lake(scratch / "retail")
    try:
        import_complete_journey(journey, refused_folder=scratch)
        yield "complete-journey", journey
    except MissingData as error:
        print(f"complete-journey is left out: {error}")
    files = sorted(folder.glob(RETAIL))
    if files:
        import_online_retail(retail, files[0], timezone="UTC", refused_folder=scratch)
        yield "online-retail", retail
    else:
        print(f"online-retail is left out: {folder} holds no {RETAIL}")
    files = sorted(folder.glob(CLICKS))
    if files:
        _clicks(Lake(scratch / "clicks"), files[0], scratch)
        yield "yoochoose", Lake(scratch / "clicks")
    else:
        print(f"yoochoose is left out: {folder} holds no {CLICKS}")


def _trained(lake: Lake, model: str, as_of: str, horizon: int) -> pd.DataFrame:
    at = datetime.fromisoformat(f"{as_of}T00:00:00+00:00")
    train: Any = train_churn if model == "churn" else train_recommender
    table: pd.DataFrame = train(
        lake.tables(connect(os.environ.get("REGULARS_ENGINE", "duckdb"))), as_of=at, horizon_days=horizon
    ).table
    return table


def _wide(table: pd.DataFrame) -> pd.DataFrame:
    """A churn table by model; a recommender's, which has many metrics, by metric, and how far each model is from ours."""
    names = list(dict.fromkeys(table["model"])), list(dict.fromkeys(table["metric"]))
    if "difference" not in table:
        cells = [f"{row.value:.4f} ({row.low:.4f} to {row.high:.4f})" for row in table.itertuples()]
        return table.assign(cell=cells).pivot(index="model", columns="metric", values="cell").loc[names]
    cells = [
        f"{row.value:.4f} ({row.difference:+.4f}: {row.difference_low:+.4f} to {row.difference_high:+.4f})"
        for row in table.itertuples()
    ]
    return table.assign(cell=cells).pivot(index="metric", columns="model", values="cell").loc[names[::-1]]


def _clicks(lake: Lake, file: Path, scratch: Path) -> None:
    """A file of SessionId, ItemId, Time (seconds) as views without a customer; a reload of the same item is left out."""
    clicks = pd.read_parquet(file).sort_values(["SessionId", "Time"], kind="stable", ignore_index=True)
    again = clicks[["SessionId", "ItemId"]].eq(clicks[["SessionId", "ItemId"]].shift()).all(axis=1)
    clicks = clicks[~again].reset_index(drop=True)
    events = pd.DataFrame(
        {
            "event_id": clicks.index.astype(str),
            "occurred_at": pd.to_datetime(clicks["Time"], unit="s", utc=True).dt.floor("s"),
            "name": "Product Viewed",
            "anonymous_id": clicks["SessionId"].astype(str),
            "session_id": clicks["SessionId"].astype(str),
            "product_id": clicks["ItemId"].astype(str),
        }
    )
    events.to_parquet(scratch / "clicks.parquet", index=False)
    import_file(lake, TABLES["events"], scratch / "clicks.parquet", mapping={}, timezone="UTC", refused_folder=scratch)


if __name__ == "__main__":
    main()
