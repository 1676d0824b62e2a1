"""What is known of a customer: churn with reasons, and the profile."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from regulars.lake import Lake
from serving.access import Caller, Worker, allow
from serving.problems import Problem, describe
from serving.routes.ids import Id
from serving.services.customers import churn_of, lookup, profile_body_of
from serving.services.forget import export_customer, forget_customer

router = APIRouter(prefix="/v1/customers", tags=["customers"])

Asker = Annotated[Caller, Depends(allow("lists"))]
Admin = Annotated[Caller, Depends(allow())]

CHURN = {
    "customer_id": "1275",
    "eligible": True,
    "method": "blend",
    "probability": 0.938,
    "interval": [0.589, 0.994],
    "risk": "high",
    "thresholds": {"medium": 0.3, "high": 0.6},
    "definition": {
        "horizon_days": 28,
        "lookback_days": 365,
        "churned_means": "no order within 28 days after as_of",
    },
    "reasons": [
        {
            "code": "rhythm",
            "feature": "days_since_last_order",
            "value": 359.0,
            "effect": 0.66,
            "text": "Usually orders every 2 days, last order 359 days ago",
        }
    ],
    "as_of": "2018-01-02T00:00:00Z",
    "model_version": "churn-1",
    "data": ["customers", "orders", "products"],
}
PROFILE = {
    "customer_id": "1275",
    "as_of": "2018-01-02T00:00:00Z",
    "name": None,
    "email": "ann@example.com",
    "country": "DE",
    "consents": {"email": True, "sms": None, "push": None, "ads": False},
    "unsubscribed": [],
    "currency": "USD",
    "stage": "at_risk",
    "rfm": "132",
    "segment": "slipping",
    "tier": "bronze",
    "next_tier": "silver",
    "money_to_next_tier": 165.67,
    "preferred_category": "GROCERY > COFFEE",
    "value_so_far": 84.33,
    "count_orders": 5,
    "money_per_order": 16.87,
    "predicted_value": 1.9,
    "predicted_orders": 0.11,
    "predicted_value_365d": 20.4,
    "predicted_orders_365d": 1.2,
    "value_at_risk": 1.78,
    "cancellation_probability": None,
    "support_priority": 0.42,
    "rhythm_days": 2.0,
    "last_order_at": "2017-01-08T12:00:00+00:00",
    "next_order_expected_at": "2018-01-20T00:00:00+00:00",
    "next_order_interval": ["2018-01-04T00:00:00+00:00", "2018-05-02T00:00:00+00:00"],
    "churn": CHURN,
}


class Lookup(BaseModel):
    """Whose profiles to look up."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"customer_ids": ["1", "2"]}]})

    customer_ids: list[Id] = Field(min_length=1, max_length=1000)


def _example(body: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"content": {"application/json": {"example": body}}}}


@router.get(
    "/{customer_id}/churn",
    summary="Whether a customer is about to leave, and why",
    responses=_example(CHURN) | describe(401, 403, 404, 503),
)
def churn(worker: Worker, caller: Asker, customer_id: str) -> dict[str, Any]:
    """The probability that a customer leaves, with interval and reasons, or why none can be told."""
    worker.published()
    return _known(churn_of(worker.store, customer_id), customer_id)


@router.post(
    "/lookup",
    summary="Many profiles at once",
    responses=_example({"items": [PROFILE], "unknown": []}) | describe(401, 403, 422, 503),
)
def look_up(worker: Worker, caller: Asker, asked: Lookup) -> dict[str, Any]:
    """Up to 1,000 profiles at once."""
    worker.published()
    return lookup(worker.store, asked.customer_ids)


@router.get(
    "/{customer_id}", summary="What is known of a customer", responses=_example(PROFILE) | describe(401, 403, 404, 503)
)
def profile(worker: Worker, caller: Asker, customer_id: str) -> dict[str, Any]:
    """Everything published about a customer."""
    worker.published()
    return _known(profile_body_of(worker.store, customer_id), customer_id)


@router.delete("/{customer_id}", summary="Forget a customer", responses=describe(401, 403))
def forget(worker: Worker, caller: Admin, customer_id: str) -> dict[str, Any]:
    """Remove a customer from store, lake and scores; the receipt names each place, and what remains elsewhere."""
    settings = worker.settings
    refused = settings.home / "refused"
    receipt = forget_customer(worker.store, Lake(settings.lake), customer_id, refused_folder=refused, now=worker.now())
    worker.forget_visitors()
    return receipt


@router.get("/{customer_id}/export", summary="Everything held of a customer", responses=describe(401, 403, 404))
def export(worker: Worker, caller: Admin, customer_id: str) -> dict[str, Any]:
    """All rows of lake and store, for handing over."""
    return _known(export_customer(worker.store, Lake(worker.settings.lake), customer_id, now=worker.now()), customer_id)


def _known(body: dict[str, Any] | None, customer_id: str) -> dict[str, Any]:
    if body is None:
        raise Problem(404, f"customer {customer_id} is not known")
    return body
