"""Offers of known true effect for simulated customers: a randomised trial, and the truth beside it.

Whether a customer orders within the horizon without an offer depends on their rhythm and on how long they are overdue. What
an offer changes is its level plus its spread times a driver: in the set ``agree`` mostly the risk of not coming back, in
``unrelated`` only a trait that risk knows nothing of, in ``opposed`` mostly the chance of coming back. Sets and offers stand
in ``simulated_offers.json`` and were fixed before any policy was trained on them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.errors import DataError

Floats = NDArray[np.float64]

SETS = ("agree", "unrelated", "opposed")
LEAST, MOST = 0.01, 0.97


@dataclass(frozen=True)
class Trial:
    """``offers``, ``assignments``, ``outcomes``: rows of the tables of these names.

    ``truth``: one row per customer: customer_id, without (the chance of ordering within the horizon), and one column per
    offer with what it adds to that chance.
    """

    offers: pd.DataFrame
    assignments: pd.DataFrame
    outcomes: pd.DataFrame
    truth: pd.DataFrame


def offer_parameters() -> dict[str, Any]:
    """What stands in ``simulated_offers.json``."""
    read: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return read


def simulated_customers(count: int, *, seed: int) -> pd.DataFrame:
    """Customers of a trial without a shop around them: customer_id, gap_days, overdue_days, trait (0-1)."""
    rng = np.random.default_rng([seed, count, 1])
    gap = rng.lognormal(np.log(20.0), 0.6, count)
    return pd.DataFrame(
        {
            "customer_id": [f"c{number}" for number in range(count)],
            "gap_days": gap,
            "overdue_days": gap * rng.gamma(1.0, 1.5, count),
            "trait": rng.random(count),
        }
    )


def offer_trial(customers: pd.DataFrame, *, name: str, at: pd.Timestamp, seed: int) -> Trial:
    """A trial at ``at`` over ``customers`` (customer_id, gap_days, overdue_days, trait); equal for equal arguments.

    A quarter is held out, the others are drawn evenly among the offers.

    Raises:
        DataError: where there is no set ``name``.
    """
    parameters = offer_parameters()
    if name not in SETS:
        raise DataError(f"there are no simulated offers {name!r}; there are {', '.join(SETS)}")
    rng = np.random.default_rng([seed, len(customers), 2])
    without, uplift = _truth(customers, parameters, name)
    names = list(parameters["offers"])
    held = parameters["held_out_share"]
    chances = [held, *[(1 - held) / len(names)] * len(names)]
    arm = rng.choice(len(chances), size=len(customers), p=chances)
    with_it = without + np.where(arm > 0, uplift[np.arange(len(arm)), np.maximum(arm - 1, 0)], 0.0)
    ordered = rng.random(len(customers)) < with_it
    ids = "a-" + customers["customer_id"].to_numpy(dtype=object)
    assignments = pd.DataFrame(
        {
            "assignment_id": ids,
            "customer_id": customers["customer_id"].to_numpy(),
            "assigned_at": at,
            "offer_id": np.array([None, *names], dtype=object)[arm],
            "propensity": np.array(chances)[arm],
            "policy_version": f"simulated-{name}",
        }
    )
    waited = pd.to_timedelta(rng.integers(1, parameters["horizon_days"] * 24, int(ordered.sum())), unit="h")
    outcomes = pd.DataFrame(
        {
            "assignment_id": ids[ordered],
            "kind": "converted",
            "occurred_at": at + waited,
            "revenue": parameters["revenue_per_conversion"],
        }
    )
    truth = pd.DataFrame(uplift, columns=names).assign(without=without, customer_id=customers["customer_id"].to_numpy())
    return Trial(_offers(parameters), assignments, outcomes, truth[["customer_id", "without", *names]])


def _truth(customers: pd.DataFrame, parameters: dict[str, Any], name: str) -> tuple[Floats, Floats]:
    """The chance of ordering without an offer (n_customers,), and what each offer adds to it (n_customers, n_offers)."""
    gap, overdue = (customers[column].to_numpy(float) for column in ("gap_days", "overdue_days"))
    alive = 1 / (1 + np.exp(1.5 * (overdue / gap - parameters["never_back"])))
    without = np.clip(parameters["latest_share"] * alive * (1 - np.exp(-parameters["horizon_days"] / gap)), LEAST, MOST)
    risk = _standard(1 - without)
    driver = parameters[name]["risk"] * risk + parameters[name]["trait"] * _standard(customers["trait"].to_numpy(float))
    driver = np.clip(_standard(driver), -2.0, 2.0)
    columns = [offer["level"] + offer["spread"] * driver for offer in parameters["offers"].values()]
    uplift = np.stack(columns, axis=1)
    return without, np.clip(without[:, None] + uplift, LEAST / 2, 0.99) - without[:, None]


def _standard(values: Floats) -> Floats:
    return np.asarray((values - values.mean()) / (values.std() or 1.0))


def _offers(parameters: dict[str, Any]) -> pd.DataFrame:
    rows = [
        {"offer_id": name, "name": name.replace("_", " "), **{key: offer[key] for key in ("kind", "value", "cost")}}
        for name, offer in parameters["offers"].items()
    ]
    return pd.DataFrame(rows)


TRIAL_AT = pd.Timestamp("2023-10-01")
TABLES = ("offers", "assignments", "outcomes")


def write_offers(folder: Path, *, name: str, seed: int) -> None:
    """Add a trial at 2023-10-01 to the simulated shop in ``folder`` (see ``write_simulated``): one folder per table.

    Of customers with an order before it. The trait is in ``customers.attributes`` as price_interest; ``truth`` gains the
    columns without and one per offer, null for who was not in the trial.
    """
    truth, customers = (_read(folder / table) for table in ("truth", "customers"))
    orders = _read(folder / "orders")[["customer_id", "ordered_at"]]
    last = orders[orders["ordered_at"] < TRIAL_AT].groupby("customer_id")["ordered_at"].max()
    rng = np.random.default_rng([seed, len(customers), 3])
    trait = pd.Series(rng.random(len(customers)).round(4), customers["customer_id"])
    told = [json.dumps({"price_interest": value}) for value in trait]
    _write(folder / "customers", customers.assign(attributes=told))
    known = truth[truth["customer_id"].isin(last.index)]
    about = pd.DataFrame(
        {
            "customer_id": known["customer_id"].to_numpy(),
            "gap_days": known["gap_days"].to_numpy(),
            "overdue_days": ((TRIAL_AT - last.loc[known["customer_id"]]).dt.total_seconds() / 86_400).to_numpy(),
            "trait": trait.loc[known["customer_id"]].to_numpy(),
        }
    )
    trial = offer_trial(about, name=name, at=TRIAL_AT, seed=seed)
    for table in TABLES:
        _write(folder / table, getattr(trial, table))
    _write(folder / "truth", truth.merge(trial.truth, on="customer_id", how="left"))


def _read(folder: Path) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))], ignore_index=True)


def _write(folder: Path, rows: pd.DataFrame) -> None:
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.parquet"):
        file.unlink()
    rows.to_parquet(folder / "00000.parquet", index=False)
