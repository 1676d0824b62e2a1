"""Whose an anonymous visit is."""

from pathlib import Path

import ibis
import pandas as pd

from features.interactions import interactions
from tests.builders import at, lake_tables


def visitors(folder: Path, identified: list[tuple[str, str, str]], *, as_of: str) -> list[str]:
    """Whose the view of visitor v on 2024-05-20 is, after identifications (customer, occurred_at, received_at)."""
    view = {
        "event_id": "1",
        "occurred_at": "2024-05-20",
        "name": "Product Viewed",
        "anonymous_id": "v",
        "product_id": "tea",
    }
    rows = [view] + [
        {"event_id": f"i{number}", "occurred_at": occurred, "received_at": received, "name": "Identify",
         "anonymous_id": "v", "customer_id": customer}
        for number, (customer, occurred, received) in enumerate(identified)
    ]  # fmt: skip
    times = ("occurred_at", "received_at")
    events = [{k: pd.Timestamp(v) if k in times else v for k, v in row.items()} for row in rows]
    tables = lake_tables(ibis.duckdb.connect(), folder, events=events)
    return list(interactions(tables, as_of=at(as_of)).execute()["visitor_id"])


def test_a_visit_is_of_who_was_identified_within_30_days_and_not_before_that_was_received(tmp_path: Path) -> None:
    ann = ("ann", "2024-05-25", "2024-05-28")
    assert visitors(tmp_path, [ann], as_of="2024-05-27") == ["anonymous:v"]
    assert visitors(tmp_path, [ann], as_of="2024-05-29") == ["ann"]
    assert visitors(tmp_path, [("ann", "2024-06-25", "2024-06-25")], as_of="2024-07-01") == ["anonymous:v"]


def test_a_visit_is_never_reassigned_by_an_identification_that_comes_later_and_says_it_was_earlier(
    tmp_path: Path,
) -> None:
    first, later = ("ann", "2024-05-25", "2024-05-25"), ("bob", "2024-05-21", "2024-05-30")
    assert visitors(tmp_path, [first, later], as_of="2024-06-01") == ["ann"]
