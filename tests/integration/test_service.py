"""The running service over a socket: its answers, its refusals, and what it does while things change behind it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import ibis
import jwt
import pandas as pd
import pytest

from regulars.ids import IdMap
from regulars.models.recommender import Recommender
from serving.services.generation import publish_generation
from serving.store import open_store
from serving.store.decisions import outcomes_of
from tests.builders import at, lake_tables, tiny_retrieval
from tests.services import SECRET, Service, running, until

AS_OF = at("2024-06-01")
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
ABOUT = {
    "horizon_days": 28,
    "lookback_days": 365,
    "churn_method": "buy_till_you_die",
    "churn_version": 3,
    "tables": ["orders"],
    "currency": "EUR",
    "risk_medium": 0.3,
    "risk_high": 0.6,
    "policy_version": "offers-2",
    "outcome": "revenue",
    "randomised": False,
}


def publish(database: str, folder: Path, *, probability: float = 0.9) -> None:
    """A generation of three customers: ann at risk and reachable, bob at risk without consent, eve long gone."""
    orders = [
        ("o1", "ann", "tea", "2024-05-01"),
        ("o2", "ann", "tea", "2024-05-21"),
        ("o3", "bob", "axe", "2024-05-30"),
        ("o4", "eve", "cup", "2021-01-01"),
    ]
    tables = lake_tables(
        ibis.duckdb.connect(),
        folder,
        orders=[
            {"order_id": o, "customer_id": c, "product_id": p, "ordered_at": pd.Timestamp(t), "quantity": 1.0,
             "unit_price": 2.5}
            for o, c, p, t in orders
        ],
        customers=[
            {"customer_id": "ann", "email": "ann@example.com", "name": "Ann, the first", "country": "DE",
             "consent_email": True, "consent_ads": True},
            {"customer_id": "bob", "email": "bob@example.com", "consent_email": False},
            {"customer_id": "zoe", "consent_email": True},
        ],
        products=[
            {"product_id": p, "name": p.title(), "price": float(number + 1), "category": "Tea > Things" if number < 3 else "Tools",
             "available": p != "cup", "created_at": pd.Timestamp("2020-01-01")}
            for number, p in enumerate(IDS.to_json())
        ],
        offers=[
            {"offer_id": "ten", "kind": "percent", "name": "Ten off", "value": 10.0},
            {"offer_id": "poor", "kind": "gift"},
            {"offer_id": "old", "kind": "percent", "ends_at": pd.Timestamp("2024-01-01")},
            {"offer_id": "ruled", "kind": "percent", "eligibility": "customer.tier == 'gold'"},
            {"offer_id": "unknown", "kind": "percent"},
        ],
    )  # fmt: skip
    reason = {"code": "rhythm", "feature": "days_since_last_order", "value": 11.0, "effect": 0.3, "text": "Late"}
    scores = pd.DataFrame(
        {
            "customer_id": ["ann", "bob"],
            "churn_probability": [probability, 0.4],
            "churn_low": [0.2, 0.2],
            "churn_high": [0.95, 0.5],
            "risk": ["high", "medium"],
            "reasons": [json.dumps([reason])] * 2,
        }
    )
    values = pd.DataFrame(
        [("ann", "ten", 3.0, 2.0), ("ann", "poor", 0.5, -1.0), ("ann", "old", 9.0, 9.0), ("ann", "ruled", 9.0, 9.0)],
        columns=["customer_id", "offer_id", "expected_uplift", "expected_value"],
    )
    store = open_store(database)
    publish_generation(
        store, tables=tables, scores=scores, offer_values=values, as_of=AS_OF, about=ABOUT, now=datetime.now(UTC)
    )
    store.close()


@contextmanager
def ready(home: Path) -> Iterator[Service]:
    """A service of one worker over SQLite in ``home`` that has a generation and a champion, once it is ready."""
    database = f"sqlite:///{home}/store.db"
    (home / "rows").mkdir()
    publish(database, home / "rows")
    bring_champion(home, 1)
    with running(home, database, workers=1) as made:
        until(lambda: httpx.get(made.address + "/health/ready").status_code == 200)
        yield made


def bring_champion(home: Path, version: int) -> None:
    """A champion where the registry's watcher would put it."""
    folder = make(home / "champions" / "recommender" / str(version))
    Recommender(tiny_retrieval(IDS), None, about={}).save(folder)
    written = folder.parent / "current.new"
    written.write_text(json.dumps({"version": version, "as_of": AS_OF.isoformat()}))
    written.replace(folder.parent / "current.json")


def make(folder: Path) -> Path:
    """``folder``, made."""
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    sqlite = request.param == "sqlite"
    database = f"sqlite:///{home}/store.db" if sqlite else request.getfixturevalue("postgresql")
    (home / "rows").mkdir()
    publish(database, home / "rows")
    bring_champion(home, 1)
    with running(home, database, workers=1 if sqlite else 2) as made:
        until(lambda: httpx.get(made.address + "/health/ready").status_code == 200)
        yield made


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


def test_recommendations_of_a_known_customer(service: Service) -> None:
    body = service.ask("/v1/recommendations?customer_id=ann&limit=3&fields=name,price").json()
    assert body["items"][0] == {
        "product_id": "tea",
        "rank": 1,
        "score": pytest.approx(body["items"][0]["score"]),
        "reason": {"code": "bought_before", "product_id": "tea", "text": "You bought this before"},
        "name": "Tea",
        "price": 1.0,
    }
    assert [item["rank"] for item in body["items"]] == [1, 2, 3]
    assert body["fallback"] is None
    assert body["model_version"].startswith("recommender-")
    assert body["recommendation_id"] != service.ask("/v1/recommendations?customer_id=ann").json()["recommendation_id"]


def test_an_unknown_visitor_gets_popular_products_and_is_told_so(service: Service) -> None:
    for who in ("anonymous_id=x", "customer_id=never-seen", "session_id=s"):
        body = service.ask(f"/v1/recommendations?{who}&limit=2").json()
        assert [item["product_id"] for item in body["items"]] == ["tea", "pot"]
        assert body["fallback"] == "no_history"


def products(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [item["product_id"] for item in answer.json()["items"]]


def test_a_products_page_and_what_lies_beside_it(service: Service) -> None:
    page = products(service.ask("/v1/recommendations?anonymous_id=x&placement=product&product_id=axe&limit=2"))
    assert set(page) == {"saw", "nail"}
    for what in ("similar", "bought-together"):
        assert set(products(service.ask(f"/v1/products/axe/{what}?limit=2"))) == {"saw", "nail"}
    assert service.ask("/v1/products/?%20/similar").status_code == 404


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ("", {"tea", "pot", "axe", "saw", "nail"}),
        ("available=false", {"tea", "pot", "cup", "axe", "saw", "nail"}),
        ("category=Tea", {"tea", "pot"}),
        ("category=Te", set()),
        ("price_min=4&price_max=5", {"axe", "saw"}),
        ("brand=none", set()),
        ("exclude=tea&exclude=axe", {"pot", "saw", "nail"}),
        ("repeat=only", {"tea"}),
        ("repeat=never", {"pot", "axe", "saw", "nail"}),
        ("diversity=1", {"tea", "pot", "axe", "saw", "nail"}),
    ],
)
def test_filters_of_recommendations(service: Service, query: str, kept: set[str]) -> None:
    assert set(products(service.ask(f"/v1/recommendations?customer_id=ann&{query}"))) == kept


def test_diversity_mixes_categories(service: Service) -> None:
    plain = products(service.ask("/v1/recommendations?customer_id=ann&limit=2"))
    mixed = products(service.ask("/v1/recommendations?customer_id=ann&limit=2&diversity=0.8"))
    assert plain == ["tea", "pot"]
    assert mixed[0] == "tea"
    assert mixed[1] in {"axe", "saw", "nail"}


def slots(answer: httpx.Response) -> list[list[str]]:
    return [[item["product_id"] for item in slot["items"]] for slot in answer.json()["placements"]]


def test_a_history_may_come_with_the_question(service: Service) -> None:
    steps = [{"product_id": "axe", "name": "Order Completed", "occurred_at": "2024-05-20T10:00:00Z"}]
    body = service.send("/v1/recommendations", {"anonymous_id": "x", "history": steps, "limit": 3}).json()
    assert body["items"][0]["product_id"] == "axe"
    assert {item["product_id"] for item in body["items"][1:]} == {"saw", "nail"}
    assert body["fallback"] is None
    looking = service.send("/v1/recommendations", {"history": [{"product_id": "axe"}], "limit": 2})
    assert set(products(looking)) == {"saw", "nail"}


def test_a_given_list_is_ranked(service: Service) -> None:
    answer = service.send("/v1/recommendations", {"customer_id": "ann", "candidates": ["nail", "pot", "cup", "?"]})
    assert products(answer) == ["pot", "nail"]  # cup is not available


def test_several_slots_of_a_page_share_no_product(service: Service) -> None:
    page = [{"placement": "home", "limit": 2}, {"placement": "cart", "product_id": ["axe"]}, {"placement": "email"}]
    answer = service.send("/v1/recommendations", {"customer_id": "ann", "placements": page, "limit": 2})
    found = slots(answer)
    assert [slot["placement"] for slot in answer.json()["placements"]] == ["home", "cart", "email"]
    assert found[0][0] == "tea"
    assert set(found[1]) <= {"saw", "nail"}
    everything = [product for one in found for product in one]
    assert len(set(everything)) == len(everything)


def test_the_next_page_goes_on_where_the_last_one_ended(service: Service) -> None:
    pages, after = [], ""
    for _ in range(4):
        answer = service.ask(f"/v1/recommendations?customer_id=ann&limit=2{after}")
        pages.append(products(answer))
        after = f"&after={answer.json()['recommendation_id']}"
    assert [len(page) for page in pages] == [2, 2, 1, 0]
    assert sorted(product for page in pages for product in page) == ["axe", "nail", "pot", "saw", "tea"]


def test_a_share_of_new_products_says_its_propensity(service: Service) -> None:
    items = service.ask("/v1/recommendations?anonymous_id=x&limit=2&explore=0.5").json()["items"]
    assert [item["product_id"] for item in items] == ["tea", "nail"]  # cup, the other new one, is not available
    assert "propensity" not in items[1]  # the only one that could be drawn
    assert items[1]["reason"] == {"code": "new", "text": "New"}


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
    "body", [{}, {"customer_id": "a", "anonymous_id": "b"}, {"customer_id": 1}, {"customer_id": "a", "x": 1}, [], "{"]
)
def test_a_wrong_body_is_a_problem_document(service: Service, body: Any) -> None:
    answer = service.send("/v1/decisions", body)
    assert answer.status_code == 422
    assert answer.json()["title"]


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
