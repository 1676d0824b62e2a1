"""The script of a shop's pages, in a real browser, and how the service hands it out."""

import gzip
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from serving.routes.page import SCRIPT
from serving.store import open_store
from tests.browser import Web, page, web
from tests.published import ready
from tests.services import Service, until

MARKUP = '<img src=x onerror="window.hacked = true">'
SLOTS = """<div id="one" data-regulars="home" data-regulars-limit="2"><p>ours</p></div>
<div id="two" data-regulars="product" data-regulars-product="axe" data-regulars-limit="1"><template>
<article><a data-regulars-href="url"><b data-regulars-text="name"></b></a></article></template></div>"""
FILLED = 'await until(() => document.querySelectorAll("[data-regulars-state]").length === 2);'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ready(tmp_path_factory.mktemp("page")) as made:
        told = [
            {"product_id": "tea", "name": MARKUP, "url": "javascript:window.hacked=true"},
            {"product_id": "saw", "url": "/products/saw"},
        ]
        made.send("/v1/products", told, method="PUT")
        named = "/v1/recommendations?anonymous_id=z&fields=name"
        until(lambda: made.ask(named).json()["items"][0].get("name") == MARKUP)
        yield made


@pytest.fixture
def shop(service: Service) -> Iterator[Web]:
    with web(service.address) as made:
        yield made


def received(service: Service) -> list[dict[str, Any]]:
    store = open_store(service.database)
    with store.reading() as connection:
        rows = connection.exec_driver_sql("select name, anonymous_id, touched, body from events").mappings().all()
    store.close()
    return [dict(row) for row in rows]


def test_the_script_is_small() -> None:
    assert len(gzip.compress(SCRIPT.read_bytes(), 9)) < 5 * 1024


def test_the_script_is_handed_out_with_a_pages_key_and_not_twice(service: Service) -> None:
    address = f"{service.address}/regulars.js"
    first = httpx.get(address, params={"key": service.keys["storefront"]})
    assert (first.status_code, first.content, first.headers["content-encoding"]) == (200, SCRIPT.read_bytes(), "gzip")
    assert first.headers["cache-control"] == "public, max-age=3600"
    again = httpx.get(
        address, params={"key": service.keys["storefront"]}, headers={"If-None-Match": first.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")
    assert httpx.get(address).status_code == 401
    assert httpx.get(address, params={"key": "rg_made_up"}).status_code == 401
    assert httpx.get(address, params={"key": service.keys["admin"]}).status_code == 403


def test_a_page_is_filled_and_what_is_clicked_goes_back_to_what_was_shown(service: Service, shop: Web) -> None:
    body = f'<main data-regulars-viewed="axe"></main>{SLOTS}'
    script = f"""{FILLED}
    const seen = {{ one: document.querySelector("#one").textContent, images: document.images.length,
      links: [...document.querySelectorAll("a")].map((made) => made.getAttribute("href")),
      two: document.querySelector("#two").innerText, cookie: document.cookie, kept: localStorage.length }};
    document.querySelector("#one [data-regulars-item]").click();
    location.href = "/next?" + encodeURIComponent(JSON.stringify(seen));"""
    shop.pages["/"] = page(service.address, service.keys["storefront"], body, script)
    shop.pages["/next"] = """<script>
    const seen = JSON.parse(decodeURIComponent(location.search.slice(1)));
    fetch("/report", { method: "POST", body: JSON.stringify({ ...seen, hacked: window.hacked === true }) });</script>"""
    before = len(received(service))
    with shop.visiting("/") as seen:  # what a page sends as it is left may arrive after the next page's report
        until(lambda: len(received(service)) == before + 2)
    assert seen["one"] == f"{MARKUP}1Pot2"  # name and price, as text; the shop's own words are gone
    assert (seen["two"], seen["links"]) == ("Saw", [None, None, "/products/saw"])
    assert (seen["images"], seen["cookie"], seen["kept"], seen["hacked"]) == (0, "", 0, False)
    events = {event["name"]: event for event in received(service)[before:]}
    assert set(events) == {"Product Viewed", "Product Clicked"}
    assert (events["Product Viewed"]["touched"], len({e["anonymous_id"] for e in events.values()})) == (
        '[["axe","view"]]',
        1,
    )
    brought = {item["placement"]: item for item in service.ask("/v1/reports/placements").json()["items"]}
    assert (brought["home"]["clicks"], brought["product"]["clicks"]) == (1, 0)


def test_a_visitor_is_known_again_only_with_consent(service: Service, shop: Web) -> None:
    first = (
        "regulars.consent(true); const kept = document.cookie; location.href = '/again?' + encodeURIComponent(kept);"
    )
    again = """const before = document.cookie; regulars.consent(false);
    report({ kept: decodeURIComponent(location.search.slice(1)), before, after: document.cookie });"""
    shop.pages["/"] = page(service.address, service.keys["storefront"], "", first)
    shop.pages["/again"] = page(service.address, service.keys["storefront"], "", again, consent="granted")
    seen = shop.visit("/")
    assert seen["before"] == seen["kept"]
    assert seen["kept"].startswith("regulars_id=")
    assert seen["after"] == ""


def test_who_wants_nothing_personal_is_asked_about_as_nobody(service: Service, shop: Web) -> None:
    before = len(received(service))
    script = f"""{FILLED} document.querySelector("#one [data-regulars-item]").click();
    regulars.track("Product Added", {{ product_id: "nail" }}); await regulars.flush();
    report({{ one: document.querySelector("#one").children.length }});"""
    shop.pages["/"] = page(service.address, service.keys["storefront"], SLOTS, script, personalise="no")
    assert shop.visit("/")["one"] == 2
    assert len(received(service)) == before
    service.ask("/v1/reports/placements")  # what was shown is written
    store = open_store(service.database)
    with store.reading() as connection:
        newest = "select anonymous_id, customer_id from shown_recommendations order by created_at desc limit 1"
        assert tuple(connection.exec_driver_sql(newest).one()) == (None, None)
    store.close()


def test_events_are_sent_again_until_they_are_taken_and_count_once(service: Service, shop: Web) -> None:
    shop.failures = 2
    script = """for (const number of [1, 2, 3]) regulars.track("Tried", { number });
    regulars.flush(); regulars.flush();
    await until(() => performance.getEntriesByType("resource").filter((sent) => sent.name.endsWith("/batch")).length === 3);
    report({});"""
    shop.pages["/"] = page("/through", service.keys["storefront"], "", script)
    shop.visit("/")
    ids = [[event["messageId"] for event in body["batch"]] for body in (*shop.refused, *shop.passed_on)]
    assert (len(shop.refused), len(shop.passed_on)) == (2, 1)
    assert ids[0] == ids[1] == ids[2]
    assert len(ids[2]) == 3
    until(lambda: sum(event["name"] == "Tried" for event in received(service)) == 3)


def test_what_the_shop_put_into_a_slot_stays_where_there_is_no_answer(service: Service, shop: Web) -> None:
    script = (
        'await until(() => document.querySelector("[data-regulars-state=failed]")); report({ one: one.innerText });'
    )
    shop.pages["/"] = page(service.address, service.keys["storefront"], SLOTS.replace('"home"', '"moon"'), script)
    assert shop.visit("/")["one"] == "ours"
