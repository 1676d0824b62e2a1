"""What a shopper would like next."""

import secrets
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from regulars.errors import DataError
from regulars.ids import IdMap
from regulars.models.asking import SHELVES, Answer, Context
from regulars.models.history import NOTHING, History, Told
from regulars.models.recommender import Recommender, Weighed
from serving.metrics import ANSWERS, labelled
from serving.services.asked import UNSEEN, Question, Visitor
from serving.services.degrees import FULL, POPULAR, Budget, answer
from serving.services.given import Given, Sketch, completed, given
from serving.services.history import Clock, Who, happened, joined_by_time, newest_asked, published_in
from serving.services.remembered import Memory
from serving.services.shelf import Filters, Shelf
from serving.store.database import Store
from serving.store.events import touched_in
from serving.store.prepared import Asked, Found, rows_of_each
from serving.store.published import history_asked, history_body, profile_of
from serving.store.shown import ShownLog

PUBLISHED = ()  # the state of what only another generation changes

T = TypeVar("T")


@dataclass(frozen=True)
class Sources:
    """What answers are made from, by which ``policy``, when, and where they are logged; without a model by what is popular."""

    store: Store
    shelf: Shelf
    model: Recommender | None
    policy: str
    clock: Clock
    log: ShownLog
    budget: Budget
    _contexts: dict[int, tuple[Question, Context]] = field(default_factory=dict, init=False, repr=False)

    @property
    def ids(self) -> IdMap:
        """The products that answers are made of."""
        return self.shelf.ids if self.model is None else self.model.retrieval.ids

    def context(self, question: Question) -> Context:
        """What the question asks of a recommender, made once."""
        kept = self._contexts.get(id(question))
        if kept is None or kept[0] is not question:
            kept = self._contexts[id(question)] = (question, _context(self, question))
        return kept[1]


def looks(shelf: Shelf, who: Who, *, published: bool = True) -> list[Asked]:
    """The statements that tell what is known of ``who`` and is not at hand; ``published``: also what was published of them."""
    newest, customer_id = newest_asked(shelf, who), who[0]
    asked = [] if newest is None else [newest]
    if published and customer_id and _published(shelf, customer_id) is None:
        asked.append(history_asked(shelf.generation, customer_id))
    return asked


def visitor_of(
    sources: Sources, question: Question, found: Sequence[Found] | None = None, *, seconds: float = 0.0
) -> Visitor:
    """What who asks did since publishing, by what ``looks`` found within ``seconds``; looked up now where that is not given."""
    shelf, began = sources.shelf, time.perf_counter()
    if found is None:
        found = rows_of_each(sources.store, *looks(shelf, question.who))
    newest = touched_in(found[0]) if found else []
    if len(found) > 1 and question.customer_id:
        body = found[1][0][0] if found[1] else None
        shelf.remembered.put(("published", question.customer_id), published_in(shelf, body), state=PUBLISHED)
    state = None if len(question.history.product_ids) or not any(question.who) else tuple(newest)
    return Visitor(newest, state, seconds + time.perf_counter() - began)


def _published(shelf: Shelf, customer_id: str) -> History | None:
    """What was published of a customer, where it is at hand."""
    found: History | None = shelf.remembered.get(("published", customer_id), state=PUBLISHED)
    return found


def repeat(sources: Sources, visitor: Visitor, question: Question) -> bytes | None:
    """The body of the answer where this very question was answered in full a moment ago; else None."""
    if visitor.state is None:
        return None
    found: Given | None = sources.shelf.answered.get((sources.policy, question), state=visitor.state)
    if found is None:
        return None
    sources.budget.remembered()
    labelled(ANSWERS, FULL, question.placement).inc()
    return found.give(sources.log, sources.clock, question.who)


@dataclass(frozen=True)
class ToWeigh:
    """What the model must weigh, and where what it found is kept for the answer; ``sketched``: whether that can be given as it is
    sketched beside the model."""

    told: Told
    context: Context
    memory: Memory[Weighed]
    sketched: bool


def to_weigh(sources: Sources, visitor: Visitor, question: Question) -> ToWeigh | None:
    """What an answer to the question rests on and is not weighed yet; None where that cannot be told without a look."""
    if sources.model is None or visitor.state is None or question.after is not None:
        return None
    if question.customer_id and _published(sources.shelf, question.customer_id) is None:
        return None
    context = sources.context(question)
    memory = _memory(sources, visitor, question, question.filters, context)
    if memory is None or memory.recall() is not None:
        return None
    history = _known(sources, visitor, question)
    sketched = not question.fields and _tells_where(history, question)
    return ToWeigh(sources.model.told(history, context), context, memory, sketched)


def is_weighed(sources: Sources, visitor: Visitor, question: Question) -> bool:
    """Whether what the answer rests on was weighed a moment ago, so that it is only to be chosen and nothing is read."""
    if visitor.state is None or question.after is not None or sources.model is None:
        return False
    history: History | None = sources.shelf.remembered.get(("history", question.who), state=visitor.state)
    if history is None or not _tells_where(history, question):
        return False
    memory = _memory(sources, visitor, question, question.filters, sources.context(question))
    return memory is not None and memory.recall() is not None


def _tells_where(history: History, question: Question) -> bool:
    """Whether what is popular need not be looked up by the country of who asks."""
    return bool(len(history.product_ids)) or question.country is not None


def rests_on_nobody(question: Question) -> bool:
    """Whether what is popular answers the question without a look at who asks, or at what they were shown."""
    return question.repeat == "auto" and question.after is None


def recommend(sources: Sources, visitor: Visitor, question: Question, waited: float = 0.0, most: str = FULL) -> bytes:
    """The body of the answer, after ``waited`` seconds in which it was not begun, with no more ranking than ``most``.

    Raises:
        DataError: where ``question.after`` is no recommendation that was given within the last 30 days.
    """
    before = _shown(sources.log, question.after)
    found = _answers(sources, visitor, [question], before, waited=waited, most=most)
    made = given(sources.shelf, [question], found.answers, policy=sources.policy, before=before)
    if found.since is not None and question.after is None and not question.explore:
        key = (sources.policy, question)
        sources.shelf.answered.put(key, made, state=visitor.state, since=found.since)
    return made.give(sources.log, sources.clock, question.who)


def recommend_sketched(sources: Sources, visitor: Visitor, question: Question, sketched: Sketch) -> bytes:
    """The body of the answer that was weighed in full just now, and sketched."""
    made = completed(sketched, sources.shelf, policy=sources.policy)
    if not question.explore:
        sources.shelf.answered.put((sources.policy, question), made, state=visitor.state)
    sources.budget.remembered()
    labelled(ANSWERS, FULL, question.placement).inc()
    return made.give(sources.log, sources.clock, question.who)


def recommend_unseen(sources: Sources, question: Question) -> bytes:
    """The body of the answer that rests on nobody, made once for all who ask the same; see ``rests_on_nobody``."""
    nobody = replace(question, customer_id=None, anonymous_id=None, session_id=None)
    key = (sources.policy, nobody)
    made: Given | None = sources.shelf.answered.get(key, state=UNSEEN)
    if made is None:
        found = _answers(sources, UNSEEN, [nobody], (), waited=0.0, most=POPULAR)
        made = given(sources.shelf, [nobody], found.answers, policy=sources.policy)
        sources.shelf.answered.put(key, made, state=UNSEEN)
    else:
        sources.budget.took(POPULAR, 0.0)
        labelled(ANSWERS, POPULAR, question.placement).inc()
    return made.give(sources.log, sources.clock, question.who)


def recommend_page(
    sources: Sources, visitor: Visitor, questions: Sequence[Question], waited: float = 0.0, most: str = FULL
) -> bytes:
    """One answer for the slots of one page, in order; what one of them shows, no later one does.

    Raises:
        DataError: as ``recommend``.
    """
    before = _shown(sources.log, questions[0].after)
    found = _answers(sources, visitor, questions, before, waited=waited, most=most)
    made = given(sources.shelf, questions, found.answers, policy=sources.policy, before=before, whole_page=True)
    return made.give(sources.log, sources.clock, questions[0].who)


def beside(sources: Sources, model: Recommender, question: Question, *, together: bool) -> bytes | None:
    """Products like the question's one product, or bought with it; None where nothing is known of it."""
    (product_id,) = question.product_ids
    shelf = sources.shelf
    if product_id not in model.retrieval.ids and product_id not in shelf.ids:
        return None
    ask = model.bought_together if together else model.similar
    found = ask(product_id, n=question.limit, allowed=shelf.allowed(question.filters, model.retrieval.ids))
    made = given(shelf, [question], [found], policy=sources.policy)
    return made.give(sources.log, sources.clock, question.who)


@dataclass(frozen=True)
class _Answers:
    """One per question; ``since``: when the first of what they rest on was weighed, None where they may not be given again."""

    answers: list[Answer]
    since: float | None


def _answers(
    sources: Sources,
    visitor: Visitor,
    questions: Sequence[Question],
    before: Sequence[str],
    *,
    waited: float,
    most: str,
) -> _Answers:
    began = time.perf_counter() - visitor.seconds
    store, shelf, model, first = sources.store, sources.shelf, sources.model, questions[0]
    state = visitor.state
    key = ("history", first.who)
    unread = most == POPULAR and all(question.repeat == "auto" for question in questions)
    if unread and (state is None or shelf.remembered.get(key, state=state) is None):
        history = NOTHING  # what is popular rests on nobody's history
    else:
        unread = False
        history = _known(sources, visitor, first)
    country = first.country
    if country is None and first.customer_id and not unread and not len(history.product_ids):
        profile = profile_of(store, first.customer_id)
        country = None if profile is None else profile.country
    taken, answers, since, full = list(before), [], time.monotonic(), True
    for question in questions:
        context = sources.context(question)
        if taken or country != context.country:
            context = replace(context, country=country, exclude=context.exclude.union(taken))
        degree = most if most != FULL else sources.budget.degree(time.perf_counter() - began, waited=waited)
        memory = _memory(sources, visitor, first, question.filters, context)
        since = since if memory is None else min(since, memory.since())
        found, degree = answer(
            model, shelf, history, context, question.filters, n=question.limit, degree=degree, budget=sources.budget,
            memory=memory,
        )  # fmt: skip
        labelled(ANSWERS, degree, question.placement).inc()
        full = full and degree == FULL
        answers.append(found)
        taken += [item.product_id for item in found.items]
    return _Answers(answers, since if full and state is not None else None)


def _memory(
    sources: Sources, visitor: Visitor, first: Question, filters: Filters, context: Context
) -> Memory[Weighed] | None:
    """Where what is weighed for ``context`` is remembered; None where nothing of who asks may be."""
    key = (sources.policy, first.who, filters, context.of_weighing)
    return None if visitor.state is None else Memory(sources.shelf.remembered, key, visitor.state)


def _known(sources: Sources, visitor: Visitor, question: Question) -> History:
    """All that is known of who asks, and what the question itself tells."""

    def joined() -> History:
        shelf, customer_id = sources.shelf, question.customer_id
        before = NOTHING
        if customer_id:
            found = _published(shelf, customer_id)
            before = (
                published_in(shelf, history_body(sources.store, shelf.generation, customer_id))
                if found is None
                else found
            )
        for then in (happened(visitor.newest, sources.clock), _in_shop_time(question.history, sources.clock)):
            before = joined_by_time(before, then)
        return before

    return _recalled(sources.shelf, ("history", question.who), visitor.state, joined)


def _recalled(shelf: Shelf, key: Hashable, state: Hashable | None, make: Callable[[], T]) -> T:
    """What was made under ``key`` a moment ago when ``state`` was the same, else made now; always made where it is None."""
    if state is None:
        return make()
    found: T | None = shelf.remembered.get(key, state=state)
    if found is None:
        found = make()
        shelf.remembered.put(key, found, state=state)
    return found


def _context(sources: Sources, question: Question) -> Context:
    ids, shelf = sources.ids, sources.shelf
    steering = shelf.steering(question.placement, ids)
    ranked = question.candidates is not None or (question.placement in SHELVES and bool(question.product_ids))
    return Context(
        moment=sources.clock.shop,
        placement=question.placement,
        product_ids=question.product_ids,
        repeat=question.repeat,
        exclude=frozenset(question.exclude),
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


def _in_shop_time(history: History, clock: Clock) -> History:
    """What lies after the shop's now is of the clock's time: as long ago there as it is here, at least a second."""
    if not len(history.product_ids):
        return NOTHING
    at = history.occurred_at
    moved = clock.shop - np.maximum(clock.now - at, 1)
    return History(history.product_ids, np.where(at < clock.shop, at, moved), history.kinds)
