"""What the recommendations brought."""

from datetime import date, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query

from serving.access import Caller, Worker, allow
from serving.problems import Problem, describe
from serving.services.attribution import attribute, placement_report

router = APIRouter(prefix="/v1/reports", tags=["reports"])

Asker = Annotated[Caller, Depends(allow("lists"))]
DEFAULT_DAYS = 30
EXAMPLE = {
    "from": "2024-05-01",
    "to": "2024-05-31",
    "timezone": "Europe/Berlin",
    "currency": "EUR",
    "attribution_days": 7,
    "items": [
        {
            "placement": "home",
            "views": 2000,
            "products": 20000,
            "clicks": 120,
            "orders": 14,
            "revenue": 318.4,
            "orders_clicked": 9,
            "revenue_clicked": 201.1,
        }
    ],
}


@router.get(
    "/placements",
    summary="What each placement showed, and what that brought",
    responses={200: {"content": {"application/json": {"example": EXAMPLE}}}} | describe(401, 403, 422, 503),
)
def placements(
    worker: Worker,
    caller: Asker,
    from_: Annotated[
        date | None, Query(alias="from", description="The first day; default: 30 days before `to`.")
    ] = None,
    to: Annotated[date | None, Query(description="The last day, included; default: today.")] = None,
) -> dict[str, Any]:
    """Views, clicks, orders and revenue by placement; days are the shop's.

    A click or an order goes back to the recommendation that its event names, else to the last that showed the product to this
    visitor within `attribution_days`: one that was clicked before one that was only shown.
    """
    last = to or worker.now().astimezone(worker.zone).date()
    first = from_ or last - timedelta(days=DEFAULT_DAYS)
    if first > last:
        raise Problem(422, f"query.from is after query.to: {first} and {last}")
    settings = worker.settings
    worker.shown.settle()
    attribute(worker.store, window=timedelta(days=settings.attribution_days))
    return {
        "from": first.isoformat(),
        "to": last.isoformat(),
        "timezone": settings.timezone,
        "currency": settings.currency,
        "attribution_days": settings.attribution_days,
        "items": placement_report(worker.store, first=first, last=last, zone=worker.zone),
    }
