"""The next best offer, and what followed it."""

from datetime import UTC, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from serving.access import Caller, Worker, allow
from serving.problems import Problem, describe
from serving.routes.direct import Direct
from serving.routes.ids import Id
from serving.services.decisions import Question, decide, for_storefronts, record_outcome

router = APIRouter(prefix="/v1/decisions", tags=["decisions"], route_class=Direct)

LATER_CLOCK = timedelta(minutes=10)
EXAMPLE = {
    "decision_id": "dec_0f8a6f0a4a1d4b58b3c1a2b3c4d5e6f7",
    "offer": {"offer_id": "18", "kind": "coupon", "name": "Type A"},
    "expires_at": "2018-01-03T00:00:00Z",
    "expected_uplift": 12.4,
    "expected_value": 12.4,
    "outcome": "revenue",
    "randomised": False,
    "propensity": 0.95,
    "policy_version": "offers-1",
    "help": None,
    "send": {"channel": "email", "hour": 18},
    "considered": [
        {"offer_id": "18", "expected_uplift": 12.4, "expected_value": 12.4, "why_not": None, "made": True},
        {
            "offer_id": "19",
            "expected_uplift": None,
            "expected_value": None,
            "why_not": "is over",
            "made": False,
        },
    ],
}


class Asked(BaseModel):
    """Who is asked about, and where the offer would be made."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"customer_id": "1", "placement": "home"}]}
    )

    customer_id: Id | None = None
    anonymous_id: Id | None = None
    placement: Literal["home", "product", "cart", "category", "search", "order", "email"] = "home"
    product_ids: list[Id] = Field(default=[], max_length=100)
    channel: Literal["email", "sms", "push", "ads"] | None = None


class Followed(BaseModel):
    """What followed a decision."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"kind": "converted", "revenue": 34.5}]})

    kind: Literal["visited", "redeemed", "converted"]
    occurred_at: AwareDatetime | None = None
    revenue: float | None = Field(default=None, ge=0, allow_inf_nan=False)


@router.post(
    "",
    summary="The offer worth making, or none",
    response_model=None,
    responses={200: {"content": {"application/json": {"example": EXAMPLE}}}} | describe(401, 403, 422, 503),
)
def make(worker: Worker, caller: Annotated[Caller, Depends(allow("storefront", "lists"))], asked: Asked) -> Response:
    """The offer worth making, or none; the same answer until it expires."""
    customer = asked.customer_id
    if customer is None and asked.anonymous_id is None:
        customer = caller.token_customer
    if (customer is None) == (asked.anonymous_id is None):
        raise Problem(422, "body: exactly one of customer_id and anonymous_id is expected")
    caller.check_customer(customer)
    question = Question(customer, asked.anonymous_id, asked.placement, asked.channel, tuple(asked.product_ids))
    settings = worker.settings
    answer = decide(
        worker.store,
        worker.published(),
        question,
        at=worker.shop_time(),
        now=worker.now(),
        rng=worker.rng,
        rules=settings.offer_rules(),
        how=settings.explore,
    )
    told = for_storefronts(answer) if caller.scope == "storefront" else answer
    return Response(told, media_type="application/json")


@router.post(
    "/{decision_id}/outcome",
    summary="What followed a decision",
    response_model=dict[str, str],
    responses=describe(401, 403, 404, 422),
)
def outcome(
    worker: Worker,
    caller: Annotated[Caller, Depends(allow("events", "lists"))],
    decision_id: str,
    followed: Followed,
) -> Response:
    """Keep what followed a decision; told twice, it is kept once."""
    at = (followed.occurred_at or worker.now()).astimezone(UTC)
    if at > worker.now().astimezone(UTC) + LATER_CLOCK:
        raise Problem(422, f"body.occurred_at is in the future: {at.isoformat()}")
    told = {"kind": followed.kind, "occurred_at": at, "revenue": followed.revenue}
    if not record_outcome(worker.store, decision_id, **told, now=worker.now()):
        raise Problem(404, f"there is no decision {decision_id}")
    return JSONResponse({"status": "kept"})
