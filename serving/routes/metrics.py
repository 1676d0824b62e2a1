"""What happens in the service, in Prometheus' text format."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from serving.access import Caller, Worker, allow
from serving.live import Live
from serving.metrics import counted
from serving.problems import describe
from serving.store.events import waiting_for_the_lake

router = APIRouter(tags=["health"])

Asker = Annotated[Caller, Depends(allow("models"))]


@router.get(
    "/metrics",
    summary="Counts, times and states for Prometheus",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}} | describe(401, 403, 429),
)
def metrics(worker: Worker, caller: Asker) -> Response:
    """Counts and times are of all workers of this machine, states (gauges) of the worker that answers and of the database."""
    return Response(counted() + generate_latest(_states(worker)), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _states(worker: Live) -> CollectorRegistry:
    registry = CollectorRegistry()

    def state(name: str, about: str, value: float) -> None:
        Gauge(f"regulars_{name}", about, registry=registry).set(value)

    loaded, shelf, now = worker.champions.recommender, worker.shelf, worker.now()
    events, oldest = waiting_for_the_lake(worker.store)
    state("ready", "1 where everything is there to answer.", not worker.missing())
    state("generation", "The generation that answers, 0 for none.", shelf.generation if shelf else 0)
    if shelf:
        state("generation_age_seconds", "Since it was published.", (now - shelf.published_at).total_seconds())
    state("recommender_version", "The recommender that answers, 0 for none.", loaded.version if loaded else 0)
    state("events_waiting", "Events that are not in the lake yet.", events)
    lag = (now - oldest).total_seconds() if oldest else 0.0
    state("event_lag_seconds", "Age of the oldest event that is not in the lake yet.", lag)
    state("answers_waiting", "Recommendations that wait to be begun by this worker.", worker.answers_waiting)
    state("writes_waiting", "Writes that wait for the worker's writer.", worker.writer.waiting)
    state("shown_dropped", "Recommendations that could not be logged since the worker began.", worker.shown.dropped)
    return registry
