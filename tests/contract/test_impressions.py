"""What the service showed, as impressions of the lake, from either store."""

import json
from datetime import datetime, timedelta
from pathlib import Path

import ibis
import pandas as pd
import pytest

from regulars.as_of import known_tables
from regulars.lake import Lake
from serving.services.compaction import Compacted, compact
from serving.services.forget import export_customer, forget_customer
from serving.services.impressions import IMPRESSIONS
from serving.store import Store
from serving.store.events import EventRow, add_events, set_compacted
from serving.store.shown import ShownRow, add_shown, remove_shown
from tests.builders import at

NOW = at("2024-05-01")
HOUR = timedelta(hours=1)


def show(store: Store, name: str, *products: str, when: datetime = NOW, **who: str) -> None:
    """A recommendation with a slot ``home`` of all products but the last, which is in a slot ``cart``."""
    slots = [("home", products[:-1]), ("cart", products[-1:])]
    told = [{"placement": place, "items": [[one, 0.5, 0.25] for one in shown]} for place, shown in slots]
    everybody = dict.fromkeys(("customer_id", "anonymous_id", "session_id")) | who
    row = ShownRow(
        name, policy="recommender-3", slots=json.dumps(told), summary="", product_ids=json.dumps(products),
        created_at=when, **everybody,
    )  # fmt: skip
    with store.writing() as connection:
        add_shown(connection, [row])


def send(store: Store, name: str, **who: str) -> None:
    everybody = {"customer_id": None, "anonymous_id": None, "session_id": "s"} | who
    row = EventRow(
        origin="server", message_id=name, received_at=NOW, occurred_at=NOW, name="Page Viewed", touched=None,
        body=json.dumps({"properties": {}}), **everybody,
    )  # fmt: skip
    with store.writing() as connection:
        add_events(connection, [row])


def moved(store: Store, folder: Path) -> Compacted:
    return compact(store, Lake(folder / "lake"), timezone="UTC", refused_folder=folder / "refused")


def held(folder: Path, as_of: str = "2030-01-01") -> pd.DataFrame:
    tables = known_tables(Lake(folder / "lake").tables(ibis.duckdb.connect()), as_of=at(as_of))
    if "impressions" not in tables:
        return pd.DataFrame(columns=["recommendation_id"])
    return tables["impressions"].execute().sort_values(["shown_at", "recommendation_id", "rank", "product_id"])


def test_each_product_shown_becomes_one_impression(store: Store, tmp_path: Path) -> None:
    show(store, "rec_1", "tea", "pot", "cup", customer_id="ann", anonymous_id="v", session_id="s")
    assert moved(store, tmp_path).shown == 1
    rows = held(tmp_path)
    assert rows[["placement", "product_id", "rank"]].values.tolist() == [
        ["cart", "cup", 1],
        ["home", "tea", 1],
        ["home", "pot", 2],
    ]
    same = rows.drop(columns=["placement", "product_id", "rank"]).drop_duplicates()
    assert same.to_dict("records") == [
        {
            "recommendation_id": "rec_1", "shown_at": pd.Timestamp("2024-05-01"), "customer_id": "ann",
            "anonymous_id": "v", "session_id": "s", "score": 0.5, "propensity": 0.25, "policy": "recommender-3",
        }
    ]  # fmt: skip
    assert len(held(tmp_path, "2024-05-01")) == 0  # what is shown at a moment is not known before it
    assert len(held(tmp_path, "2024-05-02")) == 3


def test_moved_twice_they_are_there_once_also_late_ones_and_many_of_one_moment(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.services.compaction.SHOWN_AT_ONCE", 2)
    for number in range(5):
        show(store, f"rec_{number}", "tea", "pot")
    show(store, "rec_5", "tea", "pot", when=NOW + HOUR)
    assert moved(store, tmp_path).shown == 6
    assert moved(store, tmp_path).shown == 0
    assert held(tmp_path)["recommendation_id"].value_counts().to_dict() == {f"rec_{n}": 2 for n in range(6)}
    show(store, "late", "tea", "pot", when=NOW + HOUR / 2)  # written after a later one was moved
    before = Lake(tmp_path / "lake").manifest()
    moved(store, tmp_path)
    assert set(held(tmp_path)["recommendation_id"]) == {"late", *(f"rec_{n}" for n in range(6))}
    assert Lake(tmp_path / "lake").manifest() != before


def test_killed_in_the_middle_they_are_there_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.services.compaction.SHOWN_AT_ONCE", 2)
    for number in range(5):
        show(store, f"rec_{number}", "tea", "pot", when=NOW + number * HOUR)

    def killed(store: Store, seq: int, name: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("serving.services.compaction.set_compacted", killed)
        with pytest.raises(KeyboardInterrupt):
            moved(store, tmp_path)
    assert set(held(tmp_path)["recommendation_id"]) == {"rec_0", "rec_1"}
    assert moved(store, tmp_path).shown == 5
    assert held(tmp_path)["recommendation_id"].value_counts().to_dict() == {f"rec_{n}": 2 for n in range(5)}
    before = Lake(tmp_path / "lake").manifest()
    set_compacted(store, 0, IMPRESSIONS)
    moved(store, tmp_path)
    assert Lake(tmp_path / "lake").manifest() == before
    remove_shown(store, before=NOW + 30 * HOUR)  # the store keeps it for a while only, the lake for good
    moved(store, tmp_path)
    assert len(held(tmp_path)) == 10


def test_a_forgotten_customers_impressions_are_handed_over_and_removed(store: Store, tmp_path: Path) -> None:
    send(store, "m", customer_id="ann", anonymous_id="v")
    show(store, "own", "tea", "pot", customer_id="ann")
    show(store, "visit", "tea", "pot", anonymous_id="v")
    show(store, "bobs", "tea", "pot", customer_id="bob", session_id="s")
    moved(store, tmp_path)
    lake = Lake(tmp_path / "lake")
    told = export_customer(store, lake, "ann", now=NOW)
    assert told is not None
    assert {row["recommendation_id"] for row in told["rows"]["lake/impressions"]} == {"own", "visit"}
    receipt = forget_customer(store, lake, "ann", refused_folder=tmp_path / "refused", now=NOW)
    assert receipt["rows_removed"]["lake/impressions"] == 4
    assert set(held(tmp_path)["recommendation_id"]) == {"bobs"}
    moved(store, tmp_path)  # the newest hour is read again: shown to nobody
    rows = held(tmp_path).set_index("recommendation_id")
    assert rows.loc[["own", "visit"], ["customer_id", "anonymous_id", "session_id"]].isna().all(axis=None)


def test_a_visit_in_the_lake_is_forgotten_also_where_only_the_store_knows_whose_it_was(
    store: Store, tmp_path: Path
) -> None:
    send(store, "visit", anonymous_id="v")
    show(store, "own", "tea", "pot", anonymous_id="v")
    moved(store, tmp_path)
    send(store, "identify", customer_id="ann", anonymous_id="v")  # not in the lake yet
    lake = Lake(tmp_path / "lake")
    told = export_customer(store, lake, "ann", now=NOW)
    assert told is not None
    assert {"lake/impressions", "lake/events", "store/events"} <= set(told["rows"])
    receipt = forget_customer(store, lake, "ann", refused_folder=tmp_path / "refused", now=NOW)
    assert receipt["rows_removed"]["lake/impressions"] == 2
    assert receipt["rows_removed"]["lake/events"] == 1
