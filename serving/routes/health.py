"""Whether the process lives, and whether it can answer."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from serving.access import Worker
from serving.problems import describe, document

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live", summary="The process lives")
def live() -> dict[str, str]:
    return {"status": "live"}


@router.get("/ready", summary="Models and database are there", responses=describe(503))
def ready(worker: Worker) -> Any:
    """503 until questions can be answered; the detail names the command that mends it.

    `latest_answers`: of this worker's last 1,000 recommendations, how many were ranked in full, by retrievers only, or popular.
    """
    missing = worker.missing()
    if missing:
        return document(503, "; ".join(missing))
    loaded, shelf = worker.champions.recommender, worker.published()
    versions = {"recommender": loaded.version if loaded else None, "churn": shelf.about.get("churn_version")}
    told = {"status": "ready", "generation": shelf.generation, "versions": versions}
    return JSONResponse(told | {"latest_answers": worker.budget.latest()})
