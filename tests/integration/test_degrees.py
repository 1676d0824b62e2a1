"""Degradation and metrics of a running service: what is answered, and who tells of it."""

import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.test_events import fresh_database, statuses, track
from tests.published import bring_champion, publish
from tests.services import Service, running, until


def figures(service: Service) -> dict[str, float]:
    """Every sample of ``/metrics`` by name and labels."""
    answer = service.ask("/metrics", scope="models")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_without_time_what_is_popular_is_shown_and_told(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    (tmp_path / "rows").mkdir()
    publish(database, tmp_path / "rows")
    bring_champion(tmp_path, 1)
    with running(tmp_path, database, workers=1, time_budget_ms=0) as service:
        until(lambda: httpx.get(service.address + "/health/ready").status_code == 200)
        body = service.ask("/v1/recommendations?customer_id=ann&limit=2&fields=name").json()
        assert (body["fallback"], [item["product_id"] for item in body["items"]]) == ("popular_only", ["axe", "tea"])
        assert body["items"][0]["name"] == "Axe"
        service.ask("/v1/recommendations?anonymous_id=v&exclude=axe&limit=2&placement=cart")
        ready = service.ask("/health/ready").json()
        assert ready["latest_answers"] == {"full": 0, "retrievers": 0, "popular": 2}
        told = figures(service)
        assert told['regulars_answers_total{degree="popular",placement="home"}'] == 1
        assert told['regulars_answers_total{degree="popular",placement="cart"}'] == 1
        brought = {
            item["placement"]: item["products"] for item in service.ask("/v1/reports/placements").json()["items"]
        }
        assert brought == {"home": 2, "cart": 1}


def test_a_service_whose_model_is_missing_answers_from_the_generation(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    (tmp_path / "rows").mkdir()
    publish(database, tmp_path / "rows")
    with running(tmp_path, database, workers=1) as service:
        body = service.ask("/v1/recommendations?anonymous_id=v").json()
        assert (body["model_version"], body["fallback"]) == ("generation-1", "popular_only")
        assert [item["product_id"] for item in body["items"]] == ["axe", "tea"]
        assert service.ask("/health/ready").status_code == 503
        assert figures(service)["regulars_ready"] == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_crowd_that_nobody_has_time_for_is_shown_what_is_popular_and_all_of_it_is_told(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    database = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else fresh_database(request)
    (tmp_path / "rows").mkdir()
    publish(database, tmp_path / "rows")
    bring_champion(tmp_path, 1)
    asked = 200
    with running(tmp_path, database, workers=1, time_budget_ms=0) as service:
        until(lambda: httpx.get(service.address + "/health/ready").status_code == 200)
        headers = {"Authorization": f"Bearer {service.keys['admin']}"}
        with (
            httpx.Client(base_url=service.address, headers=headers, timeout=20) as client,
            ThreadPoolExecutor(20) as pool,
        ):
            paths = [f"/v1/recommendations?anonymous_id=v{number}&limit=2" for number in range(asked)]
            answers = list(pool.map(client.get, paths))
        assert {answer.status_code for answer in answers} == {200}
        bodies = [answer.json() for answer in answers]
        assert {body["fallback"] for body in bodies} == {"popular_only"}
        assert {tuple(item["product_id"] for item in body["items"]) for body in bodies} == {("axe", "tea")}
        assert len({body["recommendation_id"] for body in bodies}) == asked
        assert service.ask("/health/ready").json()["latest_answers"]["popular"] == asked
        assert service.ask("/v1/reports/placements").json()["items"][0]["views"] == asked


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_metrics_of_all_workers(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    database = f"sqlite:///{tmp_path}/store.db" if kind == "sqlite" else fresh_database(request)
    (tmp_path / "rows").mkdir()
    publish(database, tmp_path / "rows")
    bring_champion(tmp_path, 7)
    with running(tmp_path, database, workers=1 if kind == "sqlite" else 2) as service:
        until(lambda: httpx.get(service.address + "/health/ready").status_code == 200)
        for number in range(20):
            service.ask(f"/v1/products/{'tea' if number % 2 else 'none'}/similar")
            service.ask("/v1/recommendations?customer_id=ann")
        batch = [track("X", anonymousId="v", messageId="m")] * 2 + [{}]
        assert statuses(service.send("/v1/batch", {"batch": batch})) == ["accepted", "duplicate", "rejected"]
        told = figures(service)
        similar = 'method="GET",route="/v1/products/{product_id}/similar"'
        assert told[f'regulars_requests_total{{{similar},status="200"}}'] == 10
        assert told[f'regulars_requests_total{{{similar},status="404"}}'] == 10
        assert told['regulars_request_seconds_count{route="/v1/recommendations"}'] == 20
        assert told['regulars_answers_total{degree="full",placement="home"}'] == 20
        for status in ("accepted", "duplicate", "rejected"):
            assert told[f'regulars_events_total{{status="{status}"}}'] == 1
        assert (told["regulars_ready"], told["regulars_generation"], told["regulars_recommender_version"]) == (1, 1, 7)
        assert told["regulars_events_waiting"] == 1
        assert told["regulars_event_lag_seconds"] > 0
        assert not any(re.search("ann|none", name) for name in told)
        assert service.ask("/metrics", scope="storefront").status_code == 403
        assert httpx.get(service.address + "/metrics").status_code == 401
