"""Offer models on outside trials: Hillstrom's e-mails and Starbucks' simulated app, each policy beside what was sent.

    python -m benchmarks.offer_quality FOLDER

FOLDER holds ``hillstrom*.parquet`` and ``starbucks_{portfolio,profile,transcript}.parquet``. What is not there is left out.
Who was sent what at Starbucks is not documented as random, so it is observational. A purchase counts less the rewards that
were paid with it, so offers cost what they did cost, person by person; what was bought before a sending is known to the
learners, beside age, income, gender and membership.
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
        shown = trained.table.astype(object).where(trained.table.notna(), None)
        rows += [{"data": name, **row} for row in shown.to_dict("records")]
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
    """Six sendings as assignments, and what they bought; the outcome is revenue of three days."""
    portfolio, profile, events = (
        pd.read_parquet(folder / f"starbucks_{name}.parquet") for name in ("portfolio", "profile", "transcript")
    )
    persons = profile.sort_values("id").set_index("id")
    sent = events.loc[events["event"] == "offer received", ["person", "time", "offer_id"]].astype(
        {"person": str, "offer_id": str}
    )
    waves = sorted(sent["time"].unique())
    everyone = pd.MultiIndex.from_product([persons.index, waves], names=["person", "time"]).to_frame(index=False)
    rows = everyone.merge(sent, on=["person", "time"], how="left")
    rows["assignment_id"] = rows["person"] + "-" + rows["time"].astype(str)
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
             "category": portfolio["offer_type"], "cost": 0.0}
        ),
        "assignments": pd.DataFrame(
            {"assignment_id": rows["assignment_id"], "customer_id": rows["person"],
             "assigned_at": START + pd.to_timedelta(rows["time"], unit="h"), "offer_id": rows["offer_id"]}
        ),
        "orders": _purchases(events, portfolio),
    }  # fmt: skip


def _purchases(events: pd.DataFrame, portfolio: pd.DataFrame) -> pd.DataFrame:
    """Purchases as order lines, at what was paid less the rewards of offers completed with them (at least 0)."""
    bought = events.loc[events["event"] == "transaction", ["person", "time", "amount"]]
    done = events[events["event"] == "offer completed"]
    reward = done["offer_id"].map(portfolio.set_index("id")["reward"]).groupby([done["person"], done["time"]]).sum()
    paid = bought["amount"].to_numpy(float) - reward.reindex(
        pd.MultiIndex.from_frame(bought[["person", "time"]])
    ).fillna(0.0)
    return pd.DataFrame(
        {"order_id": "t" + bought.index.astype(str), "customer_id": bought["person"].astype(str), "product_id": "purchase",
         "ordered_at": START + pd.to_timedelta(bought["time"], unit="h"), "quantity": 1.0,
         "unit_price": paid.clip(lower=0.0).to_numpy()}
    )  # fmt: skip


def _lake(frames: Frames, folder: Path) -> Lake:
    lake = Lake(folder / "lake")
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
        import_file(lake, TABLES[name], folder / f"{name}.parquet", mapping={}, timezone="UTC", refused_folder=folder)
    return lake


if __name__ == "__main__":
    main()
