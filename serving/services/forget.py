"""Forgetting a customer, with a receipt, and handing over everything held of one."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from regulars.lake import Lake
from serving.services.customers import moment_text
from serving.services.history import interactions_in
from serving.services.remembered import SECONDS
from serving.store.database import Store
from serving.store.forgetting import forget_in_store, held_in_store, known_visitors

ELSEWHERE = (
    f"the memory of other running workers, for {SECONDS / 60:g} minutes at most",
    "the files that were imported, from which the customer would come back if they were imported again",
    "backups, and a PostgreSQL server's write-ahead log until it is recycled",
    "what other programs have fetched: lists in e-mail tools, exports, logs of proxies",
)
KEPT = "models hold numbers per product, none per customer; they were fitted with this customer's rows until they are trained anew"


def forget_customer(
    store: Store, lake: Lake, customer_id: str, *, refused_folder: Path, now: datetime
) -> dict[str, Any]:
    """The receipt: each place and how many rows were removed there, and what remains elsewhere."""
    # the store may know of visits which the lake does not know to be theirs
    visitors = known_visitors(store, customer_id)
    places = {f"store/{name}": count for name, count in forget_in_store(store, customer_id).items()}
    places |= {f"lake/{name}": count for name, count in lake.forget(customer_id, visitors=visitors).items()}
    refused = _forget_refused(refused_folder, customer_id)
    if refused:
        places["refused rows"] = refused
    return {
        "forgotten_at": moment_text(now),
        "found": bool(places),
        "rows_removed": places,
        "models": KEPT,
        "remains_elsewhere": list(ELSEWHERE),
    }


def export_customer(store: Store, lake: Lake, customer_id: str, *, now: datetime) -> dict[str, Any] | None:
    """Everything held of a customer, as JSON values; None where nothing is."""
    found = lake.rows_of(customer_id, visitors=known_visitors(store, customer_id))
    rows = {f"lake/{name}": _records(frame) for name, frame in found.items()}
    held = held_in_store(store, customer_id)
    for history in held.get("histories", []):
        history["interactions"] = interactions_in(history.pop("body"))
    rows |= {f"store/{name}": json.loads(json.dumps(kept, default=str)) for name, kept in held.items()}
    return {"customer_id": customer_id, "exported_at": moment_text(now), "rows": rows} if rows else None


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = json.loads(frame.to_json(orient="records", date_format="iso", date_unit="us"))
    return [{name: value for name, value in record.items() if value is not None} for record in records]


def _forget_refused(folder: Path, customer_id: str) -> int:
    """Take the customer's rows out of the files of refused rows."""
    removed = 0
    for file in sorted(folder.glob("*.csv")):
        rows = pd.read_csv(file, dtype=str, keep_default_na=False)
        theirs = rows.apply(lambda column: column.str.strip() == customer_id).any(axis=1)
        if theirs.any():
            rows[~theirs].to_csv(file, index=False)
            removed += int(theirs.sum())
    return removed
