"""What one key, one address and one request may ask, over a socket; and what a stranger with the page's key may not."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.test_events import statuses, token, track
from tests.published import ready
from tests.services import Service, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ready(tmp_path_factory.mktemp("limits")) as made:
        yield made


def test_a_key_that_asks_too_often_waits_and_others_do_not(tmp_path: Path) -> None:
    with running(tmp_path, f"sqlite:///{tmp_path}/store.db", workers=1, rate_per_key=0.001) as service:
        assert service.ask("/v1/lists", scope="lists").status_code == 200
        refused = service.ask("/v1/lists", scope="lists")
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert 900 < int(refused.headers["retry-after"]) <= 1_000
        assert service.ask("/v1/lists", scope="admin").status_code == 200
        assert service.send("/v1/track", track("X", anonymousId="v"), scope="events").status_code == 200
        assert service.send("/v1/track", track("X", anonymousId="v"), scope="events").status_code == 429
        assert service.ask("/health/live", scope="lists").status_code == 200


def test_an_address_that_asks_too_often_waits_and_guesses_no_keys(tmp_path: Path) -> None:
    told = {"rate_per_address": 0.001, "trusted_proxies": "127.0.0.1"}
    with running(tmp_path, f"sqlite:///{tmp_path}/store.db", workers=1, **told) as service:
        guess = {"Authorization": "Bearer rg_admin_guess"}
        asked = [httpx.get(service.address + "/v1/lists", headers=guess).status_code for _ in range(3)]
        assert asked == [401, 429, 429]
        assert service.ask("/v1/lists").status_code == 429
        assert service.ask("/v1/lists", X_Forwarded_For="203.0.113.7").status_code == 200
        assert service.ask("/v1/lists", X_Forwarded_For="203.0.113.7").status_code == 429
        spoofed = "198.51.100.1, 203.0.113.7"  # what the visitor wrote, then what the proxy saw
        assert service.ask("/v1/lists", X_Forwarded_For=spoofed).status_code == 429


def test_bodies_that_are_too_large_or_too_deep_are_refused_everywhere(service: Service) -> None:
    key = {"Authorization": f"Bearer {service.keys['admin']}", "Content-Type": "application/json"}
    for path in ("/v1/recommendations", "/v1/decisions", "/v1/customers/lookup"):
        address = service.address + path
        large = b'{"a": "' + b"x" * 5_000_000 + b'"}'
        assert httpx.post(address, content=large, headers=key).status_code == 413
        assert httpx.post(address, content=iter([large]), headers=key).status_code == 413  # tells no length
        assert httpx.post(address, content=b"[" * 200_000, headers=key).status_code in (400, 422)
        nested = b'{"history": ' + b"[" * 50_000 + b"]" * 50_000 + b"}"
        assert httpx.post(address, content=nested, headers=key).status_code in (400, 422)
    deep = track("X", anonymousId="v", properties=json.loads('{"a":' * 20 + "1" + "}" * 20))
    answer = service.send("/v1/track", deep, scope="events")
    assert statuses(answer) == ["rejected"]
    assert "12 levels" in answer.json()["events"][0]["reason"]
    assert httpx.post(service.address + "/v1/t", content=b"[" * 200_000, headers=key).status_code == 400


def test_batches_and_queries_have_an_end(service: Service) -> None:
    events = [track("X", anonymousId="v")] * 2_501
    assert service.send("/v1/batch", {"batch": events}, scope="events").status_code == 400
    rows = [{"product_id": str(number)} for number in range(1_001)]
    assert service.send("/v1/products", rows, method="PUT").status_code == 422
    assert (
        service.send("/v1/customers/lookup", {"customer_ids": [row["product_id"] for row in rows]}).status_code == 422
    )
    excluded = "&".join(f"exclude={number}" for number in range(1_001))
    assert service.ask(f"/v1/recommendations?anonymous_id=v&{excluded}").status_code == 422
    assert service.ask(f"/v1/recommendations?anonymous_id={'v' * 40_000}").status_code == 414
    assert service.ask("/v1/recommendations?anonymous_id=v&limit=101").status_code == 422
    slots = [{"placement": "home"}] * 11
    asked = {"anonymous_id": "v", "placements": slots}
    assert service.send("/v1/recommendations", asked).status_code == 422


ADDRESSES = [
    ("GET", "/v1/customers/ann", None),
    ("GET", "/v1/customers/ann/churn", None),
    ("POST", "/v1/customers/lookup", {"customer_ids": ["ann"]}),
    ("GET", "/v1/customers/ann/export", None),
    ("DELETE", "/v1/customers/ann", None),
    ("GET", "/v1/lists/at-risk", None),
    ("GET", "/v1/lists", None),
    ("GET", "/v1/retention", None),
    ("GET", "/v1/reports/placements", None),
    ("GET", "/v1/models", None),
    ("POST", "/v1/models/recommender/rollback", {}),
    ("PUT", "/v1/products", [{"product_id": "tea", "available": False}]),
    ("PUT", "/v1/customers", [{"customer_id": "ann", "consent_email": True}]),
    ("PUT", "/v1/offers", [{"offer_id": "free", "kind": "percent", "value": 100}]),
    ("PUT", "/v1/product-rules/x", {"kind": "pin", "condition": "true"}),
    ("POST", "/v1/decisions/dec_1/outcome", {"kind": "converted"}),
]


@pytest.mark.parametrize(("method", "path", "body"), ADDRESSES)
def test_a_stranger_with_the_pages_key_reaches_nothing_of_the_shops(
    service: Service, method: str, path: str, body: object
) -> None:
    refused = service.send(path, body, scope="storefront", method=method)
    assert refused.status_code == 403
    own = service.send(path, body, scope="storefront", method=method, X_Customer_Token=token("ann"))
    assert own.status_code == 403


def test_a_stranger_with_the_pages_key_learns_no_customers_taste_or_offers(service: Service) -> None:
    for asked in ("/v1/recommendations?customer_id=ann", "/v1/products/tea/similar?customer_id=ann"):
        assert service.ask(asked, scope="storefront").status_code == 403
        assert service.ask(asked, scope="storefront", X_Customer_Token=token("bob")).status_code == 403
    told = {"customer_id": "ann", "placement": "home"}
    assert service.send("/v1/decisions", told, scope="storefront").status_code == 403
    assert service.send("/v1/recommendations", {"customer_id": "ann"}, scope="storefront").status_code == 403
    view = track("Product Added", userId="ann", anonymousId="anns", messageId="own", properties={"product_id": "nail"})
    assert statuses(service.send("/v1/track", view, scope="events")) == ["accepted"]
    guessed = service.ask("/v1/recommendations?anonymous_id=anns", scope="storefront").json()
    assert guessed["fallback"] == "no_history"  # what a named customer did is not told to who knows their anonymous_id
    decided = service.send("/v1/decisions", {"anonymous_id": "v", "placement": "home"}, scope="storefront").json()
    assert set(decided) == {"decision_id", "offer", "expires_at"}
