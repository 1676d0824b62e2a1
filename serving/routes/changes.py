"""What a shop says of its products, customers and offers, in batches of rows."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field
from sqlalchemy.exc import SQLAlchemyError

from serving.access import Caller, Worker, allow
from serving.live import Live
from serving.problems import Problem, describe
from serving.services.changes import check_changes, keep_changes
from serving.store.writer import Overloaded

router = APIRouter(prefix="/v1", tags=["catalogue"])

Server = Annotated[Caller, Depends(allow("events"))]
Rows = Annotated[list[Any], Field(min_length=1, max_length=1_000)]
ANSWER_WITHIN_S = 10.0
RETRY = {"Retry-After": "2"}
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
    try:
        waiting = asyncio.wrap_future(worker.writer.submit(lambda connection: keep_changes(connection, checked.rows)))
        accepted = await asyncio.wait_for(waiting, ANSWER_WITHIN_S)
    except Overloaded as error:
        raise Problem(429, "too many rows wait to be written; send them again", headers=RETRY) from error
    except (TimeoutError, SQLAlchemyError) as error:
        raise Problem(503, "the database does not take rows now; send them again", headers=RETRY) from error
    return {"accepted": accepted, "rejected": checked.rejected}
