"""What the service counts, for Prometheus. Counts of all workers are added up, through files that they share."""

import os
import time
from functools import lru_cache
from typing import Any

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

MOMENTS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

REQUESTS = Counter("regulars_requests", "Requests answered.", ["method", "route", "status"])
SECONDS = Histogram("regulars_request_seconds", "Seconds until a request was answered.", ["route"], buckets=MOMENTS)
ANSWERS = Counter("regulars_answers", "Recommendations by how much ranking went into them.", ["degree", "placement"])
WAITED = Histogram("regulars_answer_wait_seconds", "Seconds that answers waited to be begun.", buckets=MOMENTS)
EVENTS = Counter("regulars_events", "Events by what became of them.", ["status"])


class Measured:
    """An ASGI application around another one that counts its requests; routes by their pattern, so that no id is kept."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noting(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            count_request(scope, status, time.perf_counter() - began)


def count_request(scope: dict[str, Any], status: int, seconds: float) -> None:
    """Count a request that was answered."""
    route = getattr(scope.get("route"), "path", "unknown")
    labelled(REQUESTS, scope["method"], route, status).inc()
    labelled(SECONDS, route).observe(seconds)


@lru_cache(1_000)
def labelled(metric: Any, *values: object) -> Any:
    """The part of ``metric`` with these labels; looking it up anew takes as long as counting."""
    return metric.labels(*values)


def counted() -> bytes:
    """The counts of all workers, as Prometheus' text; where workers share no files, those of this process."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return generate_latest(registry)
