"""What a shopper would like next."""

import secrets
import time
import uuid
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import orjson

from regulars.errors import DataError
from regulars.ids import IdMap
from regulars.models.asking import SHELVES, Answer, Context, Recommendation
from regulars.models.history import NOTHING, History
from regulars.models.recommendation_texts import reason_text
from regulars.models.recommender import Recommender
from serving.metrics import ANSWERS
from serving.services.degrees import Budget, answer
from serving.services.history import Clock, Newest, history_of, newest_of_customer, newest_of_visitor
from serving.services.remembered import Memory
from serving.services.shelf import Filters, Shelf
from serving.store.database import Store
from serving.store.published import profile_of
from serving.store.shown import ShownLog, ShownRow

T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """One slot on one page; ``history`` is beside what is known of who asks."""

    customer_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    placement: str = "home"
    product_ids: tuple[str, ...] = ()
    limit: int = 10
    repeat: str = "auto"
    filters: Filters = field(default_factory=Filters)
    exclude: tuple[str, ...] = ()
    diversity: float | None = None
    fields: tuple[str, ...] = ()
    history: History = NOTHING
    candidates: tuple[str, ...] | None = None
    country: str | None = None
    explore: float = 0.0
    after: str | None = None


def recommend(
    store: Store,
    shelf: Shelf,
    model: Recommender | None,
    question: Question,
    *,
    policy: str,
    clock: Clock,
    log: ShownLog,
    budget: Budget,
) -> dict[str, Any]:
    """The body of the answer; without a model, what is popular.

    Raises:
        DataError: where ``question.after`` is no recommendation that was given within the last 30 days.
    """
    answers, shown = _answers(store, shelf, model, [question], policy=policy, clock=clock, log=log, budget=budget)
    recommendation_id = _keep(log, [question], answers, shown, policy=policy, clock=clock)
    return {"recommendation_id": recommendation_id, "model_version": policy} | _slot(shelf, answers[0], question)


def recommend_page(
    store: Store,
    shelf: Shelf,
    model: Recommender | None,
    questions: Sequence[Question],
    *,
    policy: str,
    clock: Clock,
    log: ShownLog,
    budget: Budget,
) -> dict[str, Any]:
    """One answer for the slots of one page, in order; what one of them shows, no later one does.

    Raises:
        DataError: as ``recommend``.
    """
    answers, shown = _answers(store, shelf, model, questions, policy=policy, clock=clock, log=log, budget=budget)
    return {
        "recommendation_id": _keep(log, questions, answers, shown, policy=policy, clock=clock),
        "model_version": policy,
        "placements": [
            _slot(shelf, answer, question) for answer, question in zip(answers, questions, strict=True)
        ],
    }  # fmt: skip


def beside(
    shelf: Shelf,
    model: Recommender,
    question: Question,
    *,
    together: bool,
    policy: str,
    clock: Clock,
    log: ShownLog,
) -> dict[str, Any] | None:
    """Products like the question's one product, or bought with it; None where nothing is known of it."""
    (product_id,) = question.product_ids
    if product_id not in model.retrieval.ids and product_id not in shelf.ids:
        return None
    ask = model.bought_together if together else model.similar
    found = ask(product_id, n=question.limit, allowed=shelf.allowed(question.filters, model.retrieval.ids))
    recommendation_id = _keep(log, [question], [found], (), policy=policy, clock=clock)
    return {"recommendation_id": recommendation_id, "model_version": policy} | _slot(shelf, found, question)


def _answers(
    store: Store,
    shelf: Shelf,
    model: Recommender | None,
    questions: Sequence[Question],
    *,
    policy: str,
    clock: Clock,
    log: ShownLog,
    budget: Budget,
) -> tuple[list[Answer], tuple[str, ...]]:
    """One answer per question, and what was shown before the first of them."""
    began = time.perf_counter()
    first = questions[0]
    before = _shown(log, first.after)
    who, newest = (first.customer_id, first.anonymous_id, first.session_id), _newest(store, shelf, first)
    state = None if len(first.history.product_ids) or not any(who) else tuple(newest)
    history = _recalled(shelf, ("history", who), state, lambda: _history(store, first, newest, clock))
    country = first.country
    if country is None and first.customer_id and not len(history.product_ids):
        profile = profile_of(store, first.customer_id)
        country = None if profile is None else profile.country
    taken, answers = list(before), []
    ids = shelf.ids if model is None else model.retrieval.ids
    for question in questions:
        context = _context(ids, shelf, replace(question, country=country), taken, clock.shop)
        degree = budget.degree(time.perf_counter() - began)
        key = (policy, who, question.filters, context.of_weighing)
        memory = None if state is None else Memory(shelf.remembered, key, state)
        given, degree = answer(
            model, shelf, history, context, question.filters, n=question.limit, degree=degree, budget=budget,
            memory=memory,
        )  # fmt: skip
        ANSWERS.labels(degree, question.placement).inc()
        answers.append(given)
        taken += [item.product_id for item in answers[-1].items]
    return answers, before


def _recalled(shelf: Shelf, key: Hashable, state: Hashable | None, make: Callable[[], T]) -> T:
    """What was made under ``key`` a moment ago when ``state`` was the same, else made now; always made where it is None."""
    if state is None:
        return make()
    found: T | None = shelf.remembered.get(key, state=state)
    if found is None:
        found = make()
        shelf.remembered.put(key, found, state=state)
    return found


def _context(ids: IdMap, shelf: Shelf, question: Question, taken: Sequence[str], moment: int) -> Context:
    steering = shelf.steering(question.placement, ids)
    ranked = question.candidates is not None or (question.placement in SHELVES and bool(question.product_ids))
    return Context(
        moment=moment,
        placement=question.placement,
        product_ids=question.product_ids,
        repeat=question.repeat,
        exclude=frozenset((*question.exclude, *taken)),
        allowed=shelf.allowed(question.filters, ids),
        candidates=question.candidates,
        diversity=question.diversity,
        pinned=() if ranked else steering.pinned,
        steering=steering.factors,
        country=question.country,
        explore=question.explore,
        seed=secrets.randbits(32) if question.explore else 0,
    )


def _shown(log: ShownLog, after: str | None) -> tuple[str, ...]:
    if after is None:
        return ()
    found = log.before(after)
    if found is None:
        raise DataError(f"after expects a recommendation_id of the last 30 days, {after} is not known; ask without it")
    return found


def _keep(
    log: ShownLog,
    questions: Sequence[Question],
    answers: Sequence[Answer],
    before: Sequence[str],
    *,
    policy: str,
    clock: Clock,
) -> str:
    """Log what is shown, and to whom; the id it goes by."""
    who, slots = questions[0], list(zip(questions, answers, strict=True))
    items = [item for answer in answers for item in answer.items]
    row = ShownRow(
        recommendation_id=f"rec_{uuid.uuid4().hex}",
        customer_id=who.customer_id,
        anonymous_id=who.anonymous_id,
        session_id=who.session_id,
        policy=policy,
        slots=orjson.dumps([_shown_slot(question, answer) for question, answer in slots]).decode(),
        summary=",".join(f"{question.placement}:{len(answer.items)}" for question, answer in slots if answer.items),
        product_ids=orjson.dumps([*before, *(item.product_id for item in items)]).decode(),
        created_at=clock.at,
    )
    log.add(row)
    return row.recommendation_id


def _shown_slot(question: Question, answer: Answer) -> dict[str, Any]:
    items = [[item.product_id, item.score, item.propensity] for item in answer.items]
    return {"placement": question.placement, "items": items}


def _newest(store: Store, shelf: Shelf, question: Question) -> Newest:
    """What who asks did since publishing, newest first."""
    if question.customer_id:
        return newest_of_customer(store, question.customer_id, covered=shelf.covered)
    if question.anonymous_id or question.session_id:
        return newest_of_visitor(store, anonymous_id=question.anonymous_id, session_id=question.session_id)
    return ()


def _history(store: Store, question: Question, newest: Newest, clock: Clock) -> History:
    """All that is known of who asks, and what the question itself tells."""
    known = history_of(store, question.customer_id or None, newest, clock=clock)
    return _joined(known, _in_shop_time(question.history, clock))


def _in_shop_time(history: History, clock: Clock) -> History:
    """What lies after the shop's now is of the clock's time: as long ago there as it is here, at least a second."""
    at = history.occurred_at
    moved = clock.shop - np.maximum(clock.now - at, 1)
    return History(history.product_ids, np.where(at < clock.shop, at, moved), history.kinds)


def _joined(first: History, then: History) -> History:
    """Both by time, those of one moment in their order."""
    if not len(first.product_ids) or not len(then.product_ids):
        return then if len(then.product_ids) else first
    at = np.concatenate([first.occurred_at, then.occurred_at])
    order = np.argsort(at, kind="stable")
    products, kinds = [*first.product_ids, *then.product_ids], [*first.kinds, *then.kinds]
    return History([products[place] for place in order], at[order], [kinds[place] for place in order])


def _slot(shelf: Shelf, answer: Answer, question: Question) -> dict[str, Any]:
    return {
        "placement": question.placement,
        "items": [_item(shelf, item, question) for item in answer.items],
        "fallback": answer.fallback,
    }


def _item(shelf: Shelf, item: Recommendation, question: Question) -> dict[str, Any]:
    reason: dict[str, Any] = {"code": item.reason_code}
    because = None
    if item.reason_product_id is not None:
        reason["product_id"] = item.reason_product_id
        because = shelf.product(item.reason_product_id, ("name",)).get("name")
    return {
        "product_id": item.product_id,
        "rank": item.rank,
        "score": item.score,
        "reason": reason | {"text": reason_text(item, because=because, country=question.country)},
        **({"propensity": item.propensity} if item.propensity < 1 else {}),
        **shelf.product(item.product_id, question.fields),
    }
