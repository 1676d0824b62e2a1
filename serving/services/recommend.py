"""What a shopper would like next."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from regulars.models.history import NOTHING, History
from regulars.models.recommender import Answer, Context, Recommendation, Recommender
from serving.services.history import Clock, history_of, history_of_visitor
from serving.services.shelf import Filters, Shelf
from serving.store.database import Store

DEEPER = 4
MOST_DEEP = 200


@dataclass(frozen=True)
class Question:
    """One slot on one page."""

    customer_id: str | None = None
    anonymous_id: str | None = None
    session_id: str | None = None
    placement: str = "home"
    product_ids: tuple[str, ...] = ()
    limit: int = 10
    repeat: str = "auto"
    filters: Filters = field(default_factory=Filters)
    exclude: tuple[str, ...] = ()
    diversity: float = 0.0
    fields: tuple[str, ...] = ()


def recommend(
    store: Store, shelf: Shelf, model: Recommender, question: Question, *, version: int, clock: Clock
) -> dict[str, Any]:
    """The body of the answer."""
    answer = _ask(model, shelf, _history(store, shelf, question, clock), question, clock.shop)
    return _body(shelf, answer, question.fields, version=version, placement=question.placement)


def beside(
    shelf: Shelf,
    model: Recommender,
    product_id: str,
    *,
    together: bool,
    limit: int,
    fields: Sequence[str],
    version: int,
) -> dict[str, Any] | None:
    """Products like ``product_id``, or bought with it; None where nothing is known of it."""
    if product_id not in model.retrieval.ids and product_id not in shelf.ids:
        return None
    ask = model.bought_together if together else model.similar
    answer = ask(product_id, n=limit, allowed=shelf.allowed(Filters(), model.retrieval.ids))
    return _body(shelf, answer, fields, version=version, placement="product")


def _history(store: Store, shelf: Shelf, question: Question, clock: Clock) -> History:
    if question.customer_id:
        return history_of(store, question.customer_id, covered=shelf.covered, clock=clock)
    if question.anonymous_id or question.session_id:
        return history_of_visitor(
            store, anonymous_id=question.anonymous_id, session_id=question.session_id, clock=clock
        )
    return NOTHING


def _ask(model: Recommender, shelf: Shelf, history: History, question: Question, moment: int) -> Answer:
    context = Context(
        moment=moment,
        placement=question.placement,
        product_ids=question.product_ids,
        repeat=question.repeat,
        exclude=frozenset(question.exclude),
        allowed=shelf.allowed(question.filters, model.retrieval.ids),
    )
    if not question.diversity:
        return model.recommend(history, context, n=question.limit)
    deep = model.recommend(history, context, n=min(question.limit * DEEPER, MOST_DEEP))
    chosen = diversified(deep.items, shelf, n=question.limit, diversity=question.diversity)
    return Answer(tuple(chosen), deep.fallback)


def diversified(items: Sequence[Recommendation], shelf: Shelf, *, n: int, diversity: float) -> list[Recommendation]:
    """The ``n`` of largest (1 - diversity) x relevance - diversity x share of its category among those before it.

    Relevance falls evenly with the rank. Source: maximal marginal relevance, Carbonell & Goldstein, SIGIR 1998.
    """
    left, chosen = list(items), []
    seen: dict[str | None, int] = {}
    while left and len(chosen) < n:

        def worth(item: Recommendation) -> float:
            relevance = 1 - (item.rank - 1) / len(items)
            alike = seen.get(shelf.category(item.product_id), 0) / max(len(chosen), 1)
            return (1 - diversity) * relevance - diversity * alike

        best = max(left, key=lambda item: (worth(item), -item.rank))
        left.remove(best)
        category = shelf.category(best.product_id)
        seen[category] = seen.get(category, 0) + 1
        chosen.append(best)
    return [
        Recommendation(item.product_id, rank, item.score, item.reason_code, item.reason_product_id)
        for rank, item in enumerate(chosen, 1)
    ]


def _body(shelf: Shelf, answer: Answer, fields: Sequence[str], *, version: int, placement: str) -> dict[str, Any]:
    return {
        "recommendation_id": f"rec_{uuid.uuid4().hex}",
        "model_version": f"recommender-{version}",
        "placement": placement,
        "items": [_item(shelf, item, fields) for item in answer.items],
        "fallback": answer.fallback,
    }


def _item(shelf: Shelf, item: Recommendation, fields: Sequence[str]) -> dict[str, Any]:
    reason: dict[str, Any] = {"code": item.reason_code}
    if item.reason_product_id is not None:
        reason["product_id"] = item.reason_product_id
    return {
        "product_id": item.product_id,
        "rank": item.rank,
        "score": item.score,
        "reason": reason,
        **shelf.product(item.product_id, fields),
    }
