"""What a shopper would like next."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from serving.access import Caller, Worker, allow
from serving.champions import Loaded
from serving.live import Live
from serving.problems import Problem, describe
from serving.services.recommend import Question, beside, recommend
from serving.services.shelf import FIELDS, Filters

router = APIRouter(prefix="/v1", tags=["recommendations"])

Asker = Annotated[Caller, Depends(allow("storefront", "lists", "events"))]
Id = Annotated[str, Field(min_length=1, max_length=512)]
Placement = Literal["home", "product", "cart", "category", "search", "order", "email"]

EXAMPLE = {
    "recommendation_id": "rec_2f1c0c7e5f0a4a1d9f6f2a3b4c5d6e7f",
    "model_version": "recommender-3",
    "placement": "home",
    "items": [
        {
            "product_id": "1082185",
            "rank": 1,
            "score": 3.58,
            "reason": {"code": "bought_before", "product_id": "1082185"},
            "name": "BANANAS",
            "price": 0.99,
        }
    ],
    "fallback": None,
}


class Asked(BaseModel):
    """The query of a recommendation; anything else in it is refused."""

    model_config = ConfigDict(extra="forbid")

    customer_id: Id | None = Field(default=None, examples=["1"])
    anonymous_id: Id | None = None
    session_id: Id | None = None
    placement: Placement = "home"
    product_id: list[Id] = Field(default=[], max_length=100, description="The page's product, or the cart's.")
    limit: int = Field(default=10, ge=1, le=100)
    repeat: Literal["auto", "only", "never"] = Field(default="auto", description="Products bought before.")
    category: Id | None = Field(default=None, description="This category and everything below it.")
    brand: Id | None = None
    price_min: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_max: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    available: bool = Field(default=True, description="False: also what is known to be sold out.")
    exclude: list[Id] = Field(default=[], max_length=1000)
    diversity: float = Field(default=0.0, ge=0, le=1)
    fields: list[str] = Field(default=[], examples=[["name,price"]], description=f"Any of {', '.join(FIELDS)}.")


class Reason(BaseModel):
    """Why a product is there; ``product_id`` is the one it rests on."""

    code: str
    product_id: str | None = None


class Item(BaseModel):
    """One product; the asked fields stand beside these."""

    model_config = ConfigDict(extra="allow")

    product_id: str
    rank: int
    score: float
    reason: Reason


class Recommendations(BaseModel):
    """Products, best first."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    recommendation_id: str
    model_version: str
    placement: str
    items: list[Item]
    fallback: str | None = Field(description="Null, or why the answer does not rest on this visitor.")


@router.get(
    "/recommendations",
    summary="What a shopper would like next",
    response_model=None,
    responses=describe(401, 403, 422, 503) | {200: {"model": Recommendations}},
)
def recommendations(worker: Worker, caller: Asker, asked: Annotated[Asked, Query()]) -> dict[str, Any]:
    """For a known customer, a visitor without a name, a product's page or a cart."""
    if not (asked.customer_id or asked.anonymous_id or asked.session_id or asked.product_id or caller.token_customer):
        raise Problem(422, "query: one of customer_id, anonymous_id, session_id or product_id is expected")
    caller.check_customer(asked.customer_id)
    if asked.price_min is not None and asked.price_max is not None and asked.price_min > asked.price_max:
        raise Problem(422, "query.price_min is above query.price_max")
    question = Question(
        customer_id=asked.customer_id or (None if asked.anonymous_id else caller.token_customer),
        anonymous_id=asked.anonymous_id,
        session_id=asked.session_id,
        placement=asked.placement,
        product_ids=tuple(asked.product_id),
        limit=asked.limit,
        repeat=asked.repeat,
        filters=Filters(asked.category, asked.brand, asked.price_min, asked.price_max, asked.available),
        exclude=tuple(asked.exclude),
        diversity=asked.diversity,
        fields=_fields(asked.fields),
    )
    loaded = _loaded(worker)
    return recommend(
        worker.store, worker.published(), loaded.model, question, version=loaded.version, clock=worker.clock()
    )


BESIDE = {
    "response_model": None,
    "responses": describe(401, 403, 404, 422, 503) | {200: {"model": Recommendations}},
}
Limit = Annotated[int, Query(ge=1, le=100)]
Fields = Annotated[list[str] | None, Query(description=f"Any of {', '.join(FIELDS)}.")]


@router.get("/products/{product_id}/similar", summary="Products like this one", **BESIDE)
def similar(worker: Worker, caller: Asker, product_id: str, limit: Limit = 10, fields: Fields = None) -> dict[str, Any]:
    """Products that the same shoppers like."""
    return _beside(worker, product_id, together=False, limit=limit, fields=fields)


@router.get("/products/{product_id}/bought-together", summary="Products bought with this one", **BESIDE)
def bought_together(
    worker: Worker, caller: Asker, product_id: str, limit: Limit = 10, fields: Fields = None
) -> dict[str, Any]:
    """Products found in the same baskets."""
    return _beside(worker, product_id, together=True, limit=limit, fields=fields)


def _beside(worker: Live, product_id: str, *, together: bool, limit: int, fields: list[str] | None) -> dict[str, Any]:
    loaded = _loaded(worker)
    body = beside(
        worker.published(),
        loaded.model,
        product_id,
        together=together,
        limit=limit,
        fields=_fields(fields or []),
        version=loaded.version,
    )
    if body is None:
        raise Problem(404, f"product {product_id} is not known")
    return body


def _loaded(worker: Live) -> Loaded:
    loaded = worker.champions.recommender
    if loaded is None:
        raise Problem(503, "no recommender is loaded; run: regulars train recommender --as-of T")
    return loaded


def _fields(asked: list[str]) -> tuple[str, ...]:
    """Repeated or comma-separated names of product attributes."""
    names = tuple(name for part in asked for name in part.split(",") if name)
    wrong = [name for name in names if name not in FIELDS]
    if wrong:
        raise Problem(422, f"query.fields expects any of {', '.join(FIELDS)}, got {', '.join(wrong)}")
    return names
