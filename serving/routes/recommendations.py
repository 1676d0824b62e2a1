"""What a shopper would like next."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Depends, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from features.interactions import KIND_OF_EVENT
from regulars.errors import DataError
from regulars.models.history import NEWEST, NOTHING, History
from serving.access import Caller, Pending, Worker, allow, allow_later
from serving.champions import Loaded
from serving.live import Live
from serving.problems import Problem, describe
from serving.ranker import RankerLost
from serving.routes.direct import Direct
from serving.services.asked import UNSEEN, Question, Visitor
from serving.services.degrees import FULL, POPULAR
from serving.services.given import Sketch
from serving.services.recommend import (
    Sources,
    beside,
    is_weighed,
    looks,
    recommend,
    recommend_page,
    recommend_sketched,
    recommend_unseen,
    repeat,
    rests_on_nobody,
    to_weigh,
    visitor_of,
)
from serving.services.shelf import FIELDS, Filters
from serving.store.writer import Overloaded

log = logging.getLogger(__name__)

router = APIRouter(prefix="/v1", tags=["recommendations"], route_class=Direct)

SCOPES = ("storefront", "lists", "events")
Asker = Annotated[Caller, Depends(allow(*SCOPES))]
Asking = Annotated[Pending, Depends(allow_later(*SCOPES))]
Id = Annotated[str, Field(min_length=1, max_length=512)]
Placement = Literal["home", "product", "cart", "category", "search", "order", "email"]

BOUGHT = ("Order Completed", "purchase")

EXAMPLE = {
    "recommendation_id": "rec_2f1c0c7e5f0a4a1d9f6f2a3b4c5d6e7f",
    "model_version": "recommender-3",
    "placement": "home",
    "items": [
        {
            "product_id": "1082185",
            "rank": 1,
            "score": 0.58,
            "reason": {"code": "bought_before", "product_id": "1082185", "text": "You buy this every 2 weeks"},
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
    product_id: list[Id] = Field(default_factory=list, max_length=100, description="The page's product, or the cart's.")
    limit: int = Field(default=10, ge=1, le=100)
    repeat: Literal["auto", "only", "never"] = Field(default="auto", description="Products bought before.")
    category: Id | None = Field(default=None, description="This category and everything below it.")
    brand: Id | None = None
    price_min: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    price_max: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    available: bool = Field(default=True, description="False: also what is known to be sold out.")
    exclude: list[Id] = Field(default_factory=list, max_length=1000)
    diversity: float | None = Field(default=None, ge=0, le=1, description="Default: 0.2 in an e-mail, else 0.")
    fields: list[str] = Field(
        default_factory=list, examples=[["name,price"]], description=f"Any of {', '.join(FIELDS)}."
    )
    country: Id | None = Field(default=None, description="What is popular there, for who has no history.")
    explore: float = Field(default=0.0, ge=0, le=0.5, description="Share of places for new products drawn by chance.")
    after: Id | None = Field(
        default=None, description="A recommendation_id: what comes after it and before is left out."
    )


class Step(BaseModel):
    """One interaction of a history; ``occurred_at`` defaults to just before now, in the given order."""

    model_config = ConfigDict(extra="forbid")

    product_id: Id
    name: str = Field(default="Product Viewed", max_length=200)
    occurred_at: AwareDatetime | None = None


class Slot(BaseModel):
    """One slot of a page; what it does not say is as the request says."""

    model_config = ConfigDict(extra="forbid")

    placement: Placement
    product_id: list[Id] | None = Field(default=None, max_length=100)
    limit: int | None = Field(default=None, ge=1, le=100)
    repeat: Literal["auto", "only", "never"] | None = None
    category: Id | None = None
    diversity: float | None = Field(default=None, ge=0, le=1)


class AskedMore(Asked):
    """The same with more than a query can say."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "anonymous_id": "visitor-7",
                    "history": [{"product_id": "1082185", "name": "Product Viewed"}],
                    "placements": [{"placement": "home", "limit": 4}, {"placement": "email", "repeat": "never"}],
                }
            ]
        },
    )

    history: list[Step] = Field(
        default_factory=list, max_length=20 * NEWEST, description="Oldest first; the newest 500 count."
    )
    candidates: list[Id] | None = Field(default=None, min_length=1, max_length=1000, description="Rank only these.")
    placements: list[Slot] | None = Field(default=None, min_length=1, max_length=10, description="No product twice.")


class Reason(BaseModel):
    """Why a product is there; ``product_id`` is the one it rests on, ``text`` a sentence for shoppers."""

    code: str
    text: str
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
    fallback: str | None = Field(
        description="Null, or why the answer does not rest on this visitor, or not on the full ranking."
    )


@router.get(
    "/recommendations",
    summary="What a shopper would like next",
    response_model=None,
    responses=describe(401, 403, 404, 422, 503) | {200: {"model": Recommendations}},
)
async def recommendations(worker: Worker, pending: Asking, asked: Annotated[Asked, Query()]) -> Response:
    """For a known customer, a visitor without a name, a product's page or a cart."""
    return await _answered(worker, pending, asked, lambda caller: [_question(asked, caller)], whole_page=False)


@router.post(
    "/recommendations",
    summary="The same with a history, a list to rank, or several slots",
    response_model=None,
    responses=describe(401, 403, 404, 422, 503) | {200: {"model": Recommendations}},
)
async def recommendations_of(worker: Worker, pending: Asking, asked: AskedMore) -> Response:
    """``placements`` are answered as `placements`, in order, under one recommendation_id; each has its own items."""

    def questions(caller: Caller) -> list[Question]:
        base = _question(asked, caller, history=_history(asked.history, worker.shop_time()))
        base = replace(base, candidates=None if asked.candidates is None else tuple(asked.candidates))
        return [base] if asked.placements is None else [_slot_question(base, slot) for slot in asked.placements]

    return await _answered(worker, pending, asked, questions, whole_page=asked.placements is not None)


def _question(asked: Asked, caller: Caller, *, history: History = NOTHING) -> Question:
    named = asked.customer_id or asked.anonymous_id or asked.session_id or asked.product_id or caller.token_customer
    if not named and not len(history.product_ids):
        raise Problem(422, "query: one of customer_id, anonymous_id, session_id or product_id is expected")
    caller.check_customer(asked.customer_id)
    if asked.price_min is not None and asked.price_max is not None and asked.price_min > asked.price_max:
        raise Problem(422, "query.price_min is above query.price_max")
    return Question(
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
        history=history,
        country=asked.country,
        explore=asked.explore,
        after=asked.after,
    )


def _slot_question(base: Question, slot: Slot) -> Question:
    return replace(
        base,
        placement=slot.placement,
        product_ids=base.product_ids if slot.product_id is None else tuple(slot.product_id),
        limit=base.limit if slot.limit is None else slot.limit,
        repeat=base.repeat if slot.repeat is None else slot.repeat,
        filters=base.filters if slot.category is None else replace(base.filters, category=slot.category),
        diversity=base.diversity if slot.diversity is None else slot.diversity,
    )


def _history(steps: list[Step], now: datetime) -> History:
    """By time; what names no time came in its order just before ``now``."""
    if not steps:
        return NOTHING
    last = int(now.timestamp()) - 1
    at = np.array(
        [last if step.occurred_at is None else int(step.occurred_at.astimezone(UTC).timestamp()) for step in steps],
        dtype=np.int64,
    )
    order = np.argsort(at, kind="stable")
    kinds = ["purchase" if step.name in BOUGHT else KIND_OF_EVENT.get(step.name, "other") for step in steps]
    return History([steps[place].product_id for place in order], at[order], [kinds[place] for place in order])


async def _answered(
    worker: Live, pending: Pending, asked: Asked, ask: Callable[[Caller], list[Question]], *, whole_page: bool
) -> Response:
    """``ask`` says what is asked, once it is known who does."""
    came = time.perf_counter()
    async with worker.gate:
        return await _answered_now(
            worker, pending, asked, ask, whole_page=whole_page, waited=time.perf_counter() - came
        )


async def _answered_now(
    worker: Live,
    pending: Pending,
    asked: Asked,
    ask: Callable[[Caller], list[Question]],
    *,
    whole_page: bool,
    waited: float,
) -> Response:
    began, told = time.perf_counter(), (asked.customer_id, asked.anonymous_id, asked.session_id)
    sources = None if worker.shelf is None else _sources(worker)
    read = not worker.crowded(waited)
    try:
        key, *found = await worker.rows(
            pending.asked, *(() if sources is None else looks(sources.shelf, told, published=read))
        )
        questions, sources = ask(pending.caller(key)), sources or _sources(worker)
        if questions[0].who != told:  # a token tells who it is
            found = await worker.rows(*looks(sources.shelf, questions[0].who, published=read))
    except Overloaded as error:
        raise Problem(503, "too many ask at once, try again", headers={"Retry-After": "1"}) from error
    visitor = visitor_of(sources, questions[0], found, seconds=time.perf_counter() - began)
    repeated = None if whole_page else repeat(sources, visitor, questions[0])
    if repeated is not None:
        return _json(repeated)
    crowded = worker.crowded(waited) or not read
    if not crowded:
        sketched = await _weighed_beside(worker, sources, visitor, questions, whole_page=whole_page)
        if sketched is not None:
            return _json(recommend_sketched(sources, visitor, questions[0], sketched))
    asked_of, one = (recommend_page, questions) if whole_page else (recommend, questions[0])
    make: Callable[..., bytes] = partial(asked_of, sources)
    if not whole_page and is_weighed(sources, visitor, questions[0]):  # choosing takes less than a thread
        return _json(make(visitor, one))
    if crowded and all(map(rests_on_nobody, questions)):  # nothing is read, so nobody is kept waiting
        return _json(make(UNSEEN, one, most=POPULAR) if whole_page else recommend_unseen(sources, questions[0]))
    try:
        return _json(await worker.answer(partial(make, visitor, one)))
    except DataError as error:
        raise Problem(404, str(error)) from error


async def _weighed_beside(
    worker: Live, sources: Sources, visitor: Visitor, questions: list[Question], *, whole_page: bool
) -> Sketch | None:
    """Have what the answers will rest on weighed by a ranker, as far as there is one, and time; what is given, where it could be
    sketched there."""
    current, sketched = worker.champions.recommender, None
    if not worker.rankers or current is None or sources.model is not current.model:
        return None
    for question in questions:
        one = to_weigh(sources, visitor, question)
        if one is None or worker.budget.degree(visitor.seconds, waited=worker.rankers.expected_wait) != FULL:
            continue
        try:
            weighed, seconds, sketched = await worker.rankers.weigh(
                current.model, one.told, one.context, n=question.limit, sketch=one.sketched and not whole_page
            )
        except RankerLost as error:
            log.warning("%s; the worker weighs by itself", error)
            return None
        worker.budget.weighed(FULL, seconds)
        one.memory.keep(weighed)
    return sketched


def _sources(worker: Live) -> Sources:
    loaded, shelf = worker.champions.recommender, worker.published()
    return Sources(
        worker.store,
        shelf,
        model=None if loaded is None else loaded.model,
        policy=f"generation-{shelf.generation}" if loaded is None else loaded.policy,
        clock=worker.clock(),
        log=worker.shown,
        budget=worker.budget,
    )


BESIDE = {
    "response_model": None,
    "responses": describe(401, 403, 404, 422, 503) | {200: {"model": Recommendations}},
}


class Beside(BaseModel):
    """What may be asked of a product's neighbours, and who is shown them, so that clicks and orders are known as theirs."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=10, ge=1, le=100)
    fields: list[str] = Field(default_factory=list, description=f"Any of {', '.join(FIELDS)}.")
    customer_id: Id | None = None
    anonymous_id: Id | None = None
    session_id: Id | None = None


@router.get("/products/{product_id}/similar", summary="Products like this one", **BESIDE)
async def similar(worker: Worker, caller: Asker, product_id: str, asked: Annotated[Beside, Query()]) -> Response:
    """Products that the same shoppers like."""
    return await _beside(worker, caller, product_id, asked, together=False)


@router.get("/products/{product_id}/bought-together", summary="Products bought with this one", **BESIDE)
async def bought_together(
    worker: Worker, caller: Asker, product_id: str, asked: Annotated[Beside, Query()]
) -> Response:
    """Products found in the same baskets."""
    return await _beside(worker, caller, product_id, asked, together=True)


async def _beside(worker: Live, caller: Caller, product_id: str, asked: Beside, *, together: bool) -> Response:
    caller.check_customer(asked.customer_id)
    loaded = _loaded(worker)
    question = Question(
        customer_id=asked.customer_id or (None if asked.anonymous_id else caller.token_customer),
        anonymous_id=asked.anonymous_id,
        session_id=asked.session_id,
        placement="product",
        product_ids=(product_id,),
        limit=asked.limit,
        fields=_fields(asked.fields),
    )
    body = await worker.answering.run(lambda _: beside(_sources(worker), loaded.model, question, together=together))
    if body is None:
        raise Problem(404, f"product {product_id} is not known")
    return _json(body)


def _json(body: bytes) -> Response:
    return Response(body, media_type="application/json")


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
