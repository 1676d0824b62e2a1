"""What was shown, clicked and bought, over a socket, against sums made by hand."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import ibis
import pytest

from features.impressions import followed_impressions
from regulars.lake import Lake
from serving.services.attribution import WINDOW, attribute
from serving.services.compaction import compact
from serving.services.forget import forget_customer
from serving.store import open_store
from tests.integration.test_events import fresh_database, statuses, track
from tests.published import ready
from tests.services import ROOT, Service, until


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    several = {} if request.param == "sqlite" else {"database": fresh_database(request), "workers": 2}
    with ready(tmp_path, **several) as made:
        yield made


def sold(order_id: str, *lines: tuple[str, float, float]) -> dict[str, Any]:
    products = [{"product_id": product, "quantity": quantity, "price": price} for product, quantity, price in lines]
    return {"order_id": order_id, "products": products}


def told(answer: dict[str, Any]) -> dict[str, str]:
    return {"recommendation_id": answer["recommendation_id"]}


def report(service: Service, query: str = "") -> dict[str, dict[str, Any]]:
    answer = service.ask(f"/v1/reports/placements{query}", scope="lists")
    assert answer.status_code == 200, answer.text
    return {item.pop("placement"): item for item in answer.json()["items"]}


def row(views: int, products: int, clicks: int, orders: int, revenue: float, *clicked: float) -> dict[str, Any]:
    names = ("views", "products", "clicks", "orders", "revenue", "orders_clicked", "revenue_clicked")
    return dict(zip(names, (views, products, clicks, orders, revenue, *clicked), strict=True))


def test_clicks_and_orders_go_back_to_what_was_shown(service: Service) -> None:
    home = service.ask("/v1/recommendations?anonymous_id=v1&limit=6").json()
    assert [item["product_id"] for item in home["items"]][:2] == ["tea", "pot"]
    service.ask("/v1/products/axe/similar?anonymous_id=v1&limit=2")  # saw, nail, in "product"
    slots = [{"placement": "cart", "limit": 1}, {"placement": "home", "limit": 2}]
    page = service.send("/v1/recommendations", {"anonymous_id": "v2", "placements": slots}).json()
    assert [[item["product_id"] for item in slot["items"]] for slot in page["placements"]] == [["tea"], ["pot", "axe"]]
    named = {"product_id": "tea"} | told(home)
    sent = [
        track("Product Clicked", anonymousId="v1", properties=named),
        track("Product Viewed", anonymousId="v1", properties=named),  # the same click
        track("Product Viewed", anonymousId="v1", properties={"product_id": "nail"}),  # shown in "product" last
        track("Product Viewed", anonymousId="v1", properties={"product_id": "cup"}),  # sold out, so never shown
        track("Product Viewed", anonymousId="v3", properties={"product_id": "tea"}),  # to whom nothing was shown
        track("Product Added", anonymousId="v2", properties={"product_id": "tea"}),  # in "cart"
        # v1 buys tea (clicked in home: 2 x 3), axe (only shown in home: 1 x 5), and cup, which was never shown
        track("Order Completed", anonymousId="v1", properties=sold("A", ("tea", 2, 3), ("axe", 1, 5), ("cup", 1, 9))),
        # the same order again, and one that a page claims
        track("Order Completed", anonymousId="v1", properties=sold("A", ("tea", 2, 3))),
        # v2 buys what was shown in two slots: tea (clicked in cart: 1 x 3), pot (shown in home: 1 x 4)
        track("Order Completed", anonymousId="v2", properties=sold("B", ("tea", 1, 3), ("pot", 1, 4))),
        # the mail program names the recommendation
        track("Order Completed", userId="c9", properties=sold("C", ("axe", 1, 5)) | told(page)),
    ]  # fmt: skip
    assert statuses(service.send("/v1/batch", {"batch": sent}, scope="events")) == ["accepted"] * len(sent)
    claimed = track("Order Completed", anonymousId="v1", properties=sold("D", ("tea", 100, 3)))
    assert statuses(service.send("/v1/track", claimed, scope="storefront")) == ["accepted"]
    expected = {
        "home": row(2, 7, 1, 3, 2 * 3 + 5 + 4 + 5, 2, 2 * 3 + 5),
        "product": row(1, 2, 1, 0, 0, 0, 0),
        "cart": row(1, 1, 1, 1, 3, 1, 3),
    }
    assert report(service) == expected
    assert report(service) == expected
    today = datetime.now(UTC).date()
    assert report(service, f"?from={today - timedelta(days=1)}&to={today}") == expected
    assert report(service, "?from=2024-01-01&to=2024-01-31") == {}
    assert service.ask("/v1/reports/placements?from=2024-02-01&to=2024-01-01").status_code == 422
    assert service.ask("/v1/reports/placements", scope="storefront").status_code == 403
    env = os.environ | {"REGULARS_HOME": str(service.home), "REGULARS_DATABASE_URL": service.database}
    words = [sys.executable, "-m", "cli.main", "report", "placements", "--json"]
    said = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    printed = {item.pop("placement"): item for item in json.loads(said.splitlines()[-1])["items"]}
    assert printed == expected


def test_a_visit_that_turns_out_to_be_a_customers_counts_for_their_order(service: Service) -> None:
    service.ask("/v1/recommendations?anonymous_id=who&placement=email&limit=2")
    known = {"type": "identify", "userId": "una", "anonymousId": "who"}
    late = (datetime.now(UTC) + timedelta(days=1)).isoformat()  # claims the future, so it happened when it came
    bought = track("Order Completed", userId="una", timestamp=late, properties=sold("U", ("tea", 1, 7.5)))
    early = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    before = track("Order Completed", userId="una", timestamp=early, properties=sold("E", ("tea", 1, 1)))
    answer = service.send("/v1/batch", {"batch": [known, bought, before]}, scope="events")
    assert statuses(answer) == ["accepted"] * 3
    assert report(service)["email"] == row(1, 2, 0, 1, 7.5, 0, 0)
    store, lake = open_store(service.database), Lake(service.home / "lake")
    receipt = forget_customer(store, lake, "una", refused_folder=service.home / "refused", now=datetime.now(UTC))
    assert receipt["rows_removed"]["store/shown_recommendations"] == 1
    with store.reading() as connection:
        rows = connection.exec_driver_sql("select customer_id, anonymous_id from shown_recommendations").all()
    store.close()
    assert [tuple(found) for found in rows] == [(None, None)]
    assert report(service)["email"] == row(1, 2, 0, 1, 7.5, 0, 0)


def test_what_was_shown_and_clicked_can_be_learnt_from_in_the_lake(service: Service, tmp_path: Path) -> None:
    home = service.ask("/v1/recommendations?anonymous_id=v1&limit=3").json()
    shown = [item["product_id"] for item in home["items"]]
    sent = [
        track("Product Clicked", anonymousId="v1", properties={"product_id": shown[1]} | told(home)),
        {"type": "identify", "userId": "una", "anonymousId": "v1"},
        track("Order Completed", userId="una", properties=sold("U", (shown[2], 1, 4))),
    ]
    assert statuses(service.send("/v1/batch", {"batch": sent}, scope="events")) == ["accepted"] * 3
    store, lake = open_store(service.database), Lake(tmp_path / "lake")
    until(lambda: compact(store, lake, timezone="UTC", refused_folder=tmp_path / "refused").shown == 1)
    store.close()
    now = datetime.now(UTC)
    rows = followed_impressions(
        lake.tables(ibis.duckdb.connect()), start=now - timedelta(days=1), end=now, as_of=now, most=10
    )
    assert set(rows["recommendation_id"]) == {home["recommendation_id"]}
    assert rows[["product_id", "rank", "grade"]].values.tolist() == [
        [product, rank, grade] for rank, (product, grade) in enumerate(zip(shown, (0, 1, 2), strict=True), 1)
    ]


def test_what_lies_outside_the_window_is_nobodys(service: Service) -> None:
    home = service.ask("/v1/recommendations?anonymous_id=slow&limit=2").json()
    service.ask("/v1/reports/placements")  # so that it is written
    store = open_store(service.database)
    with store.writing() as connection:  # as if shown eight days and an hour ago
        back = 1_000_000 * 3600 * 193
        connection.exec_driver_sql(f"update shown_recommendations set created_at = created_at - {back}")
    sent = [
        track("Product Viewed", anonymousId="slow", properties={"product_id": "tea"}),
        track("Order Completed", anonymousId="slow", properties=sold("S", ("pot", 1, 4))),
        track("Product Viewed", anonymousId="slow", properties={"product_id": "pot"} | told(home)),
        track("Product Viewed", anonymousId="slow", properties={"product_id": "pot", "recommendation_id": "rec_made_up"}),
    ]  # fmt: skip
    assert statuses(service.send("/v1/batch", {"batch": sent}, scope="events")) == ["accepted"] * 4
    assert attribute(store, window=WINDOW) == 4
    assert attribute(store, window=WINDOW) == 0
    store.close()
    assert report(service)["home"] == row(1, 2, 1, 0, 0, 0, 0)
