"""What was known at a moment."""

from datetime import datetime
from pathlib import Path

import ibis
import pytest

from regulars.as_of import known_tables, moment
from regulars.engine import connect
from tests.builders import at, lake_tables


@pytest.fixture(scope="module")
def duck() -> ibis.BaseBackend:
    return connect("duckdb")


def day(number: int) -> datetime:
    return datetime(2024, 5, number)


def test_a_moment_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        moment(datetime(2024, 5, 1))


def test_outcomes_that_came_later_are_null_and_take_what_they_brought(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    ticket = {"ticket_id": "t", "customer_id": "a", "opened_at": day(1), "first_response_at": day(2)}
    ticket |= {"resolved_at": day(9), "satisfaction": 0.2}
    tables = lake_tables(duck, tmp_path, tickets=[ticket])
    early = known_tables(tables, as_of=at("2024-05-05"))["tickets"].execute().iloc[0]
    late = known_tables(tables, as_of=at("2024-05-10"))["tickets"].execute().iloc[0]
    assert early["first_response_at"] == day(2)
    assert early[["resolved_at", "satisfaction"]].isna().all()
    assert late["satisfaction"] == 0.2


def test_a_promise_stays_where_the_delivery_is_not_known_yet(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    row = {"order_id": "o", "shipped_at": day(1), "promised_at": day(20), "delivered_at": day(9)}
    known = known_tables(lake_tables(duck, tmp_path, deliveries=[row]), as_of=at("2024-05-05"))
    found = known["deliveries"].execute().iloc[0]
    assert found["promised_at"] == day(20)
    assert found[["delivered_at"]].isna().all()


def test_a_row_at_the_moment_itself_is_not_known(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    rows = [{"customer_id": "a", "answered_at": day(number), "score": 5.0} for number in (4, 5)]
    known = known_tables(lake_tables(duck, tmp_path, surveys=rows), as_of=at("2024-05-05"))
    assert known["surveys"].execute()["answered_at"].tolist() == [day(4)]


def test_rows_without_a_time_are_always_known(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    tables = lake_tables(duck, tmp_path, offers=[{"offer_id": "o", "kind": "coupon"}])
    assert known_tables(tables, as_of=at("1990-01-01"))["offers"].count().execute() == 1


def test_of_two_versions_the_one_received_later_wins(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    first = {"subscription_id": "s", "customer_id": "a", "started_at": day(1)}
    changed = first | {"product_id": "p", "received_at": day(6)}
    tables = lake_tables(duck, tmp_path, subscriptions=[changed, first])
    for text, count in (("2024-05-05", 0), ("2024-05-07", 1)):
        found = known_tables(tables, as_of=at(text))["subscriptions"].execute()
        assert (len(found), int(found["product_id"].notna().sum())) == (1, count)
