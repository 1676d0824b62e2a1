"""Events over a socket: Segment's own client, refusals, what counts on the next request, and how it reaches the lake."""

import gzip
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import ibis
import jwt
import pytest
import segment.analytics

from features.interactions import interactions
from regulars.lake import Lake
from serving.services.compaction import compact
from serving.services.keys import create_key
from serving.store import open_store
from tests.builders import at
from tests.published import ready
from tests.services import SECRET, Service, start, until


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("events")
    several = {} if request.param == "sqlite" else {"database": fresh_database(request), "workers": 2}
    with ready(home, **several) as made:
        yield made


def fresh_database(request: pytest.FixtureRequest) -> str:
    """A database of its own in the PostgreSQL server of the tests."""
    import psycopg  # noqa: PLC0415 - only where PostgreSQL is tested

    address = request.getfixturevalue("postgresql")
    with psycopg.connect(address, autocommit=True) as connection:
        name = f"events_{os.getpid()}_{abs(hash(request.node.nodeid)) % 10**8}"
        connection.execute(f"create database {name}")
    base, question, rest = address.partition("?")
    return base.rpartition("/")[0] + f"/{name}" + question + rest


def track(name: str, **told: Any) -> dict[str, Any]:
    return {"type": "track", "event": name, **told}


def statuses(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [event["status"] for event in answer.json()["events"]]


def liked(service: Service, query: str, **asked: Any) -> list[str]:
    body = service.ask(f"/v1/recommendations?{query}&limit=6", **asked).json()
    return [item["product_id"] for item in body["items"]]


def token(customer: str) -> str:
    return jwt.encode({"sub": customer, "exp": datetime.now(UTC) + timedelta(minutes=5)}, SECRET, algorithm="HS256")


def lake_of(service: Service, folder: Path) -> Lake:
    """A lake with everything that the service received."""
    lake, store = Lake(folder), open_store(service.database)
    compact(store, lake, timezone="UTC", refused_folder=folder / "refused")
    store.close()
    return lake


def forget_what_was_moved(service: Service) -> None:
    store = open_store(service.database)
    with store.writing() as connection:
        connection.exec_driver_sql("delete from state where name in ('compacted_events', 'compacted_changes')")
    store.close()


def test_segments_python_client_works_with_only_the_host_set(service: Service, tmp_path: Path) -> None:
    failed: list[Any] = []
    client = segment.analytics.Client(
        service.keys["events"], host=service.address, gzip=True, on_error=lambda error, _: failed.append(error)
    )
    client.identify("seg-1", {"email": "seg@example.com", "plan": "gold"}, anonymous_id="seg-visitor")
    client.track("seg-1", "Product Viewed", {"product_id": "saw"})
    client.track(
        "seg-1", "Order Completed", {"order_id": "S1", "products": [{"product_id": "axe", "quantity": 2, "price": 5}]}
    )
    client.page("seg-1", "Shop", "Home")
    client.shutdown()
    assert failed == []
    tables = lake_of(service, tmp_path / "lake").tables(ibis.duckdb.connect())
    events = tables["events"].filter(ibis._.customer_id == "seg-1").execute()
    assert sorted(events["name"]) == ["Identify", "Order Completed", "Page Viewed", "Product Viewed"]
    order = tables["orders"].filter(ibis._.order_id == "S1").execute().iloc[0]
    assert (order["customer_id"], order["product_id"], order["quantity"], order["unit_price"]) == ("seg-1", "axe", 2, 5)
    customer = tables["customers"].filter(ibis._.customer_id == "seg-1").execute().iloc[0]
    assert (customer["email"], json.loads(customer["attributes"])) == ("seg@example.com", {"plan": "gold"})


def test_each_event_of_a_batch_is_answered_for_itself(service: Service) -> None:
    good = track("Product Viewed", anonymousId="v1", messageId="m1", properties={"product_id": "cup"})
    batch = [good, good, track("Product Viewed", messageId="m2"), {"type": "chat"}, 7]
    answer = service.send("/v1/batch", {"batch": batch}, scope="events")
    assert statuses(answer) == ["accepted", "duplicate", "rejected", "rejected", "rejected"]
    assert "userId or anonymousId" in answer.json()["events"][2]["reason"]
    assert statuses(service.send("/v1/t", good, scope="events")) == ["duplicate"]


UNREADABLE = [
    ({"event": "X", "timestamp": "yesterday"}, "timestamp"),
    ({"event": "X", "properties": []}, "properties must be an object"),
    ({}, "needs the event's name"),
    ({"event": "X", "properties": {"note": "x" * 40_000}}, "32 KB"),
    ({"event": "X", "anonymousId": "v" * 600}, "512"),
    ({"event": "Order Completed", "properties": {"order_id": "1"}}, "products"),
    (
        {"event": "Order Completed", "properties": {"order_id": "1", "products": [{"product_id": "a", "price": -1}]}},
        "price of 0 or more",
    ),
    ({"event": "Product Viewed", "properties": {"product_id": "a", "price": "much"}}, "price must be a number"),
]


@pytest.mark.parametrize(("told", "reason"), UNREADABLE)
def test_an_event_that_cannot_be_read_is_refused_with_its_reason(
    service: Service, told: dict[str, Any], reason: str
) -> None:
    answer = service.send("/v1/track", {"anonymousId": "v"} | told, scope="events")
    assert statuses(answer) == ["rejected"]
    assert reason in answer.json()["events"][0]["reason"]


def test_bodies_that_cannot_be_read_are_problems(service: Service) -> None:
    address = service.address + "/v1/batch"
    key = {"Authorization": f"Bearer {service.keys['events']}"}
    packed = key | {"Content-Encoding": "gzip"}
    assert httpx.post(address, content=b"{", headers=key).status_code == 400
    assert httpx.post(address, content=b"[]", headers=key).status_code == 400
    assert httpx.post(address, json={"batch": {}}, headers=key).status_code == 400
    assert httpx.post(address, content=b"no gzip", headers=packed).status_code == 400
    assert httpx.post(address, content=b" " * 600_000, headers=key).status_code == 413
    assert httpx.post(address, content=gzip.compress(b" " * 6_000_000), headers=packed).status_code == 413
    assert httpx.post(address, json={"batch": []}).status_code == 401
    assert service.send("/v1/batch", {"batch": []}, scope="lists").status_code == 403


def test_the_key_may_stand_in_the_body_and_the_body_may_be_text(service: Service) -> None:
    told = track("Product Viewed", anonymousId="beacon", properties={"product_id": "cup"})
    told["writeKey"] = service.keys["storefront"]
    beacon = httpx.post(service.address + "/v1/t", content=json.dumps(told), headers={"Content-Type": "text/plain"})
    assert statuses(beacon) == ["accepted"]


def test_what_a_visitor_did_a_moment_ago_counts_on_the_next_request(service: Service) -> None:
    assert service.ask("/v1/recommendations?anonymous_id=fresh").json()["fallback"] == "no_history"
    for number in range(3):
        event = track("Product Added", anonymousId="fresh", messageId=f"f{number}", properties={"product_id": "nail"})
        assert statuses(service.send("/v1/track", event, scope="storefront")) == ["accepted"]
    answer = service.ask("/v1/recommendations?anonymous_id=fresh&limit=6").json()
    assert answer["fallback"] is None
    assert answer["items"][0]["reason"]["product_id"] == "nail"


def test_a_visit_counts_for_the_customer_it_turns_out_to_be_and_for_no_other(service: Service) -> None:
    view = track("Product Added", anonymousId="later-zoe", messageId="z1", properties={"product_id": "nail"})
    assert statuses(service.send("/v1/track", view, scope="storefront")) == ["accepted"]
    assert service.ask("/v1/recommendations?customer_id=zoe").json()["fallback"] == "no_history"
    known = {"type": "identify", "userId": "zoe", "anonymousId": "later-zoe"}
    assert statuses(service.send("/v1/identify", known, scope="events")) == ["accepted"]
    assert service.ask("/v1/recommendations?customer_id=zoe").json()["fallback"] is None
    stolen = known | {"userId": "eve-2"}
    assert statuses(service.send("/v1/identify", stolen, scope="events")) == ["accepted"]
    assert service.ask("/v1/recommendations?customer_id=eve-2").json()["fallback"] == "no_history"


def test_a_stranger_with_the_pages_key_speaks_for_nobody(service: Service, tmp_path: Path) -> None:
    orders = {"order_id": "stolen", "products": [{"product_id": "axe", "quantity": 1, "price": 1}]}
    told = [
        track("Product Viewed", userId="bob", anonymousId="thief", properties={"product_id": "nail"}),
        {"type": "identify", "userId": "bob", "anonymousId": "thief", "traits": {"email": "thief@example.com"}},
        {"type": "alias", "userId": "bob", "previousId": "thief"},
    ]
    answer = service.send("/v1/batch", {"batch": told}, scope="storefront")
    assert statuses(answer) == ["rejected"] * 3
    assert "X-Customer-Token" in answer.json()["events"][0]["reason"]
    other = service.send("/v1/batch", {"batch": told}, scope="storefront", X_Customer_Token=token("ann"))
    assert statuses(other) == ["rejected"] * 3
    bought = track("Order Completed", anonymousId="thief", messageId="label", properties=orders)
    assert statuses(service.send("/v1/track", bought, scope="storefront")) == ["accepted"]
    assert statuses(service.send("/v1/track", bought, scope="events")) == ["accepted"]  # not kept out by the stranger's
    emptied = service.send(
        "/v1/products", [{"product_id": "axe", "available": False}], scope="storefront", method="PUT"
    )
    assert emptied.status_code == 403
    tables = lake_of(service, tmp_path / "lake").tables(ibis.duckdb.connect())
    assert tables["orders"].filter(ibis._.order_id == "stolen").count().execute() == 1  # the server's only
    assert tables["events"].filter(ibis._.customer_id == "bob").count().execute() == 0


def test_a_customers_own_token_lets_a_page_speak_for_them(service: Service) -> None:
    event = track("Product Added", userId="own", anonymousId="own-v", properties={"product_id": "nail"})
    answer = service.send("/v1/track", event, scope="storefront", X_Customer_Token=token("own"))
    assert statuses(answer) == ["accepted"]
    assert service.ask("/v1/recommendations?customer_id=own").json()["fallback"] is None


def test_a_key_bound_to_an_origin_is_refused_elsewhere(service: Service) -> None:
    store = open_store(service.database)
    made = create_key(store, scope="storefront", label="", now=at("2024-06-01"), origins=["https://shop.example"])
    store.close()
    told = track("Product Viewed", anonymousId="o", writeKey=made.key, properties={"product_id": "cup"})
    ask = lambda origin: httpx.post(service.address + "/v1/t", json=told, headers={"Origin": origin}).status_code  # noqa: E731
    assert (ask("https://shop.example"), ask("https://evil.example")) == (200, 403)


def test_a_product_sold_out_is_soon_shown_no_more_on_any_worker(service: Service) -> None:
    assert "pot" in liked(service, "anonymous_id=nobody")
    rows = [{"product_id": "pot", "available": False, "price": 9.5}, {"price": 1}]
    answer = service.send("/v1/products", rows, method="PUT")
    assert answer.json() == {"accepted": 1, "rejected": [{"index": 1, "reason": "product_id: missing"}]}
    until(lambda: all("pot" not in liked(service, "anonymous_id=nobody") for _ in range(4)))
    service.send("/v1/products", [{"product_id": "pot", "available": True}], method="PUT")
    until(lambda: all("pot" in liked(service, "anonymous_id=nobody") for _ in range(4)))
    items = service.ask("/v1/recommendations?anonymous_id=nobody&fields=price,name").json()["items"]
    item = next(item for item in items if item["product_id"] == "pot")
    assert (item["price"], item["name"]) == (9.5, "Pot")


def test_a_consent_taken_back_counts_at_once(service: Service) -> None:
    reachable = lambda: [i["customer_id"] for i in service.ask("/v1/lists/at-risk?channel=email").json()["items"]]  # noqa: E731
    assert reachable() == ["ann"]
    service.send("/v1/customers", [{"customer_id": "ann", "consent_email": False}], method="PUT")
    assert reachable() == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"product_id": "a", "price": -1}, "0 or more"),
        ({"product_id": "a", "prize": 1}, "no such field"),
        ({"product_id": "a", "available": "yes"}, "boolean"),
        ("tea", "object"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_with_its_reason(service: Service, row: Any, reason: str) -> None:
    told = service.send("/v1/products", [row], method="PUT").json()
    assert told["accepted"] == 0
    assert reason in told["rejected"][0]["reason"]


def test_events_reach_the_lake_once_however_often_they_are_moved(service: Service, tmp_path: Path) -> None:
    tea, cup = {"product_id": "tea", "quantity": 2, "price": 3}, {"product_id": "cup", "quantity": 1, "price": 4}
    sold = {"order_id": "R1", "products": [tea, cup]}
    first, later = "2024-05-01T10:00:00Z", "2024-05-03T10:00:00Z"
    batch = [
        track("Order Completed", userId="r", messageId="r1", timestamp=first, properties=sold),
        track("Order Refunded", userId="r", messageId="r2", timestamp=later, properties={"order_id": "R1"}),
        track("view_item", anonymousId="g", messageId="r3", properties={"items": [{"item_id": "tea"}]}),
    ]
    assert statuses(service.send("/v1/batch", {"batch": batch}, scope="events")) == ["accepted"] * 3
    forget_what_was_moved(service)
    lake = lake_of(service, tmp_path / "lake")
    written = lake.manifest()
    forget_what_was_moved(service)  # as if killed before it was counted
    lake_of(service, tmp_path / "lake")
    assert lake.manifest() == written
    tables = lake.tables(ibis.duckdb.connect())
    returned = tables["returns"].filter(ibis._.order_id == "R1").order_by("product_id").execute()
    assert returned[["product_id", "quantity", "amount"]].values.tolist() == [["cup", 1.0, 4.0], ["tea", 2.0, 6.0]]
    seen = interactions(tables, as_of=at("2030-01-01")).execute()
    assert seen[seen["visitor_id"] == "anonymous:g"][["product_id", "kind"]].values.tolist() == [["tea", "view"]]


def test_events_that_come_late_or_from_the_future_keep_when_they_were_received(
    service: Service, tmp_path: Path
) -> None:
    began = datetime.now(UTC)
    when = {"late": began - timedelta(days=700), "ahead": began + timedelta(days=400)}
    for name, at_ in when.items():
        told = track("Product Added", anonymousId=name, messageId=name, properties={"product_id": "nail"})
        told["timestamp"] = at_.isoformat()
        assert statuses(service.send("/v1/track", told, scope="events")) == ["accepted"]
        answer = service.ask(f"/v1/recommendations?anonymous_id={name}&limit=6").json()
        assert answer["items"][0]["reason"]["product_id"] == "nail"  # what lies ahead happened just now
    ended = datetime.now(UTC)
    forget_what_was_moved(service)
    events = lake_of(service, tmp_path / "lake").tables(ibis.duckdb.connect())["events"]
    rows = events.filter(ibis._.event_id.isin(list(when))).execute().set_index("event_id")
    assert set(rows.index) == set(when)
    for name, at_ in when.items():
        row = rows.loc[name]
        occurred, received = (row[column].tz_localize("UTC") for column in ("occurred_at", "received_at"))
        assert occurred == at_
        assert began <= received <= ended


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_accepted_event_is_lost_when_everything_is_killed(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    database = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else fresh_database(request)
    accepted: set[str] = set()
    keys = None
    for time in range(3):
        made, server = start(tmp_path, database, workers=1, keys=keys)
        keys = made.keys
        try:
            for number in range(40):
                if number == 20 + 3 * time:
                    os.killpg(server.pid, signal.SIGKILL)
                ids = [f"{time}-{number}-{k}" for k in range(5)]
                batch = [track("X", anonymousId="v", messageId=message) for message in ids]
                answer = made.send("/v1/batch", {"batch": batch}, scope="events")
                accepted |= {e["messageId"] for e in answer.json()["events"] if e["status"] == "accepted"}
        except httpx.TransportError:
            assert number >= 20
        finally:
            os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)
    store = open_store(database)
    with store.reading() as connection:
        kept = [row[0] for row in connection.exec_driver_sql("select message_id from events")]
    store.close()
    assert len(accepted) > 250
    assert accepted <= set(kept)
    assert len(kept) == len(set(kept))
