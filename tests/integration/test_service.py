"""The running service over a socket: its answers, its refusals, and what it does while things change behind it."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pandas as pd
import pytest

from regulars.models.recommender import Recommender
from serving.store import open_store
from serving.store.decisions import outcomes_of
from tests.builders import at, tiny_retrieval
from tests.published import IDS, bring_champion, make, products, publish
from tests.services import SECRET, Service, until


def test_churn_of_a_scored_customer(service: Service) -> None:
    body = service.ask("/v1/customers/ann/churn").json()
    assert body["eligible"] is True
    assert body["method"] == "buy_till_you_die"
    assert body["interval"][0] <= body["probability"] <= body["interval"][1]
    assert body["risk"] == "high"
    assert body["thresholds"] == {"medium": 0.3, "high": 0.6}
    assert body["definition"] == {
        "horizon_days": 28,
        "lookback_days": 365,
        "churned_means": "no order within 28 days after as_of",
    }
    assert body["reasons"][0]["text"] == "Late"
    assert (body["as_of"], body["model_version"], body["data"]) == ("2024-06-01T00:00:00Z", "churn-3", ["orders"])


def test_churn_of_one_who_ordered_too_long_ago_says_why_not(service: Service) -> None:
    body = service.ask("/v1/customers/eve/churn").json()
    assert body["eligible"] is False
    assert "365 days" in body["why"]
    assert "probability" not in body


def test_a_profile_says_what_is_known(service: Service) -> None:
    body = service.ask("/v1/customers/ann").json()
    assert (body["stage"], body["count_orders"], body["value_so_far"]) == ("at_risk", 2, 5.0)
    assert body["rhythm_days"] == 20
    assert (body["rfm"], body["segment"], body["tier"]) == ("355", "loyal", "bronze")
    assert (body["next_tier"], body["money_to_next_tier"]) == ("silver", 245.0)
    assert body["next_order_interval"] is None
    assert body["cancellation_probability"] is None
    assert body["next_order_expected_at"].startswith("2024-06-10")
    assert body["consents"] == {"email": True, "sms": None, "push": None, "ads": True}
    assert service.ask("/v1/customers/zoe").json()["stage"] == "lead"
    assert service.ask("/v1/customers/eve").json()["stage"] == "lapsed"
    found = service.send("/v1/customers/lookup", {"customer_ids": ["bob", "?", "ann"]}).json()
    assert [item["customer_id"] for item in found["items"]] == ["bob", "ann"]
    assert found["unknown"] == ["?"]


def test_retention_as_published(service: Service) -> None:
    body = service.ask("/v1/retention?by=cohort", scope="lists").json()
    assert (body["by"], body["as_of"], body["active_days"]) == ("cohort", "2024-06-01T00:00:00Z", 90)
    may = {item["group"]: item for item in body["items"]}["2024-05"]
    assert (may["customers"], may["orders"], may["repeat_purchase_rate"], may["nps"]) == (2, 3, 50.0, None)
    assert service.ask("/v1/retention").json()["items"][-1]["group"] == "2024-05"
    assert service.ask("/v1/retention?by=moon").status_code == 422
    assert service.ask("/v1/retention", scope="storefront").status_code == 403


def test_the_list_of_customers_at_risk(service: Service) -> None:
    body = service.ask("/v1/lists/at-risk").json()
    assert [item["customer_id"] for item in body["items"]] == ["ann", "bob"]
    assert (body["total"], body["next_cursor"], body["as_of"]) == (2, None, "2024-06-01T00:00:00Z")
    first = service.ask("/v1/lists/at-risk?limit=1").json()
    second = service.ask(f"/v1/lists/at-risk?limit=1&cursor={first['next_cursor']}").json()
    assert [item["customer_id"] for item in (*first["items"], *second["items"])] == ["ann", "bob"]
    assert second["next_cursor"] is None
    assert service.ask("/v1/lists").json()["items"][0]["name"] == "at-risk"


@pytest.mark.parametrize(
    ("query", "who"),
    [
        ("channel=email", ["ann"]),
        ("channel=sms", []),
        ("risk=medium", ["bob"]),
        ("risk=low", []),
        ("min_probability=0.5", ["ann"]),
        ("segment=loyal", ["ann"]),
        ("tier=gold", []),
        ("max_probability=0.5", ["bob"]),
        ("country=DE", ["ann"]),
        ("order_by=customer_id", ["ann", "bob"]),
    ],
)
def test_filters_of_the_list(service: Service, query: str, who: list[str]) -> None:
    body = service.ask(f"/v1/lists/at-risk?{query}").json()
    assert [item["customer_id"] for item in body["items"]] == who
    assert body["total"] == len(who)


def test_the_list_as_csv_and_ndjson_is_all_of_it(service: Service, tmp_path: Path) -> None:
    answer = service.ask("/v1/lists/at-risk?limit=1", Accept="text/csv")
    assert answer.headers["content-type"].startswith("text/csv")
    (tmp_path / "list.csv").write_text(answer.text)
    table = pd.read_csv(tmp_path / "list.csv")
    assert table["customer_id"].tolist() == ["ann", "bob"]
    assert table["name"].tolist()[0] == "Ann, the first"
    assert table["reason_1"].tolist() == ["Late", "Late"]
    lines = service.ask("/v1/lists/at-risk", Accept="application/x-ndjson").text.splitlines()
    assert [json.loads(line)["customer_id"] for line in lines] == ["ann", "bob"]


def test_a_decision_holds_and_says_what_was_considered(service: Service) -> None:
    asked = {"customer_id": "ann", "placement": "cart", "channel": "ads"}
    body = service.send("/v1/decisions", asked).json()
    assert body == service.send("/v1/decisions", asked).json()
    why = {entry["offer_id"]: entry["why_not"] for entry in body["considered"]}
    assert why["old"] == "is over"
    assert "its rule is not met: customer.tier" in why["ruled"]
    assert "no effect was estimated" in why["unknown"]
    made = [entry["offer_id"] for entry in body["considered"] if entry["made"]]
    assert made == ([body["offer"]["offer_id"]] if body["offer"] else [])
    assert 0 < body["propensity"] <= 1
    assert body["policy_version"] == "offers-2"
    assert datetime.fromisoformat(body["expires_at"]) > datetime.now(UTC)


def test_nobody_is_made_an_offer_on_a_channel_they_did_not_consent_to(service: Service) -> None:
    for who in ({"customer_id": "ann", "channel": "sms"}, {"customer_id": "bob"}, {"anonymous_id": "x"}):
        body = service.send("/v1/decisions", who).json()
        assert body["offer"] is None
        assert all(entry["why_not"] for entry in body["considered"])


def test_what_followed_a_decision_is_kept_once(service: Service) -> None:
    made = service.send("/v1/decisions", {"customer_id": "bob", "placement": "order"}).json()["decision_id"]
    followed = {"kind": "converted", "revenue": 12.5, "occurred_at": "2024-06-02T10:00:00+02:00"}
    for _ in range(2):
        assert service.send(f"/v1/decisions/{made}/outcome", followed).status_code == 200
    store = open_store(service.database)
    assert [(row.kind, row.revenue, row.occurred_at) for row in outcomes_of(store, made)] == [
        ("converted", 12.5, at("2024-06-02T08:00"))
    ]
    store.close()
    assert service.send("/v1/decisions/dec_none/outcome", followed).status_code == 404
    late = {"kind": "visited", "occurred_at": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    assert service.send(f"/v1/decisions/{made}/outcome", late).status_code == 422


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/v1/recommendations?customer_id=ann&limit=0", 422, "query.limit"),
        ("/v1/recommendations?customer_id=ann&limit=abc", 422, "query.limit"),
        ("/v1/recommendations?customer_id=ann&limit=101", 422, "query.limit"),
        ("/v1/recommendations?customer_id=ann&colour=red", 422, "query.colour"),
        ("/v1/recommendations?customer_id=ann&fields=secret", 422, "secret"),
        ("/v1/recommendations?customer_id=ann&price_min=2&price_max=1", 422, "price_min"),
        ("/v1/recommendations?customer_id=ann&price_min=nan", 422, "price_min"),
        ("/v1/recommendations", 422, "customer_id"),
        ("/v1/recommendations?anonymous_id=a%00b", 422, "U+0000"),
        ("/v1/recommendations?customer_id=ann&after=rec_0", 404, "rec_0 is not known"),
        ("/v1/products/none/similar", 404, "none"),
        ("/v1/customers/no-such-customer/churn", 404, "no-such-customer"),
        ("/v1/customers/no-such-customer", 404, "no-such-customer"),
        ("/v1/lists/no-such-list", 404, "at-risk"),
        ("/v1/lists/at-risk?limit=1001", 422, "query.limit"),
        ("/v1/lists/at-risk?cursor=nonsense", 422, "cursor"),
        ("/v1/lists/at-risk?channel=pigeon", 422, "query.channel"),
        ("/v1/nothing", 404, "/docs"),
    ],
)
def test_wrong_input_is_a_problem_document(service: Service, path: str, status: int, said: str) -> None:
    answer = service.ask(path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert {"type", "title", "detail"} <= set(body)
    assert said in body["detail"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"customer_id": "a", "anonymous_id": "b"},
        {"customer_id": 1},
        {"customer_id": "a", "x": 1},
        [],
        "{",
        {"customer_id": "a\0b"},
    ],
)
def test_a_wrong_body_is_a_problem_document(service: Service, body: Any) -> None:
    answer = service.send("/v1/decisions", body)
    assert answer.status_code == 422
    assert answer.json()["title"]


@pytest.mark.parametrize(
    "path", ["/v1/customers/a%00b", "/v1/customers/a%00b/churn", "/v1/lists/at-risk?country=a%00b"]
)
def test_a_character_that_no_text_of_the_database_may_hold_is_no_failure(service: Service, path: str) -> None:
    answer = service.ask(path)
    assert answer.status_code in (200, 404, 422)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"


def test_a_cursor_of_other_filters_is_refused(service: Service) -> None:
    cursor = service.ask("/v1/lists/at-risk?limit=1").json()["next_cursor"]
    answer = service.ask(f"/v1/lists/at-risk?limit=1&min_probability=0.1&cursor={cursor}")
    assert answer.status_code == 422
    assert "other filters" in answer.json()["detail"]


def test_nothing_answers_without_a_key_but_health_and_docs(service: Service) -> None:
    schema = httpx.get(service.address + "/docs/openapi.json").json()
    assert httpx.get(service.address + "/docs").status_code == 200
    for path, calls in schema["paths"].items():
        for method in calls:
            answer = httpx.request(method, service.address + path.replace("{", "").replace("}", ""))
            assert answer.status_code in ((200,) if path.startswith("/health") else (401,)), (method, path)


def test_docs_need_no_other_host_and_show_an_example_of_every_call(service: Service) -> None:
    page = httpx.get(service.address + "/docs").text
    assert "http" not in page.replace(service.address, "").replace("http://www.w3.org", "")
    schema = httpx.get(service.address + "/docs/openapi.json").text
    for path in ("/v1/recommendations", "/v1/customers/{customer_id}/churn", "/v1/lists/{name}", "/v1/decisions"):
        assert path in schema
    assert "bought_before" in schema
    assert json.loads(schema)["components"]["securitySchemes"]["Key"]["scheme"] == "bearer"
    assert "Usually orders every" in schema


@pytest.mark.parametrize(
    ("scope", "allowed"),
    [("storefront", {"recommendations"}), ("lists", {"recommendations", "lists", "customers"}), ("models", set())],
)
def test_scopes(service: Service, scope: str, allowed: set[str]) -> None:
    asked = {
        "recommendations": "/v1/recommendations?anonymous_id=x",
        "lists": "/v1/lists/at-risk",
        "customers": "/v1/customers/ann",
    }
    assert {name for name, path in asked.items() if service.ask(path, scope=scope).status_code == 200} == allowed
    assert httpx.get(service.address + asked["lists"], auth=(service.keys["lists"], "")).status_code == 200


def token(secret: str = SECRET, **claims: Any) -> str:
    return jwt.encode({"sub": "ann", "exp": datetime.now(UTC) + timedelta(minutes=5)} | claims, secret, "HS256")


def test_a_storefront_speaks_of_a_customer_only_with_their_token(service: Service) -> None:
    path = "/v1/recommendations?customer_id=ann&limit=1"
    assert service.ask(path, scope="storefront").status_code == 403
    assert service.ask(path, scope="storefront", X_Customer_Token=token()).status_code == 200
    assert service.ask(path, scope="storefront", X_Customer_Token=token(sub="bob")).status_code == 403
    for wrong in (
        token("another secret of nobody that is long"),
        token(exp=datetime.now(UTC) - timedelta(minutes=1)),
        token(exp=datetime.now(UTC) + timedelta(hours=3)),
        "nonsense",
    ):
        assert service.ask(path, scope="storefront", X_Customer_Token=wrong).status_code == 401


def test_a_storefront_sees_only_the_offer_of_a_decision(service: Service) -> None:
    asked = {"anonymous_id": "x", "placement": "home"}
    assert set(service.send("/v1/decisions", asked, scope="storefront").json()) == {
        "decision_id",
        "offer",
        "expires_at",
    }
    assert service.send("/v1/decisions", {"customer_id": "ann"}, scope="storefront").status_code == 403


def test_a_customer_is_handed_over_and_forgotten(service: Service) -> None:
    assert service.ask("/v1/customers/zoe/export", scope="lists").status_code == 403
    held = service.ask("/v1/customers/zoe/export").json()
    assert held["rows"]["store/profiles"][0]["customer_id"] == "zoe"
    headers = {"Authorization": f"Bearer {service.keys['admin']}"}
    receipt = httpx.delete(service.address + "/v1/customers/zoe", headers=headers, timeout=60).json()
    assert receipt["rows_removed"] == {"store/profiles": 1}
    assert receipt["remains_elsewhere"]
    assert service.ask("/v1/customers/zoe").status_code == 404
    assert service.ask("/v1/customers/zoe/export").status_code == 404


def version(service: Service) -> str:
    answer = service.ask("/v1/recommendations?customer_id=ann")
    assert answer.status_code == 200
    return str(answer.json()["model_version"])


def first(service: Service, path: str) -> set[str]:
    """The first products of several answers, since each worker follows on its own."""
    return {products(service.ask(path))[0] for _ in range(8)}


def test_rules_about_products_hold_from_the_next_publishing(service: Service, tmp_path: Path) -> None:
    def rule(name: str, **body: object) -> httpx.Response:
        return httpx.put(
            f"{service.address}/v1/product-rules/{name}",
            json=body,
            headers={"Authorization": f"Bearer {service.keys['models']}"},
            timeout=20,
        )

    assert rule("first", kind="pin", condition="product.price == 5.0", placements=["home"]).status_code == 200
    assert rule("less", kind="bury", condition="product.name == 'Tea'", factor=100).status_code == 200
    refused = rule("wrong", kind="pin", condition="product.price ==")
    assert (refused.status_code, refused.json()["detail"][:14]) == (422, "body.condition")
    assert [item["name"] for item in service.ask("/v1/product-rules", scope="models").json()["items"]] == [
        "first",
        "less",
    ]
    publish(service.database, tmp_path)
    until(lambda: first(service, "/v1/recommendations?anonymous_id=x&limit=6") == {"saw"})
    assert "tea" not in first(service, "/v1/recommendations?anonymous_id=x&placement=category&limit=6")
    for name in ("first", "less"):
        gone = httpx.delete(
            f"{service.address}/v1/product-rules/{name}",
            headers={"Authorization": f"Bearer {service.keys['models']}"},
            timeout=20,
        )
        assert gone.status_code == 200
    (tmp_path / "again").mkdir()
    publish(service.database, tmp_path / "again")
    until(lambda: first(service, "/v1/recommendations?anonymous_id=x&limit=6") == {"tea"})
    assert "saw" in products(service.ask("/v1/recommendations?anonymous_id=x&limit=6"))


def test_it_follows_a_new_champion_and_a_new_generation_without_a_failed_request(
    service: Service, tmp_path: Path
) -> None:
    bring_champion(service.home, 2)
    until(lambda: {version(service) for _ in range(8)} == {"recommender-2"})
    publish(service.database, tmp_path, probability=0.8)
    until(lambda: service.ask("/v1/lists/at-risk").json()["items"][0]["probability"] == 0.8)


def test_a_broken_champion_is_refused_and_the_old_one_stays(service: Service) -> None:
    bring_champion(service.home, 1000)
    until(lambda: {version(service) for _ in range(8)} == {"recommender-1000"})
    folder = service.home / "champions" / "recommender"
    Recommender(tiny_retrieval(IDS), None, about={}).save(make(folder / "1001"))
    altered = folder / "1001" / "popular-counts.npy"
    altered.write_bytes(altered.read_bytes()[:-1] + b"\x01")
    (folder / "current.json").write_text('{"version": 1001}')
    log = service.home / "serve.log"
    until(lambda: "recommender version 1001 cannot be used" in log.read_text())
    assert {version(service) for _ in range(8)} == {"recommender-1000"}
    assert service.ask("/health/ready").json()["versions"]["recommender"] == 1000
