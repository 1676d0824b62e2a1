"""Features: known arithmetic, no look into the future, no dependence on the order of rows, equal on every engine."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.build import (
    customer_features,
    customer_features_by_slice,
    feature_names,
    read_base,
    read_customer_features,
)
from features.customers.orders import customer_orders, order_sums
from features.customers.service import APART, BY_CUSTOMER
from features.impressions import followed_impressions, histories_then
from features.interactions import interactions
from features.labels import churn_labels
from features.products import product_features
from features.shop import shop_rhythm
from features.sources.files import import_file
from regulars.engine import connect
from regulars.errors import MissingData
from regulars.lake import Lake
from regulars.tables import TABLES
from tests.builders import at, lake_tables, shop_orders

AS_OF = at("2024-06-01")
START = datetime(2023, 3, 1)
QUICK = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def duck() -> ibis.BaseBackend:
    return connect("duckdb")


def order(customer: str, day: str, product: str = "tea", **more: Any) -> dict[str, Any]:
    named = {"order_id": f"{customer}-{day}", "customer_id": customer, "product_id": product, "quantity": 1.0}
    return named | {"unit_price": 10.0, "ordered_at": datetime.fromisoformat(day)} | more


def features_of(engine: ibis.BaseBackend, as_of: datetime = AS_OF, **rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    with tempfile.TemporaryDirectory() as folder:
        built = customer_features(lake_tables(engine, Path(folder), **rows), as_of=as_of).execute()
    return built.sort_values("customer_id").set_index("customer_id")


def test_one_customer_by_hand(duck: ibis.BaseBackend) -> None:
    rows = [
        order("ann", "2024-05-01", "tea", quantity=2.0),
        order("ann", "2024-05-01", "cup", unit_price=5.0, discount=5.0),
        order("ann", "2024-05-11", "tea", coupon_id="c1"),
        order("ann", "2024-05-31 12:00", "pot", unit_price=40.0),
        order("ann", "2024-06-01", "pot"),
    ]
    found = features_of(duck, orders=rows).loc["ann"]
    expected = {
        "days_since_last_order": 0.5,
        "days_since_first_order": 31.0,
        "count_orders": 3.0,
        "count_orders_7d": 1.0,
        "count_orders_30d": 2.0,
        "money_total": 75.0,
        "money_30d": 50.0,
        "money_per_order": 25.0,
        "money_last_order": 40.0,
        "money_max_order": 40.0,
        "count_order_days": 3.0,
        "days_first_to_last": 30.0,
        "age_days": 31.0,
        "gap_mean_days": 15.0,
        "gap_last_days": 20.0,
        "gap_max_days": 20.0,
        "count_products": 3.0,
        "products_per_order": 4 / 3,
        "repeat_product_share": 0.25,
        "discount_share_lines": 0.25,
        "discount_share_money": 5 / 80,
        "coupon_share_orders": 1 / 3,
        "count_coupons_90d": 1.0,
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert found["gap_std_days"] == pytest.approx(50**0.5)
    assert found["overdue_ratio"] == pytest.approx(1 / 15)


def test_the_newest_gaps_by_hand(duck: ibis.BaseBackend) -> None:
    """Gaps, newest first: 4, 10, 6, 40 days; the last order day is 2 days ago."""
    days = ("2024-03-31", "2024-05-10", "2024-05-16", "2024-05-26", "2024-05-30")
    rows = [order("ann", day) for day in days] + [order("bob", "2024-05-30")]
    found = features_of(duck, orders=rows)
    expected = {
        "gap_mean_last_3": 20 / 3,
        "gap_mean_last_6": 15.0,
        "gap_max_last_3": 10.0,
        "gap_max_last_6": 40.0,
        "gap_max_90d": 40.0,
        "overdue_last_3_ratio": 2 / (20 / 3),
        "overdue_max_6_ratio": 2 / 40,
    }
    assert {name: found.loc["ann", name] for name in expected} == pytest.approx(expected)
    assert found.loc["bob", list(expected)].isna().all()


def test_the_same_weeks_last_year(duck: ibis.BaseBackend) -> None:
    rows = [order("ann", day) for day in ("2023-04-01", "2023-05-20", "2023-06-10", "2023-07-10", "2024-05-01")]
    found = features_of(duck, orders=[*rows, order("bob", "2024-05-02")])
    assert found.loc["ann", "count_orders_same_weeks_last_year"] == 1.0
    assert found.loc["ann", "money_same_weeks_last_year"] == 10.0
    assert pd.isna(found.loc["bob", "count_orders_same_weeks_last_year"])
    assert found.loc["bob", "shop_order_ratio_last_year"] == 1.0


@pytest.mark.parametrize(
    ("more", "ratio"),
    [
        ((), 2.0),
        (("2023-06-01",), 2 / 2),
        (("2023-06-01", "2023-06-20"), 2 / 2),
        (("2023-05-01", "2023-06-20"), 3.0),
        (("2023-06-20", "2023-07-20"), 3.0),
        (("2023-05-01", "2023-07-20"), 2.0),
    ],
)
def test_an_order_counts_in_the_shops_year_at_its_first_line_of_those_weeks(
    duck: ibis.BaseBackend, tmp_path: Path, more: Sequence[str], ratio: float
) -> None:
    """Weeks of 2023: 28 days from 2 June over the 28 days before them; ``more`` are days of the lines of one order."""
    rows = [order("ann", day) for day in ("2023-04-01", "2023-05-20", "2023-06-02", "2023-06-29", "2024-01-01")]
    rows += [order("bob", day, day, order_id="more") for day in more]
    tables = lake_tables(duck, tmp_path, orders=rows)
    asked, counted = customer_features(tables, as_of=AS_OF).execute(), read_customer_features(tables, as_of=AS_OF)
    for found in (asked, counted):
        assert set(found["shop_order_ratio_last_year"]) == {ratio}


def test_how_often_others_buy_the_same_products_again(duck: ibis.BaseBackend, tmp_path: Path) -> None:
    """Of two buyers of tea one bought it again, of one of a cup nobody: drawn to a third of five more buyers each."""
    rows = [order("ann", "2024-05-01", "tea"), order("ann", "2024-05-01", "cup"), order("ann", "2024-05-02", "tea")]
    rows += [order("bob", "2024-05-01", "tea"), order("bob", "2024-05-01", "tea")]
    tea, cup = (1 + 5 / 3) / 7, (0 + 5 / 3) / 6
    found = features_of(duck, orders=rows)
    assert found.loc["ann", "again_share_of_products"] == pytest.approx((tea + cup + tea) / 3, abs=1e-4)
    assert found.loc["ann", "again_share_of_last_order"] == pytest.approx(tea, abs=1e-4)
    assert found.loc["bob", "again_share_of_products"] == pytest.approx(tea, abs=1e-4)
    early = features_of(duck, as_of=at("2024-05-02"), orders=rows)
    assert (early["again_share_of_products"] == 0).all()  # nobody had bought anything again


def test_categories_are_counted_where_products_have_one(duck: ibis.BaseBackend) -> None:
    products = [{"product_id": "tea", "category": "A > B"}, {"product_id": "cup", "category": "A > C"}]
    rows = [order("ann", "2024-05-01", product) for product in ("tea", "cup", "pot")]
    assert features_of(duck, orders=rows, products=products).loc["ann", "count_categories"] == 2.0


def test_orders_without_a_customer_are_nobodys(duck: ibis.BaseBackend) -> None:
    rows = [order("ann", "2024-05-01"), order("x", "2024-05-02", customer_id=None)]
    assert list(features_of(duck, orders=rows).index) == ["ann"]


def test_a_shop_without_orders_is_told_what_to_import() -> None:
    with pytest.raises(MissingData, match="regulars import orders"):
        customer_features({}, as_of=AS_OF)
    with pytest.raises(MissingData, match="regulars import orders"):
        customer_features_by_slice({}, as_of=AS_OF)


moments = st.integers(0, 900).map(lambda half_days: START + timedelta(hours=12 * half_days))
lines = st.lists(
    st.fixed_dictionaries(
        {
            "order_id": st.sampled_from([f"o{number}" for number in range(12)]),
            "customer_id": st.sampled_from(["ann", "bob", "cy", None]),
            "product_id": st.sampled_from(["tea", "cup", "pot"]),
            "ordered_at": moments,
            "quantity": st.sampled_from([1.0, 2.5]),
            "unit_price": st.sampled_from([0.0, 3.33, 19.99]),
            "discount": st.sampled_from([None, 0.5]),
            "coupon_id": st.sampled_from([None, "c"]),
            "received_at": st.one_of(st.none(), moments),
        }
    ),
    min_size=1,
    max_size=25,
)


def as_lines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with keys of their own; some are received after they happened."""
    return [row | {"line_id": str(place)} for place, row in enumerate(rows)]


def known(row: dict[str, Any]) -> bool:
    cut = AS_OF.replace(tzinfo=None)
    return row["ordered_at"] < cut and (row["received_at"] is None or row["received_at"] < cut)


@QUICK
@given(rows=lines)
def test_rows_that_were_not_known_change_no_feature(duck: ibis.BaseBackend, rows: list[dict[str, Any]]) -> None:
    given_rows = as_lines(rows)
    past = [row for row in given_rows if known(row)]
    pd.testing.assert_frame_equal(features_of(duck, orders=given_rows), features_of(duck, orders=past))


@QUICK
@given(rows=lines, seed=st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_no_feature(duck: ibis.BaseBackend, rows: list[dict[str, Any]], seed: Any) -> None:
    given_rows = as_lines(rows)
    shuffled = list(given_rows)
    seed.shuffle(shuffled)
    pd.testing.assert_frame_equal(features_of(duck, orders=given_rows), features_of(duck, orders=shuffled))


def test_a_later_correction_changes_no_earlier_feature(duck: ibis.BaseBackend) -> None:
    first = order("ann", "2024-05-01", line_id="1")
    corrected = first | {"quantity": 9.0, "received_at": datetime(2024, 6, 2)}
    found = features_of(duck, orders=[first, corrected])
    later = features_of(duck, at("2024-06-03"), orders=[first, corrected])
    assert (found.loc["ann", "money_total"], later.loc["ann", "money_total"]) == (10.0, 90.0)


@pytest.fixture(scope="module")
def spark() -> ibis.BaseBackend:
    return connect("spark")


def test_duckdb_and_spark_give_equal_tables(duck: ibis.BaseBackend, spark: ibis.BaseBackend, tmp_path: Path) -> None:
    lines = shop_orders(customers=25, days=420, end=AS_OF, seed=3).to_dict("records")
    lines += [
        order("ann", "2024-05-01", received_at=datetime(2024, 6, 2)),
        order("x", "2024-05-02", customer_id=None),
    ]
    lines = [line | {"discount": 0.1 * (place % 3), "line_id": str(place)} for place, line in enumerate(lines)]
    products = [{"product_id": f"p{number}", "category": f"A > {number % 5}"} for number in range(60)]
    events = [
        {
            "event_id": f"e{n}",
            "occurred_at": datetime(2024, 5, 1 + n),
            "name": "Product Viewed",
            "product_id": f"p{n}",
        }
        | ({"customer_id": "c1", "anonymous_id": "v"} if n == 4 else {"anonymous_id": "v" if n < 6 else "w"})
        for n in range(9)
    ]
    shown = [
        {
            "recommendation_id": f"r{n}",
            "placement": "home",
            "product_id": f"p{place}",
            "shown_at": datetime(2024, 5, 1 + n),
            "rank": place + 1,
        }
        | ({"anonymous_id": "v"} if n % 2 else {"customer_id": f"c{n}"})
        for n in range(9)
        for place in range(9)
    ]
    asked = pd.DataFrame([row | {"number": number, "session_id": None} for number, row in enumerate(shown)])
    made = []
    for engine in (duck, spark):
        tables = lake_tables(engine, tmp_path, orders=lines, products=products, events=events, impressions=shown)
        made.append(
            {
                "features": customer_features(tables, as_of=AS_OF).execute(),
                "labels": churn_labels(tables, as_of=at("2024-04-01"), horizon_days=28, lookback_days=90).execute(),
                "interactions": interactions(tables, as_of=AS_OF).execute(),
                "products": product_features(tables, as_of=AS_OF).execute(),
                "rhythm": pd.DataFrame([shop_rhythm(tables, as_of=AS_OF)]),
                "impressions": followed_impressions(
                    tables, start=at("2024-05-01"), end=AS_OF, as_of=AS_OF, most=4, without=("cart",)
                ),
                "histories then": histories_then(tables, asked, as_of=AS_OF),
            }
        )
    for name, ours in made[0].items():
        theirs = made[1][name]
        assert len(ours), name
        pd.testing.assert_frame_equal(in_order(ours), in_order(theirs), check_exact=True, check_dtype=False, obj=name)
    assert set(made[0]["features"].columns) == {"customer_id", *feature_names(tables)}


def test_a_lake_is_read_by_spark_too(duck: ibis.BaseBackend, spark: ibis.BaseBackend, tmp_path: Path) -> None:
    """Corrected, late and of an order of two customers; with a family of service."""
    lines = "".join(
        f"{n // 3},c{n // 4 % 9},p{n % 7},2024-0{1 + n % 5}-{1 + n % 27:02d},1,{n % 5}.25,\n" for n in range(90)
    )
    late = "7,c5,p0,2024-03-01,1,1,2024-07-01\n"
    (tmp_path / "orders.csv").write_text(
        "order_id,customer_id,product_id,ordered_at,quantity,unit_price,received_at\n" + lines + late
    )
    (tmp_path / "surveys.csv").write_text("customer_id,answered_at,score\nc1,2024-02-01,7\n")
    lake = Lake(tmp_path / "lake")
    for name in ("orders", "surveys"):
        file = tmp_path / f"{name}.csv"
        import_file(lake, TABLES[name], file, mapping={}, timezone="UTC", refused_folder=tmp_path / "refused")
    ours, theirs = (
        read_customer_features(lake.tables(engine), as_of=AS_OF).sort_values("customer_id", ignore_index=True)
        for engine in (duck, spark)
    )
    assert len(ours) == 9
    pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    text = table.astype(object).where(table.notna(), None)
    order = text.astype(str).sort_values(list(text.columns)).index
    return text.loc[order].reset_index(drop=True)


def service_rows(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """A row of every table of service for some of the order lines, with times before and after the moment."""
    some = [line for line in lines if line["customer_id"] and line["order_id"]][::7]
    numbered = [(str(n), line["customer_id"], line["ordered_at"], line) for n, line in enumerate(some)]
    days = [timedelta(days=n % 9, seconds=n % 5) for n in range(len(some))]
    return {
        "returns": [
            {
                "return_id": n,
                "product_id": "p1",
                "quantity": 1.0,
                "returned_at": at + later,
                "order_id": line["order_id"],
            }
            | {"reason": ("quality", "fit", None)[int(n) % 3], "customer_id": who if int(n) % 2 else None}
            for (n, who, at, line), later in zip(numbered, days, strict=True)
        ],
        "deliveries": [
            {"order_id": line["order_id"], "promised_at": at + timedelta(days=3)}
            | {"delivered_at": at + timedelta(days=1.3) + later}
            for (n, who, at, line), later in zip(numbered, days, strict=True)
        ],
        "tickets": [
            {"ticket_id": n, "customer_id": who, "opened_at": at + later, "satisfaction": 0.3}
            | {"first_response_at": at + 2 * later, "resolved_at": at + 3 * later}
            for (n, who, at, line), later in zip(numbered, days, strict=True)
        ],
        "surveys": [
            {"customer_id": who, "answered_at": at + later, "score": int(n) % 11 / 1.5}
            for (n, who, at, line), later in zip(numbered, days, strict=True)
        ],
        "messages": [
            {"message_id": n, "customer_id": who, "channel": "email", "sent_at": at}
            | {"opened_at": at + later if int(n) % 3 else None, "clicked_at": at + later if int(n) % 4 == 0 else None}
            | {"unsubscribed_at": at + later if int(n) % 5 == 0 else None}
            for (n, who, at, line), later in zip(numbered, days, strict=True)
        ],
        "loyalty": [
            {"customer_id": who, "at": at, "reason": n, "points": float(int(n) % 7 - 3)}
            for n, who, at, line in numbered
        ],
        "subscriptions": [
            {"subscription_id": n, "customer_id": who, "started_at": at, "renews_at": at + timedelta(days=400)}
            | {"cancelled_at": at + later if int(n) % 2 else None}
            for (n, who, at, line), later in zip(numbered, days, strict=True)
        ],
        "customers": [{"customer_id": who, "referred_by": "c1"} for who in sorted({who for _, who, _, _ in numbered})],
    }


def test_duckdb_and_spark_give_equal_families_of_service(
    duck: ibis.BaseBackend, spark: ibis.BaseBackend, tmp_path: Path
) -> None:
    """Given equal tables, as known, and orders: those are compared elsewhere."""
    lines = shop_orders(customers=12, days=300, end=AS_OF, seed=3).to_dict("records")
    events = [
        {"event_id": f"e{n}", "occurred_at": datetime(2024, 5, 1 + n), "product_id": "p1"}
        | {"name": "Product Added" if n % 2 else "Product Viewed", "anonymous_id": "v"}
        | {"customer_id": "c1" if n % 4 == 0 else None}
        for n in range(9)
    ]
    rows = service_rows(lines) | {"orders": lines, "events": events}
    tables = lake_tables(duck, tmp_path, **rows)
    base = read_base(tables, as_of=AS_OF)
    ordered = customer_orders(base.known, as_of=AS_OF)
    orders, sums = ibis.memtable(ordered.orders.execute()), ibis.memtable(order_sums(ordered).execute())
    known = {name: ibis.memtable(table.execute(), schema=table.schema()) for name, table in base.known.items()}
    given = replace(ordered, orders=orders)
    families = [family.make(known, given, sums).order_by("customer_id") for family in (*BY_CUSTOMER, *APART)]
    for name in ("spark.sql.codegen.wholeStage", "spark.sql.adaptive.enabled"):
        spark._session.conf.set(name, "false")  # so small a table is not worth compiling for
    made = [[engine.execute(family) for family in families] for engine in (duck, spark)]
    for ours, theirs in zip(*made, strict=True):
        assert len(ours)
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True, check_dtype=False)
