"""How much work an answer may take: full ranking, retrievers only, or what is popular by the generation that was published.

The time budget of a request chooses: the fullest degree whose usual time still fits into what is left of it. What fails is
answered by the degree below.
"""

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from itertools import chain
from threading import Lock

from regulars.models.asking import SHELVES, Answer, Context, Recommendation
from regulars.models.history import History
from regulars.models.recommender import Recommender, Weighed
from serving.services.remembered import Memory
from serving.services.shelf import Filters, Shelf
from serving.usual import Usual

FULL, RETRIEVERS, POPULAR = "full", "retrievers", "popular"
DEGREES = (FULL, RETRIEVERS, POPULAR)
FALLBACK = {RETRIEVERS: "retrievers_only", POPULAR: "popular_only"}
ENOUGH = 5
TRIED_EVERY = 50
NEWEST_PRODUCTS = 3
LATEST_ANSWERS = 1_000

log = logging.getLogger(__name__)


class Budget:
    """Chooses the degree of each answer of one worker, within ``seconds`` per request.

    What a degree takes is the median of its last processor times, once five are known: neither a cold start nor waiting for
    others is held against it. Every 50th request with time left is ranked in full, so that a slow minute is not remembered
    for ever.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._took = {degree: Usual() for degree in (FULL, RETRIEVERS)}
        self._latest: deque[str] = deque(maxlen=LATEST_ANSWERS)
        self._asked = 0
        self._lock = Lock()

    def degree(self, spent: float, *, waited: float = 0.0) -> str:
        """The fullest degree that fits where ``spent`` seconds are gone, after ``waited`` seconds in which nobody worked on it.

        Waiting as long as the whole budget is forgiven, so that a short crowd changes nothing; what is longer counts.
        """
        left = self.seconds - spent - max(waited - self.seconds, 0.0)
        with self._lock:
            self._asked += 1
            if left > 0 and self._asked % TRIED_EVERY == 0:
                return FULL
            return next((degree for degree in (FULL, RETRIEVERS) if self._usual(degree) <= left), POPULAR)

    def took(self, degree: str, seconds: float) -> None:
        """An answer of ``degree`` was given and took the processor for ``seconds``."""
        with self._lock:
            self._latest.append(degree)
        self.weighed(degree, seconds)

    def weighed(self, degree: str, seconds: float) -> None:
        """What an answer of ``degree`` will rest on took a processor for ``seconds``."""
        with self._lock:
            if degree in self._took:
                self._took[degree].add(seconds)

    def remembered(self) -> None:
        """A full answer was given that was weighed before: its time says nothing of what weighing takes."""
        with self._lock:
            self._latest.append(FULL)

    def latest(self) -> dict[str, int]:
        """Degree -> how many of the worker's last 1,000 answers had it."""
        with self._lock:
            counts = Counter(self._latest)
        return {degree: counts[degree] for degree in DEGREES}

    def _usual(self, degree: str) -> float:
        took = self._took[degree]
        return took.seconds if len(took) >= ENOUGH else 0.0


def answer(
    model: Recommender | None,
    shelf: Shelf,
    history: History,
    context: Context,
    filters: Filters,
    *,
    n: int,
    degree: str,
    budget: Budget,
    memory: Memory[Weighed] | None = None,
    clock: Callable[[], float] = time.thread_time,
) -> tuple[Answer, str]:
    """The answer, of ``degree`` or, where that fails or no model is there, of a lower one; and of which.

    What ``memory`` has of this question is weighed already, so that choosing from it is all that full ranking takes.
    """
    weighed = memory.recall() if memory is not None and model is not None else None
    if weighed is not None and model is not None:
        budget.remembered()
        return model.choose(weighed, context, n=n), FULL
    wanted = DEGREES[DEGREES.index(degree if model is not None else POPULAR) :]
    for tried in wanted:
        began = clock()
        try:
            found = _answer(model, shelf, history, context, filters, n=n, degree=tried, memory=memory)
        except Exception:
            if tried == POPULAR:
                raise
            log.exception("an answer of degree %s failed, trying the next", tried)
            continue
        budget.took(tried, clock() - began)
        return found, tried
    raise AssertionError("the last degree answers or raises")


def _answer(
    model: Recommender | None,
    shelf: Shelf,
    history: History,
    context: Context,
    filters: Filters,
    *,
    n: int,
    degree: str,
    memory: Memory[Weighed] | None,
) -> Answer:
    if model is None or degree == POPULAR:
        return popular(shelf, history, context, filters, n=n)
    if degree == FULL:
        weighed = model.weigh(history, context)
        if memory is not None:
            memory.keep(weighed)
        return model.choose(weighed, context, n=n)
    return replace(model.recommend(history, _beside_newest(history, context), n=n), fallback=FALLBACK[degree])


def _beside_newest(history: History, context: Context) -> Context:
    """The same question about what completes the newest products, which retrievers answer without a ranker."""
    if context.placement in SHELVES and context.product_ids:
        return context
    newest = tuple(dict.fromkeys(reversed(history.product_ids)))[:NEWEST_PRODUCTS]
    exclude = context.exclude | context.unwanted
    return replace(context, placement="cart", product_ids=newest or context.product_ids, exclude=exclude)


def popular(shelf: Shelf, history: History, context: Context, filters: Filters, *, n: int) -> Answer:
    """What most customers looked at or bought when the generation was published, as far as the question permits it."""
    told = zip(history.product_ids, history.kinds, strict=True)
    bought = set() if context.repeat == "auto" else {product_id for product_id, kind in told if kind == "purchase"}
    unwanted = context.unwanted
    allowed = shelf.allowed(filters, shelf.ids)
    candidates = None if context.candidates is None else set(context.candidates)

    def permitted(product_id: str) -> bool:
        row = shelf.ids.row(product_id)
        return (
            row >= 0
            and (allowed is None or bool(allowed[row]))
            and product_id not in unwanted
            and (candidates is None or product_id in candidates)
            and (context.repeat == "auto" or (product_id in bought) == (context.repeat == "only"))
        )

    order = chain(context.pinned, shelf.popular, context.candidates or ())
    chosen = _one_of_each(shelf, filter(permitted, order), n)
    items = [Recommendation(product_id, rank, 1 / (rank + 1), "popular") for rank, product_id in enumerate(chosen, 1)]
    return Answer(tuple(items), FALLBACK[POPULAR])


def _one_of_each(shelf: Shelf, product_ids: Iterable[str], n: int) -> Collection[str]:
    """The first ``n``, one variant of each, each once."""
    families: dict[str, str] = {}
    for product_id in product_ids:
        if len(families) == n:
            break
        parent = shelf.product(product_id, ("parent_id",)).get("parent_id", product_id)
        families.setdefault(str(parent), product_id)
    return families.values()
