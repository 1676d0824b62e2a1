"""How well a shop keeps its customers: rates by period and group."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from features.retention import ACTIVE_DAYS, By
from serving.access import Caller, Worker, allow
from serving.problems import Problem, describe
from serving.services.customers import moment_text
from serving.services.generation import RETENTION
from serving.store.published import figures_of

router = APIRouter(prefix="/v1/retention", tags=["lists"])

Asker = Annotated[Caller, Depends(allow("lists"))]
EXAMPLE = {
    "by": "month",
    "as_of": "2018-01-02T00:00:00Z",
    "active_days": 90,
    "items": [
        {
            "group": "2017-12",
            "customers_at_start": 2351,
            "customers_at_end": 2342,
            "customers_new": 24,
            "retention_rate": 98.6,
            "churn_rate": 1.4,
            "customers": 2198,
            "orders": 13456,
            "repeat_purchase_rate": 99.9,
            "average_order_value": 29.1,
            "lifetime_value": 1847.2,
            "nps": None,
        }
    ],
}


@router.get(
    "",
    summary="How well the shop keeps its customers",
    responses={200: {"content": {"application/json": {"example": EXAMPLE}}}} | describe(401, 403, 404, 422, 503),
)
def retention_figures(
    worker: Worker,
    caller: Asker,
    by: Annotated[By, Query(description="month, cohort (month of the first order), country or channel.")] = "month",
) -> dict[str, Any]:
    """Customer retention rate ((E - N) / B x 100), churn rate, repeat purchases, order and lifetime value, NPS, as published."""
    shelf = worker.published()
    body = figures_of(worker.store, shelf.generation, f"{RETENTION}{by}")
    if body is None:
        raise Problem(404, "no retention figures are published: the shop has no orders of known customers")
    return {
        "by": by,
        "as_of": moment_text(shelf.as_of),
        "active_days": ACTIVE_DAYS,
        "items": json.loads(body),
    }
