"""What a shopper would like next."""

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated

import numpy as np
from fastapi import APIRouter, Depends, Query, Response

from features.interactions import KIND_OF_EVENT
from regulars.errors import DataError
from regulars.models.history import NOTHING, History
from serving.access import Caller, Pending, Worker, allow, allow_later
from serving.champions import Loaded
from serving.live import Live
from serving.problems import Problem, describe
from serving.ranker import RankerLost
from serving.routes.direct import Direct, Json
from serving.routes.recommendation_models import Asked, AskedMore, Beside, Recommendations, Slot, Step
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
BOUGHT = ("Order Completed", "purchase")


@router.get(
    "/recommendations",
    summary="What a shopper would like next",
    response_model=None,
    responses=describe(401, 403, 404, 422, 503) | {200: {"model": Recommendations}},
)
async def recommendations(worker: Worker, pending: Asking, asked: Annotated[Asked, Query()]) -> Response:
    """For a known customer, a visitor without a name, a product's page or a cart."""

    def questions(caller: Caller) -> list[Question]:
        caller.check_customer(asked.customer_id)
        return [asked.question(caller.token_customer, lambda: _question(asked, caller))]

    return await _answered(worker, pending, asked, questions, whole_page=False)


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
        return Json(repeated)
    crowded = worker.crowded(waited) or not read
    if not crowded:
        sketched = await _weighed_beside(worker, sources, visitor, questions, whole_page=whole_page)
        if sketched is not None:
            return Json(recommend_sketched(sources, visitor, questions[0], sketched))
    asked_of, one = (recommend_page, questions) if whole_page else (recommend, questions[0])
    make: Callable[..., bytes] = partial(asked_of, sources)
    if not whole_page and is_weighed(sources, visitor, questions[0]):  # choosing takes less than a thread
        return Json(make(visitor, one))
    if crowded and all(map(rests_on_nobody, questions)):  # nothing is read, so nobody is kept waiting
        return Json(make(UNSEEN, one, most=POPULAR) if whole_page else recommend_unseen(sources, questions[0]))
    try:
        return Json(await worker.answer(partial(make, visitor, one)))
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
    return Json(body)


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
