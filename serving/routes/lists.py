"""Lists of customers, as JSON pages, or all of one as CSV or newline-delimited JSON."""

import csv
import io
import json
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from serving.access import Caller, Worker, allow
from serving.problems import Problem, describe
from serving.routes.customers import CHURN
from serving.services.lists import COLUMNS, LISTS, Wanted, everybody, flat, page

router = APIRouter(prefix="/v1/lists", tags=["lists"])

Asker = Annotated[Caller, Depends(allow("lists"))]
CSV, NDJSON = "text/csv", "application/x-ndjson"
EXAMPLE = {
    "items": [
        {
            "customer_id": "1275",
            "name": None,
            "email": "ann@example.com",
            "country": "DE",
            "consents": {"email": True, "sms": None, "push": None, "ads": False},
            "probability": 0.938,
            "interval": [0.589, 0.994],
            "risk": "high",
            "reasons": CHURN["reasons"],
            "segment": "hibernating",
            "tier": "bronze",
            "stage": "at_risk",
            "value_at_risk": 12.4,
            "support_priority": 0.71,
            "preferred_category": "GROCERY > COFFEE",
            "next_order_expected_at": "2018-01-20T00:00:00+00:00",
        }
    ],
    "next_cursor": "WzEsIDAuOTM4LCAiMTI3NSJd",
    "as_of": "2018-01-02T00:00:00Z",
    "total": 617,
}


class Asked(BaseModel):
    """Filters and paging; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    min_probability: float | None = Field(default=None, ge=0, le=1)
    max_probability: float | None = Field(default=None, ge=0, le=1)
    risk: list[Literal["low", "medium", "high"]] = Field(default=[], description="Default: medium and high.")
    country: str | None = Field(default=None, min_length=1, max_length=100)
    channel: Literal["email", "sms", "push", "ads"] | None = Field(
        default=None, description="Only customers with this consent who did not unsubscribe."
    )
    segment: str | None = Field(default=None, min_length=1, max_length=100, description="An RFM segment.")
    tier: str | None = Field(default=None, min_length=1, max_length=100, description="A loyalty tier of the settings.")
    order_by: Literal["probability", "customer_id"] = "probability"
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=4096)


@router.get("", summary="Which lists there are", responses=describe(401, 403))
def lists(caller: Asker) -> dict[str, Any]:
    """The lists there are."""
    return {"items": [{"name": name, "description": text} for name, text in LISTS.items()]}


@router.get(
    "/{name}",
    summary="The customers of a list",
    responses={
        200: {
            "content": {
                "application/json": {"example": EXAMPLE},
                CSV: {"example": ",".join(COLUMNS)},
                NDJSON: {"example": json.dumps(EXAMPLE["items"][0])},  # type: ignore[index]
            }
        }
    }
    | describe(401, 403, 404, 422, 503),
)
def one_list(
    worker: Worker,
    caller: Asker,
    name: str,
    asked: Annotated[Asked, Query()],
    accept: Annotated[str, Header(include_in_schema=False)] = "application/json",
) -> Any:
    """One page as JSON; with ``Accept: text/csv`` or ``application/x-ndjson`` all of it."""
    if name not in LISTS:
        raise Problem(404, f"there is no list {name}; there are {', '.join(LISTS)}")
    wanted = Wanted(**asked.model_dump(exclude={"limit", "cursor", "risk"}), risk=tuple(asked.risk))
    shelf = worker.published()
    if CSV in accept or NDJSON in accept:
        if asked.cursor:
            raise Problem(422, "query.cursor: CSV and NDJSON stream the whole list, without pages")
        items = everybody(worker.store, shelf.generation, wanted)
        lines, media = (_csv(items), CSV) if CSV in accept else (_ndjson(items), NDJSON)
        return StreamingResponse(lines, media_type=media, headers={"Vary": "Accept"})
    body = page(worker.store, shelf, wanted, limit=asked.limit, cursor=asked.cursor)
    return Response(json.dumps(body), media_type="application/json", headers={"Vary": "Accept"})


def _csv(items: Iterator[dict[str, Any]]) -> Iterator[str]:
    yield _line(list(COLUMNS))
    for item in items:
        yield _line(flat(item))


def _line(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(values)
    return text.getvalue()


def _ndjson(items: Iterator[dict[str, Any]]) -> Iterator[str]:
    for item in items:
        yield json.dumps(item) + "\n"
