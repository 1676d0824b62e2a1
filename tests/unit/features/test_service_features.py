"""Service and behaviour as features: known arithmetic, only where the table is there, and nothing that was known later."""

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest

from features.build import FEATURES, customer_features, feature_names, read_customer_features
from features.labels import cancellation_labels
from regulars.engine import connect
from regulars.errors import MissingData
from tests.builders import at, lake_tables

AS_OF = at("2024-06-01")
NOTHING = pd.NA


@pytest.fixture(scope="module")
def duck() -> ibis.BaseBackend:
    return connect("duckdb")


def day(text: str) -> datetime:
    return datetime.fromisoformat(text)


def order(customer: str, when: str, **more: Any) -> dict[str, Any]:
    named = {"order_id": f"{customer}-{when}", "customer_id": customer, "product_id": "tea", "quantity": 1.0}
    return named | {"unit_price": 10.0, "ordered_at": day(when)} | more


ORDERS = [order("ann", text) for text in ("2024-03-01", "2024-04-01", "2024-05-01", "2024-05-20")]
ORDERS += [order("bob", "2024-05-10")]


def features_of(duck: ibis.BaseBackend, **rows: list[dict[str, Any]]) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        built = customer_features(lake_tables(duck, Path(folder), orders=ORDERS, **rows), as_of=AS_OF).execute()
    return built.set_index("customer_id")


def check(found: pd.DataFrame, customer: str, **expected: Any) -> None:
    missing = [name for name, value in expected.items() if value is NOTHING]
    assert found.loc[customer, missing].isna().all(), found.loc[customer, missing]
    known = {name: value for name, value in expected.items() if value is not NOTHING}
    assert {name: found.loc[customer, name] for name in known} == pytest.approx(known)


def test_a_table_that_is_not_there_gives_no_feature(duck: ibis.BaseBackend) -> None:
    assert list(features_of(duck).columns) == list(FEATURES)
    assert set(feature_names(["orders", "surveys"])) - set(FEATURES) == {
        "count_surveys",
        "survey_score_last",
        "survey_score_mean",
        "survey_score_fall",
        "days_since_last_survey",
    }


def test_returns_by_hand(duck: ibis.BaseBackend) -> None:
    rows = [
        {"order_id": "ann-2024-03-01", "returned_at": day("2024-03-02"), "reason": "quality"},
        {"customer_id": "ann", "returned_at": day("2024-05-25"), "reason": "fit"},
        {"customer_id": "ann", "returned_at": day("2024-06-01"), "reason": "late"},
    ]
    rows = [row | {"return_id": str(place), "product_id": "tea", "quantity": 1.0} for place, row in enumerate(rows)]
    found = features_of(duck, returns=rows)
    check(
        found,
        "ann",
        count_returns=2.0,
        count_returns_90d=1.0,
        count_returns_since_order=1.0,
        count_faulty_returns=1.0,
        return_share_lines=0.5,
        days_since_last_return=7.0,
    )
    check(found, "bob", count_returns=0.0, return_share_lines=NOTHING, days_since_last_return=NOTHING)


def test_parcels_against_promise_by_hand(duck: ibis.BaseBackend) -> None:
    """Half a day early, two days late, one that comes after the moment (promised 3 days before it), one not due yet."""
    rows = [
        ("ann-2024-03-01", "2024-03-05", "2024-03-04 12:00"),
        ("ann-2024-04-01", "2024-04-03", "2024-04-05"),
        ("ann-2024-05-01", "2024-05-29", "2024-06-02"),
        ("ann-2024-05-20", "2024-06-04", "2024-06-20"),
        ("bob-2024-05-10", "2024-05-12", "2024-05-12"),
    ]
    found = features_of(
        duck,
        deliveries=[
            {"order_id": name, "promised_at": day(promised), "delivered_at": day(came)} for name, promised, came in rows
        ],
    )
    check(
        found,
        "ann",
        count_late_parcels=2.0,
        count_late_parcels_90d=2.0,
        late_parcel_share=2 / 3,
        days_late_last_parcel=3.0,
        days_late_max=3.0,
        days_to_deliver_mean=(3.5 + 4.0) / 2,
    )
    check(found, "bob", count_late_parcels=0.0, late_parcel_share=0.0, days_late_last_parcel=0.0)


def test_a_parcel_whose_arrival_nobody_recorded_is_not_late_for_ever(duck: ibis.BaseBackend) -> None:
    rows = [{"order_id": "ann-2024-03-01", "promised_at": day("2024-03-05")}]
    check(features_of(duck, deliveries=rows), "ann", count_late_parcels=0.0, days_late_last_parcel=NOTHING)


def test_tickets_by_hand(duck: ibis.BaseBackend) -> None:
    rows = [
        ("2024-03-03", "2024-03-03 02:00", "2024-03-04", 0.2),
        ("2024-05-21", "2024-05-21 06:00", "2024-06-02", 0.9),
        ("2024-05-31", "2024-06-01 01:00", None, None),
        ("2024-06-02", "2024-06-02 01:00", None, None),
    ]
    found = features_of(
        duck,
        tickets=[
            {"ticket_id": opened, "customer_id": "ann", "opened_at": day(opened)}
            | {"first_response_at": day(first), "resolved_at": done and day(done), "satisfaction": rated}
            for opened, first, done, rated in rows
        ],
    )
    check(
        found,
        "ann",
        count_tickets=3.0,
        count_tickets_90d=3.0,
        count_tickets_since_order=2.0,
        count_open_tickets=2.0,
        hours_to_first_response_mean=4.0,
        hours_to_resolution_mean=24.0,
        ticket_satisfaction_mean=0.2,
        days_since_last_ticket=1.0,
    )
    check(found, "bob", count_tickets=0.0, count_open_tickets=0.0, hours_to_first_response_mean=NOTHING)


def test_two_bad_experiences_in_a_row(duck: ibis.BaseBackend) -> None:
    """Late in March, well in April, faulty in May, a ticket after the last: three of four, two in a row."""
    late = {"order_id": "ann-2024-03-01", "promised_at": day("2024-03-05"), "delivered_at": day("2024-03-07")}
    back = {"order_id": "ann-2024-05-01", "returned_at": day("2024-05-09"), "reason": "damaged"}
    asked = [
        {"customer_id": "ann", "ticket_id": "1", "opened_at": day("2024-05-22")},
        {"customer_id": "bob", "ticket_id": "2", "opened_at": day("2024-05-25")},
    ]
    found = features_of(
        duck,
        deliveries=[late],
        returns=[back | {"return_id": "1", "product_id": "tea", "quantity": 1.0, "customer_id": "ann"}],
        tickets=asked,
    )
    check(
        found,
        "ann",
        count_bad_orders=3.0,
        count_bad_orders_90d=2.0,
        bad_order_share=0.75,
        count_bad_orders_in_a_row=2.0,
    )
    check(found, "bob", count_bad_orders=0.0, count_bad_orders_in_a_row=0.0, bad_order_share=NOTHING)


def test_an_incident_without_a_table_of_returns_or_tickets(duck: ibis.BaseBackend) -> None:
    late = {"order_id": "bob-2024-05-10", "promised_at": day("2024-05-12"), "delivered_at": day("2024-05-18")}
    check(features_of(duck, deliveries=[late]), "bob", count_bad_orders=1.0, count_bad_orders_in_a_row=1.0)


def test_surveys_by_hand(duck: ibis.BaseBackend) -> None:
    scores = {"2024-02-01": 9.0, "2024-04-01": 10.0, "2024-05-30": 4.0, "2024-06-01": 1.0}
    rows = [{"customer_id": "ann", "answered_at": day(when), "score": score} for when, score in scores.items()]
    check(
        features_of(duck, surveys=rows),
        "ann",
        count_surveys=3.0,
        survey_score_last=4.0,
        survey_score_mean=23 / 3,
        survey_score_fall=6.0,
        days_since_last_survey=2.0,
    )


def test_messages_and_fatigue_by_hand(duck: ibis.BaseBackend) -> None:
    """Four in 90 days, the second opened and clicked; the last is opened only after the moment."""
    rows = [
        {"sent_at": day("2024-01-01"), "opened_at": day("2024-01-02")},
        {"sent_at": day("2024-04-01")},
        {"sent_at": day("2024-04-10"), "opened_at": day("2024-04-12"), "clicked_at": day("2024-04-12")},
        {"sent_at": day("2024-05-10"), "unsubscribed_at": day("2024-05-22")},
        {"sent_at": day("2024-05-31"), "opened_at": day("2024-06-02")},
    ]
    rows = [row | {"message_id": str(n), "customer_id": "ann", "channel": "email"} for n, row in enumerate(rows)]
    check(
        features_of(duck, messages=rows),
        "ann",
        count_messages_30d=2.0,
        count_messages_90d=4.0,
        message_open_share_90d=0.25,
        message_click_share_90d=0.25,
        count_messages_since_opened=2.0,
        days_since_last_opened=50.0,
        count_unsubscribes=1.0,
        days_since_unsubscribed=10.0,
    )


def test_browsing_carts_and_wishes_by_hand(duck: ibis.BaseBackend) -> None:
    """Bob ordered on May 10; he is known by cookie from the 12th on, which takes the visit of the 11th with it."""
    rows = [
        ("2024-05-09", "Product Viewed", "bob"),
        ("2024-05-11", "Product Viewed", None),
        ("2024-05-12", "Product Viewed", "bob"),
        ("2024-05-12 01:00", "Product Added", "bob"),
        ("2024-05-12 02:00", "Product Added", "bob"),
        ("2024-05-12 03:00", "Product Removed", "bob"),
        ("2024-05-28", "Product Viewed", "bob"),
        ("2024-05-28 01:00", "Product Added to Wishlist", "bob"),
        ("2024-04-02", "Product Added to Wishlist", "ann"),
        ("2024-04-03", "Product Removed from Wishlist", "ann"),
        ("2024-06-02", "Product Viewed", "bob"),
    ]
    events = [
        {"event_id": str(n), "occurred_at": day(when), "name": name, "customer_id": who, "product_id": "tea"}
        | {"anonymous_id": "cookie-bob" if who != "ann" else "cookie-ann"}
        for n, (when, name, who) in enumerate(rows)
    ]
    found = features_of(duck, events=events)
    check(
        found,
        "bob",
        count_views_7d=1.0,
        count_views_30d=4.0,
        count_visit_days_30d=4.0,
        count_views_since_order=3.0,
        days_since_last_visit=4 - 1 / 24,
        count_left_in_cart=1.0,
        days_since_left_in_cart=20 - 2 / 24,
        count_wishes=1.0,
        count_wishes_30d=1.0,
        days_since_last_wish=4 - 1 / 24,
    )
    check(found, "ann", count_wishes=0.0, count_left_in_cart=0.0, days_since_left_in_cart=NOTHING)


def test_points_by_hand(duck: ibis.BaseBackend) -> None:
    points = {"2024-01-01": 100.0, "2024-04-01": 30.0, "2024-05-01": -50.0, "2024-06-01": 999.0}
    rows = [{"customer_id": "ann", "at": day(when), "reason": "order", "points": n} for when, n in points.items()]
    check(
        features_of(duck, loyalty=rows),
        "ann",
        points_balance=80.0,
        points_90d=30.0,
        count_points_spent_90d=1.0,
        days_since_last_points=31.0,
    )


def test_referrals_by_hand(duck: ibis.BaseBackend) -> None:
    rows = [
        {"customer_id": "bob", "referred_by": "ann", "created_at": day("2024-05-01")},
        {"customer_id": "cy", "referred_by": "ann", "created_at": day("2024-05-02")},
        {"customer_id": "dan", "referred_by": "ann", "created_at": day("2024-06-02")},
    ]
    found = features_of(duck, customers=rows)
    check(found, "ann", count_referrals=2.0, was_referred=0.0)
    check(found, "bob", count_referrals=0.0, was_referred=1.0)


def test_subscriptions_by_hand(duck: ibis.BaseBackend) -> None:
    rows = [
        {"started_at": day("2024-01-01"), "renews_at": day("2024-06-11"), "paused_at": day("2024-05-01")},
        {"started_at": day("2024-01-01"), "renews_at": day("2024-06-21"), "cancelled_at": day("2024-06-05")},
        {"started_at": day("2024-01-01"), "renews_at": day("2024-06-03"), "cancelled_at": day("2024-05-22")},
    ]
    rows = [row | {"subscription_id": str(place), "customer_id": "ann"} for place, row in enumerate(rows)]
    check(features_of(duck, subscriptions=rows), "ann", days_to_renewal=NOTHING)  # an export of some later day
    check(
        features_of(duck, subscriptions=[row | {"received_at": day("2024-05-02")} for row in rows]),
        "ann",
        count_subscriptions=2.0,
        count_subscriptions_paused=1.0,
        count_subscriptions_cancelled=1.0,
        days_to_renewal=10.0,
        days_since_subscription_cancelled=10.0,
    )


def test_cancellation_within_the_horizon_is_a_label(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    """Of those that run: one ends within, one on the last day's end, one later; one had ended, one began after."""
    ends = {"ann": "2024-06-01", "bob": "2024-06-11", "cy": None, "dan": "2024-05-31", "eve": "2024-06-05"}
    rows = [
        {"subscription_id": who, "customer_id": who, "cancelled_at": ended and day(ended)}
        | {"started_at": day("2024-06-02" if who == "eve" else "2024-01-01")}
        for who, ended in ends.items()
    ]
    tables = lake_tables(duck, tmp_path, orders=[*ORDERS, order("ann", "2024-07-01")], subscriptions=rows)
    labels = cancellation_labels(tables, as_of=AS_OF, horizon_days=10).execute()
    assert dict(zip(labels["customer_id"], labels["cancelled"], strict=True)) == {"ann": 1, "bob": 0, "cy": 0}
    with pytest.raises(MissingData, match="regulars import subscriptions"):
        cancellation_labels({"orders": tables["orders"]}, as_of=AS_OF, horizon_days=10)


def test_read_as_rows_they_are_the_same(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    rows = {"surveys": [{"customer_id": "ann", "answered_at": day("2024-05-30"), "score": 4.0}]}
    tables = lake_tables(duck, tmp_path, orders=ORDERS, **rows)
    read = read_customer_features(tables, as_of=AS_OF).sort_values("customer_id", ignore_index=True)
    built = customer_features(tables, as_of=AS_OF).execute().sort_values("customer_id", ignore_index=True)
    pd.testing.assert_frame_equal(read, built)
