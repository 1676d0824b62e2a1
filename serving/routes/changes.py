"""What a shop says of its products, customers and offers, in batches of rows."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from serving.access import Caller, Worker, allow
from serving.live import Live
from serving.problems import describe
from serving.routes.durable import durable
from serving.services.changes import check_changes, keep_changes

router = APIRouter(prefix="/v1", tags=["catalogue"])

Server = Annotated[Caller, Depends(allow("events"))]
Rows = Annotated[list[Any], Field(min_length=1, max_length=1_000)]
EXAMPLE = {"accepted": 1, "rejected": [{"index": 1, "reason": "price: must be 0 or more"}]}
RESPONSES = {200: {"content": {"application/json": {"example": EXAMPLE}}}} | describe(401, 403, 422, 429, 503)


@router.put("/products", summary="Products, prices and stock", responses=RESPONSES)
async def products(worker: Worker, caller: Server, rows: Rows) -> dict[str, Any]:
    """Each row gives product_id and what changes; stock and prices count within a second, on every worker."""
    return await _keep(worker, "products", rows)


@router.put("/customers", summary="What is known of customers", responses=RESPONSES)
async def customers(worker: Worker, caller: Server, rows: Rows) -> dict[str, Any]:
    """Each row gives customer_id and what changes; a consent that is taken back counts at once, the rest when published."""
    return await _keep(worker, "customers", rows)


@router.put("/offers", summary="Offers that may be made", responses=RESPONSES)
async def offers(worker: Worker, caller: Server, rows: Rows) -> dict[str, Any]:
    """Each row gives offer_id, and what changes; they count when published."""
    return await _keep(worker, "offers", rows)


async def _keep(worker: Live, name: str, rows: list[Any]) -> dict[str, Any]:
    checked = check_changes(name, rows, received_at=worker.now(), zone=worker.zone)
    accepted = await durable(worker, lambda connection: keep_changes(connection, checked.rows), what="rows")
    return {"accepted": accepted, "rejected": checked.rejected}
