"""The dashboard in a real browser, which is given a key by a link as by its form."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.browser import rendered
from tests.published import ready
from tests.services import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with ready(tmp_path_factory.mktemp("dashboard")) as made:
        yield made


def test_without_a_key_it_shows_only_whether_the_service_is_ready(service: Service) -> None:
    page = rendered(service.address + "/")
    assert "Ready: generation 1" in page
    assert "leaves with" not in page


def test_with_a_key_it_shows_who_is_at_risk_and_what_it_may_not_ask(service: Service) -> None:
    page = rendered(f"{service.address}/#key={service.keys['lists']}")
    first = service.ask("/v1/lists/at-risk").json()["items"][0]
    assert first["reasons"][0]["text"] in page
    assert f"{first['probability']:.0%}".removesuffix("%") + " %" in page
    assert "a key of scope lists may not do this" in page  # the models' panel
    assert service.keys["lists"] not in page


def test_a_wrong_key_is_said_to_be_wrong(service: Service) -> None:
    assert "the key is not valid" in rendered(f"{service.address}/#key=nonsense")


def test_its_policy_lets_no_other_script_run(service: Service) -> None:
    for path in ("/", "/dashboard.js", "/dashboard.css"):
        answer = httpx.get(service.address + path)
        assert answer.status_code == 200
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
    scripts = (Path(__file__).parents[2] / "serving" / "page" / "dashboard.html").read_text()
    assert scripts.count("<script") == scripts.count('<script src="dashboard.js"') == 1
