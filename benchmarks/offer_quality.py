"""Offer models on outside trials: Hillstrom's e-mails and Starbucks' simulated app, each policy beside what was sent.

    python -m benchmarks.offer_quality FOLDER

Hillstrom's three arms are judged at each of several costs of an e-mail, in visits; beside them how well those whom the women's
e-mail moves are told from the others: the Qini curve (its mean height above the straight line) and the share of the whole gain
that the better half of the customers keeps, each half ranked by what was learnt on the other.

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
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import keep
from features.assignments import assigned_rows, features_when_assigned
from features.sources.files import import_file
from regulars.as_of import Tables
from regulars.engine import connect
from regulars.lake import Lake
from regulars.tables import TABLES
from training.offers import train_offers
from training.uplift_curves import qini_curve

Frames = dict[str, pd.DataFrame]

HILLSTROM_ARMS = {"Mens E-Mail": "mens", "Womens E-Mail": "womens"}
ATTRIBUTES = ["recency", "history", "mens", "womens", "zip_code", "newbie", "channel"]
KINDS = {"bogo": "coupon", "discount": "amount", "informational": "content"}
START = pd.Timestamp("2024-01-01")
AS_OF = datetime(2024, 6, 1, tzinfo=UTC)
COSTS = (0.0, 0.02, 0.05, 0.07)
WINDOW_DAYS = 3


def main() -> None:
    """Learn, judge, print and keep the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    rows = []
    found = sorted(folder.glob("hillstrom*.parquet"))
    plan = [(f"hillstrom at {cost} a mail", hillstrom(found[0], cost=cost), "visited", 28) for cost in COSTS if found]
    if (folder / "starbucks_transcript.parquet").exists():
        plan.append(("starbucks", starbucks(folder), "revenue", WINDOW_DAYS))
    for name, frames, outcome, horizon in plan:
        with tempfile.TemporaryDirectory() as scratch:
            tables = _tables(frames, Path(scratch))
            trained = train_offers(tables, as_of=AS_OF, outcome=outcome, horizon_days=horizon)
        print(f"\n{name}, {outcome} within {horizon} days, {trained.model.about}\n{trained.table.to_string()}")
        print("\n".join(trained.notes), flush=True)
        shown = trained.table.astype(object).where(trained.table.notna(), None)
        rows += [{"data": name, **row} for row in shown.to_dict("records")]
    rows += womens_curve(hillstrom(found[0])) if found else []
    keep("offer_quality", command="python -m benchmarks.offer_quality FOLDER", rows=rows)


def womens_curve(frames: Frames, *, seed: int = 0) -> list[dict[str, Any]]:
    """The women's e-mail against none: the Qini curve over both halves of the customers, and what the better half keeps."""
    trial = frames["assignments"]
    trial = trial[trial["offer_id"] != "mens"].assign(propensity=0.5)
    half = np.random.default_rng(seed).permutation(len(trial)) % 2
    parts = [frames | {"assignments": trial[half == k]} for k in (0, 1)]
    seen = []
    for learnt, judged in (parts, parts[::-1]):
        with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
            model = train_offers(_tables(learnt, Path(one)), as_of=AS_OF, outcome="visited", horizon_days=28).model
            tables = _tables(judged, Path(other))
            rows = assigned_rows(tables, as_of=AS_OF, horizon_days=28, outcome="visited")
            uplift, _, _ = model.uplifts(features_when_assigned(tables, rows), offers=["womens"])
        seen.append(rows.assign(uplift=uplift[:, 0]))
    every = pd.concat(seen, ignore_index=True)
    treated = (every["offer_id"] == "womens").to_numpy()
    curve = qini_curve(every["outcome"].to_numpy(float), treated, every["uplift"].to_numpy(), np.arange(len(every)))
    print(f"\nhillstrom, women's e-mail: Qini {curve.area:.4f} ({curve.low:.4f} to {curve.high:.4f}), the better half keeps "
          f"{curve.best_half:.0%}")  # fmt: skip
    told = {
        "data": "hillstrom, women's e-mail",
        "model": "regulars",
        "split": "each half of the customers, learnt on the other",
    }
    return [
        told | {"metric": "qini", "value": curve.area, "low": curve.low, "high": curve.high},
        told
        | {
            "metric": "share of the gain that the better half keeps",
            "value": curve.best_half,
            "low": None,
            "high": None,
        },
    ]


def hillstrom(file: Path, *, cost: float = 0.0) -> Frames:
    """The trial of three arms as tables; ``cost`` of an e-mail, in visits."""
    trial = pd.read_parquet(file).reset_index(drop=True)
    ids = "c" + trial.index.astype(str)
    at = START
    visited = trial["visit"].to_numpy() == 1
    return {
        "customers": pd.DataFrame(
            {"customer_id": ids, "attributes": [json.dumps(row) for row in trial[ATTRIBUTES].to_dict("records")]}
        ),
        "offers": pd.DataFrame({"offer_id": ["mens", "womens"], "kind": "content", "cost": cost}),
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


def _tables(frames: Frames, folder: Path) -> Tables:
    lake = Lake(folder / "lake")
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
        import_file(lake, TABLES[name], folder / f"{name}.parquet", mapping={}, timezone="UTC", refused_folder=folder)
    return lake.tables(connect("duckdb"))


if __name__ == "__main__":
    main()
