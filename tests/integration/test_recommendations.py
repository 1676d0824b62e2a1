"""Recommendations of the running service over a socket."""

import httpx
import pytest

from tests.published import products
from tests.services import Service


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
