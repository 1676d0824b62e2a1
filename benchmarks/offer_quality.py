"""Offer models on outside trials: Hillstrom's e-mails and Starbucks' simulated app, each policy beside what was sent.

    python -m benchmarks.offer_quality FOLDER

FOLDER holds ``hillstrom*.parquet`` and ``starbucks_{portfolio,profile,transcript}.parquet``. What is not there is left out.
Of Starbucks' 17,000 persons a third is used; who was sent what is not documented as random, so it is observational. An
offer's cost is its reward, paid where it is completed; here it is charged at the share of sent offers that were completed.
"""

import argparse
import json
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd

from benchmarks.measure import keep
from features.sources.files import import_file
from regulars.engine import connect
from regulars.lake import Lake
from regulars.tables import TABLES
from training.offers import train_offers

Frames = dict[str, pd.DataFrame]

HILLSTROM_ARMS = {"Mens E-Mail": "mens", "Womens E-Mail": "womens"}
ATTRIBUTES = ["recency", "history", "mens", "womens", "zip_code", "newbie", "channel"]
KINDS = {"bogo": "coupon", "discount": "amount", "informational": "content"}
START = pd.Timestamp("2024-01-01")
WINDOW_DAYS = 3
EVERY = 3


def main() -> None:
    """Learn, judge, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rows = []
    found = sorted(folder.glob("hillstrom*.parquet"))
    plan = [("hillstrom", hillstrom(found[0]), "visited", 28)] if found else []
    if (folder / "starbucks_transcript.parquet").exists():
        plan.append(("starbucks", starbucks(folder), "revenue", WINDOW_DAYS))
    for name, frames, outcome, horizon in plan:
        with tempfile.TemporaryDirectory() as scratch:
            lake = _lake(frames, Path(scratch))
            tables = lake.tables(connect("duckdb"))
            trained = train_offers(
                tables, as_of=datetime(2024, 6, 1, tzinfo=UTC), outcome=outcome, horizon_days=horizon
            )
        print(f"\n{name}, {outcome} within {horizon} days, {trained.model.about}\n{trained.table.to_string()}")
        print("\n".join(trained.notes), flush=True)
        rows += [{"data": name, **row} for row in trained.table.to_dict("records")]
    keep("offer_quality", command="python -m benchmarks.offer_quality FOLDER", rows=rows)


def hillstrom(file: Path) -> Frames:
    """The trial of three arms as tables; what was spent stands beside a visit."""
    trial = pd.read_parquet(file).reset_index(drop=True)
    ids = "c" + trial.index.astype(str)
    at = START
    visited = trial["visit"].to_numpy() == 1
    return {
        "customers": pd.DataFrame(
            {"customer_id": ids, "attributes": [json.dumps(row) for row in trial[ATTRIBUTES].to_dict("records")]}
        ),
        "offers": pd.DataFrame({"offer_id": ["mens", "womens"], "kind": "content", "cost": 0.0}),
        "assignments": pd.DataFrame(
            {"assignment_id": ids, "customer_id": ids, "assigned_at": at, "offer_id": trial["segment"].map(HILLSTROM_ARMS),
             "propensity": 1 / 3}
        ),
        "outcomes": pd.DataFrame({"assignment_id": ids[visited], "kind": "visited", "occurred_at": at + pd.Timedelta(days=7)}),
    }  # fmt: skip


def starbucks(folder: Path) -> Frames:
    """Six sendings to a third of the persons as assignments; what was spent in the three days after each as revenue."""
    portfolio, profile, events = (
        pd.read_parquet(folder / f"starbucks_{name}.parquet") for name in ("portfolio", "profile", "transcript")
    )
    persons = profile.sort_values("id").iloc[::EVERY].set_index("id")
    events = events[events["person"].isin(persons.index)]
    sent = events.loc[events["event"] == "offer received", ["person", "time", "offer_id"]].astype(
        {"person": str, "offer_id": str}
    )
    waves = sorted(sent["time"].unique())
    everyone = pd.MultiIndex.from_product([persons.index, waves], names=["person", "time"]).to_frame(index=False)
    rows = everyone.merge(sent, on=["person", "time"], how="left")
    rows["assignment_id"] = rows["person"] + "-" + rows["time"].astype(str)
    bought = events.loc[events["event"] == "transaction", ["person", "time", "amount"]].astype({"person": str})
    paid = rows[["person", "time", "assignment_id"]].merge(bought, on="person", suffixes=("", "_bought"))
    hours = paid["time_bought"] - paid["time"]
    paid = paid[(hours >= 0) & (hours < 24 * WINDOW_DAYS)]
    done = (events["event"] == "offer completed").sum() / max((events["event"] == "offer received").sum(), 1)
    told = persons.assign(
        days_member=(pd.Timestamp("2018-08-01") - pd.to_datetime(persons["became_member_on"].astype(str))).dt.days
    )
    told = told[["gender", "age", "income", "days_member"]].astype(object).where(told.notna(), None)
    return {
        "customers": pd.DataFrame(
            {"customer_id": told.index, "attributes": [json.dumps(row) for row in told.to_dict("records")]}
        ),
        "offers": pd.DataFrame(
            {"offer_id": portfolio["id"], "kind": portfolio["offer_type"].map(KINDS), "value": portfolio["reward"],
             "category": portfolio["offer_type"], "cost": portfolio["reward"] * float(done)}
        ),
        "assignments": pd.DataFrame(
            {"assignment_id": rows["assignment_id"], "customer_id": rows["person"],
             "assigned_at": START + pd.to_timedelta(rows["time"], unit="h"), "offer_id": rows["offer_id"]}
        ),
        "outcomes": pd.DataFrame(
            {"assignment_id": paid["assignment_id"], "kind": "converted", "revenue": paid["amount"].astype(float),
             "occurred_at": START + pd.to_timedelta(paid["time_bought"], unit="h")}
        ),
    }  # fmt: skip


def _lake(frames: Frames, folder: Path) -> Lake:
    lake = Lake(folder / "lake")
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
        import_file(lake, TABLES[name], folder / f"{name}.parquet", mapping={}, timezone="UTC", refused_folder=folder)
    return lake


if __name__ == "__main__":
    main()
