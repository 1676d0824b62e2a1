"""What followed what was shown, and what was known of who saw it then."""

from pathlib import Path
from typing import Any

import ibis
import pandas as pd

from features.impressions import followed_impressions, histories_then
from tests.builders import at, lake_tables

DAY = "2024-05-10"


def when(hour: float, day: str = DAY) -> pd.Timestamp:
    return pd.Timestamp(day) + pd.Timedelta(hours=hour)


def shown(name: str, products: str, hour: float, *, placement: str = "home", day: str = DAY, **who: str) -> list[dict]:
    """One letter is one product."""
    return [
        {"recommendation_id": name, "placement": placement, "product_id": product, "shown_at": when(hour, day),
         "received_at": when(hour, day), "rank": rank} | who
        for rank, product in enumerate(products, 1)
    ]  # fmt: skip


def event(product: str | None, hour: float, *, name: str = "Product Clicked", day: str = DAY, **told: Any) -> dict:
    row = {"occurred_at": when(hour, day), "name": name, "product_id": product}
    return row | {"event_id": "-".join(map(str, (product, hour, name, day, *told.values())))} | told


def order(product: str, hour: float, customer: str, *, day: str = DAY) -> dict:
    return {"order_id": f"{customer}-{hour}", "customer_id": customer, "product_id": product, "quantity": 1.0,
            "ordered_at": when(hour, day), "unit_price": 1.0}  # fmt: skip


def grades(folder: Path, *, as_of: str = "2024-06-01", most: int = 100, **rows: list) -> dict[str, str]:
    """Of each recommendation the grades of its products, in the order of their ranks; windows are of May."""
    folder.mkdir(exist_ok=True)
    tables = lake_tables(ibis.duckdb.connect(), folder, **rows)
    found = followed_impressions(tables, start=at("2024-05-01"), end=at("2024-06-01"), as_of=at(as_of), most=most)
    return {
        str(name): "".join(map(str, part["grade"])) for name, part in found.groupby("recommendation_id", sort=False)
    }


def test_what_was_done_goes_to_the_slot_that_it_names_else_to_the_one_that_showed_it_last(tmp_path: Path) -> None:
    first, then = shown("first", "abc", 8, customer_id="ann"), shown("then", "abc", 9, customer_id="ann")
    told = grades(tmp_path, impressions=first + then, events=[
        event("b", 10, customer_id="ann"),
        event("c", 10, customer_id="ann", recommendation_id="first"),
        event("a", 10, customer_id="bob"),
        event("a", 8.5, customer_id="ann", name="Product Removed"),
    ])  # fmt: skip
    assert told == {"then": "010", "first": "001"}


def test_an_order_goes_to_what_was_clicked_before_it(tmp_path: Path) -> None:
    first, then = shown("first", "abc", 8, customer_id="ann"), shown("then", "abc", 9, customer_id="ann")
    clicks = [event("b", 8.5, customer_id="ann")]
    orders = [order("b", 12, "ann"), order("c", 12, "ann")]
    assert grades(tmp_path, impressions=first + then, events=clicks, orders=orders) == {"then": "002", "first": "020"}


def test_a_visitor_without_a_name_counts_as_the_customer_they_turned_out_to_be(tmp_path: Path) -> None:
    slot = shown("r", "ab", 8, anonymous_id="v")
    known = event(None, 9, name="Identify", customer_id="ann", anonymous_id="v")
    bought = [order("b", 12, "ann")]
    assert grades(tmp_path / "named", impressions=slot, events=[known], orders=bought) == {"r": "02"}
    assert grades(tmp_path / "unknown", impressions=slot, orders=bought) == {}
    session = shown("s", "ab", 8, session_id="s")
    assert grades(
        tmp_path / "session", impressions=session, events=[event("a", 9, anonymous_id="x", session_id="s")]
    ) == {"s": "10"}


def test_only_the_window_counts_and_what_is_known(tmp_path: Path) -> None:
    slots = shown("old", "ab", 8, day="2024-04-30", customer_id="ann") + shown("r", "ab", 8, customer_id="ann")
    slots += shown("last", "ab", 8, day="2024-05-31", customer_id="bob")
    late = event("a", 9, customer_id="ann") | {"received_at": pd.Timestamp("2024-05-20")}
    after = event("a", 9, day="2024-06-01", customer_id="bob")  # the next window's
    slow = event("b", 9, day="2024-05-20", customer_id="ann")  # more than seven days later
    events = [late, after, slow]
    assert grades(tmp_path / "now", impressions=slots, events=events, as_of="2024-07-01") == {"r": "10"}
    assert grades(tmp_path / "then", impressions=slots, events=events, as_of="2024-05-19") == {}


def test_slots_that_order_nothing_and_older_ones_than_wanted_are_left_out(tmp_path: Path) -> None:
    slots, events = [], []
    for number in range(6):
        slots += shown(f"r{number}", "ab", number, customer_id=f"c{number}")
        events += [event("a", number + 0.5, customer_id=f"c{number}")]
    slots += shown("all", "ab", 9, customer_id="x") + shown("none", "ab", 9, customer_id="y")
    events += [event("a", 9.5, customer_id="x"), event("b", 9.5, customer_id="x")]
    assert list(grades(tmp_path, impressions=slots, events=events, most=2)) == ["r5", "r4"]
    assert grades(tmp_path, impressions=slots) == {}
    assert grades(tmp_path, events=events) == {}


def test_a_history_is_what_was_known_when_it_was_shown(tmp_path: Path) -> None:
    late = event("e", 3, customer_id="ann") | {"received_at": when(20)}
    corrected = order("a", 1, "ann") | {"line_id": "1"}
    events = [
        event("c", 2, name="Product Viewed", anonymous_id="v"),
        event(None, 5, name="Identify", customer_id="ann", anonymous_id="v"),
        event("d", 8, name="Product Added", customer_id="ann"),
        event("f", 8, anonymous_id="w", session_id="s"),
        late,
    ]
    orders = [corrected, corrected | {"product_id": "z", "received_at": when(30)}]
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, events=events, orders=orders)

    def seen(hour: float, **who: str) -> list[tuple[str, str]]:
        asked = pd.DataFrame([{"number": 7, "customer_id": None, "anonymous_id": None, "session_id": None} | who])
        found = histories_then(tables, asked.assign(shown_at=when(hour)), as_of=at("2024-06-01"))
        assert set(found["number"]) <= {7}
        return list(zip(found["product_id"], found["kind"], strict=True))

    bought, viewed, cart = ("a", "purchase"), ("c", "view"), ("d", "cart")
    assert seen(4, customer_id="ann") == [bought]
    assert seen(6, customer_id="ann") == [bought, viewed]
    assert seen(9, customer_id="ann", anonymous_id="w") == [bought, viewed, cart]
    assert seen(21, customer_id="ann") == [bought, viewed, ("e", "click"), cart]
    assert seen(31, customer_id="ann")[0] == ("z", "purchase")
    assert seen(9, anonymous_id="v") == [viewed]
    assert seen(9, anonymous_id="w") == seen(9, session_id="s") == [("f", "click")]
    assert seen(9) == []
