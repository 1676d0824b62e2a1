"""Retrieve, then rank: from a history and a context to products, best first, each with a reason.

Retrievers propose a few hundred products; a LambdaMART ranker (Burges, From RankNet to LambdaRank to LambdaMART, 2010)
orders them by features of (history, product). On a product's page or in a cart the question is another one, what goes
with these products, and neighbours answer it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.errors import ArtifactError
from regulars.ids import Rows
from regulars.models.artifact import open_artifact, seal_artifact
from regulars.models.asking import SHELVES, Answer, Context, Recommendation
from regulars.models.beside import SHARES, around, beside_scores, known_groups
from regulars.models.chances import Chances
from regulars.models.history import (
    NOTHING,
    History,
    Known,
    Told,
    done_with,
    known_history,
    told_history,
)
from regulars.models.history_kernels import DAY_S, STRONGEST
from regulars.models.pairs import NAMES
from regulars.models.ranker import Ranker
from regulars.models.retrieval import NO_ROWS, Retrieval
from regulars.models.threads import one_thread
from regulars.models.variety import diversified, one_of_each
from regulars.models.weighing import Weigher

__all__ = ["Answer", "Context", "Recommendation", "Recommender", "Repeat"]

AT_FIRST = 4_096
KIND, FORMAT = "recommender", 3

Floats = NDArray[np.float64]
Repeat = Literal["auto", "only", "never"]


class Chosen(NamedTuple):
    """The ``answer`` of ``n`` products to a ``context`` that steers nothing."""

    context: Context
    n: int
    answer: Answer


@dataclass(frozen=True)
class Weighed:
    """The candidates ``rows`` of a history at a ``moment`` and their ``scores``, best or not, before what a context forbids is
    left out.

    It depends on the history and, of the context, on ``Context.of_weighing`` only. ``chosen``: what was chosen of it already.
    """

    told: Told
    moment: int
    rows: Rows
    scores: Floats
    chosen: Chosen | None = None

    @property
    def known(self) -> Known:
        """The history at the moment."""
        return self.told.known(self.moment)


class Recommender:
    """Maps histories to products; nothing in it is about any one customer."""

    def __init__(
        self,
        retrieval: Retrieval,
        ranker: Ranker | None,
        *,
        about: Mapping[str, object],
        explorer: Ranker | None = None,
        chances: Chances | None = None,
        explorer_chances: Chances | None = None,
    ) -> None:
        self.retrieval = retrieval
        self.ranker = ranker
        self.explorer = explorer  # learnt from products new to the customer only
        self.chances = chances
        self.explorer_chances = explorer_chances
        self.about = dict(about)

    def recommend(self, history: History, context: Context, *, n: int) -> Answer:
        """Up to ``n`` products for one history."""
        return self.choose(self.weigh(history, context), context, n=n)

    @one_thread()
    def recommend_many(self, histories: Sequence[History], contexts: Sequence[Context], *, n: int) -> list[Answer]:
        """One answer per history, in order; each is what ``recommend`` gives for it alone."""
        return [self.recommend(*one, n=n) for one in zip(histories, contexts, strict=True)]

    def weigh(self, history: History, context: Context) -> Weighed:
        """The first half of ``recommend``, the dear one: candidates and their scores, worth keeping while nothing happens."""
        return self.weigh_told(self.told(history, context), context)

    def told(self, history: History, context: Context) -> Told:
        """What ``weigh`` reads of a history: arrays that another process with the same model can weigh."""
        if context.placement == "order":
            history = _with_order(history, context)
        return told_history(history, self.retrieval.ids, moment=context.moment)

    def weigh_told(self, told: Told, context: Context) -> Weighed:
        """``weigh`` of what ``told`` gave for the same context; of that it reads the moment, the placement, the products of
        the page, ``repeat``, ``exclude``, ``candidates`` and ``allowed``."""
        known = told.known(context.moment)
        page = self._page(context)
        if context.placement in SHELVES and len(page):
            return Weighed(told, context.moment, *self._weighed_beside(page, known, context))
        ranker = self.explorer or self.ranker if context.repeat == "never" else self.ranker
        allowed = self._allowed(context)
        found = self._weigher.scored(known, ranker, moment=context.moment, repeat=context.repeat, allowed=allowed)
        return Weighed(told, context.moment, *found)

    def choose(self, weighed: Weighed, context: Context, *, n: int) -> Answer:
        """The second half: up to ``n`` of what is weighed, as far as ``context`` permits."""
        if weighed.chosen is not None and weighed.chosen[:2] == (context, n) and context.steering is None:
            return weighed.chosen.answer
        permitted = self._permitted(weighed.rows, weighed.known, context)
        return self._answer(weighed.known, context, weighed.rows[permitted], weighed.scores[permitted], n)

    def warm_up(self) -> None:
        """Answer once for a history of popular products, so that no visitor waits for what is computed at the first asking."""
        rows = self.retrieval.popular.order[: STRONGEST + 1]  # as many as are put in order
        history = History(self.retrieval.ids.ids(rows), np.arange(len(rows)), ("purchase",) * len(rows))
        allowed = self.retrieval.popular.counts[:, 0] >= 0
        for repeat in ("auto", "never"):
            self.recommend(history, Context(moment=DAY_S, repeat=repeat, allowed=allowed), n=10)
        page = tuple(history.product_ids[:5])
        self.recommend(history, Context(moment=DAY_S, placement="product", product_ids=page), n=1)
        for product_id in page[:1]:
            self.similar(product_id, n=1)

    def rank(self, known: Known, *, moment: int, n: int, repeat: str = "auto") -> Rows:
        """The first ``n`` rows for a history already in rows, nothing filtered out, by ``ranker``; shape (at most n,).

        ``repeat`` says how deep the retrievers dig.
        """
        rows, scores = self._weigher.scored(known, self.ranker, moment=moment, repeat=repeat)
        return rows[np.lexsort((rows, -scores))[:n]]

    def similar(self, product_id: str, *, n: int, allowed: NDArray[np.bool_] | None = None) -> Answer:
        """Products that the same visitors like; never the product itself."""
        return self._beside(product_id, n, allowed, code="similar")

    def bought_together(self, product_id: str, *, n: int, allowed: NDArray[np.bool_] | None = None) -> Answer:
        """Products found in the same baskets; never the product itself."""
        return self._beside(product_id, n, allowed, code="bought_together")

    def mask(self, product_ids: Sequence[str]) -> NDArray[np.bool_]:
        """What ``Context.allowed`` takes to allow ``product_ids`` only."""
        return self.retrieval.ids.mask(product_ids)

    def save(self, folder: Path) -> None:
        """Write the model into the empty folder ``folder`` as a sealed artifact."""
        self.retrieval.save(folder)
        for name, ranker in (("ranker", self.ranker), ("explorer", self.explorer)):
            if ranker is not None:
                ranker.save(folder, name)
        for name, chances in (("ranker", self.chances), ("explorer", self.explorer_chances)):
            if chances is not None:
                np.save(folder / f"{name}-chances.npy", chances.knots)
        (folder / "features.json").write_text(json.dumps(NAMES))
        seal_artifact(folder, kind=KIND, format_version=FORMAT, about=self.about)

    @classmethod
    def load(cls, folder: Path) -> "Recommender":
        """The model in ``folder``.

        Raises:
            ArtifactError: where it is not exactly what was saved, or was made for other features.
        """
        about = open_artifact(folder, kind=KIND, format_version=FORMAT)
        try:
            if json.loads((folder / "features.json").read_text()) != list(NAMES):
                raise ArtifactError(f"{folder} was trained on other features than this program makes; train it again")
            ranker, explorer = Ranker.load(folder, "ranker"), Ranker.load(folder, "explorer")
            return cls(
                Retrieval.load(folder),
                ranker,
                about=about,
                explorer=explorer,
                chances=_chances(folder / "ranker-chances.npy"),
                explorer_chances=_chances(folder / "explorer-chances.npy"),
            )
        except (OSError, KeyError, ValueError) as error:
            raise ArtifactError(f"{folder} does not hold what a recommender needs: {error}") from error

    def _weighed_beside(self, page: Rows, known: Known, context: Context) -> tuple[Rows, Floats]:
        """What goes with the products of a page or a cart, and its scores; no ranker is asked."""
        rows = around(self.retrieval, page, known, allowed=self._allowed(context))
        rows = rows[self._permitted(rows, known, context)]
        shares = SHARES[context.placement]
        return rows, beside_scores(self.retrieval, page, known, rows, shares=shares)[0]

    @cached_property
    def _weigher(self) -> Weigher:
        return Weigher(self.retrieval)

    def _allowed(self, context: Context) -> NDArray[np.bool_] | None:
        """Which products the filters and the given candidates leave; None where both leave all."""
        if context.candidates is None:
            return context.allowed
        given = self.mask(context.candidates)
        return given if context.allowed is None else given & context.allowed

    def _permitted(self, rows: Rows, known: Known, context: Context) -> NDArray[np.bool_]:
        permitted = rows != known.looking_at
        allowed = self._allowed(context)
        if allowed is not None:
            permitted &= allowed[rows]
        held_back = self.retrieval.catalogue.held_back[rows]
        if context.candidates is None and context.repeat != "only" and held_back.any():
            permitted &= np.isin(rows, known.rows[known.bought]) | ~held_back
        if context.repeat != "auto":
            bought = np.isin(rows, known.rows[known.bought])
            permitted &= bought if context.repeat == "only" else ~bought
        if context.unwanted:
            permitted &= ~np.isin(rows, self.retrieval.ids.rows(sorted(context.unwanted)))
        if context.placement in SHELVES:  # nor what the page shows in another colour or size
            families = self.retrieval.catalogue.family[self._page(context)]
            permitted &= ~np.isin(self.retrieval.catalogue.family[rows], families[families >= 0])
        return permitted

    def _answer(self, known: Known, context: Context, rows: Rows, scores: Floats, n: int) -> Answer:
        if context.steering is None:
            order = np.lexsort((rows, -scores))
        else:
            order = np.lexsort((rows, -scores, -self._said(context, scores) * context.steering[rows]))
        order = order[one_of_each(rows[order], self.retrieval.catalogue.family)]
        if context.variety:
            order = order[diversified(self.retrieval, rows[order], n=n, diversity=context.variety)]
        order = order[:n]
        chosen = dict(zip(rows[order].tolist(), self._said(context, scores[order]).tolist(), strict=True))
        first = self._first(known, context)[:n]
        chosen = {row: chosen.get(row, 0.0) for row in first} | chosen
        for row in self._filling(known, context, chosen, n - len(chosen)) if len(chosen) < n else ():
            chosen[row] = 0.999 * max(min(chosen.values(), default=1e-3), 0.0)
        listed = list(chosen.items())[:n]
        drawn, propensity = self._drawn(known, context, {row for row, _ in listed}, n)
        kept = listed[: n - len(drawn)]
        page = self._page(context) if context.placement in SHELVES else NO_ROWS
        names = self.retrieval.ids.ids([*(row for row, _ in kept), *drawn])
        items = [
            self._item(known, context, page, rank, row, name, score)
            for rank, (name, (row, score)) in enumerate(zip(names, kept, strict=False), 1)
        ]
        items += [
            Recommendation(name, rank, 0.0, "new", None, propensity)
            for rank, name in enumerate(names[len(kept) :], len(kept) + 1)
        ]
        return Answer(tuple(items), self._fallback(known, page))

    def _item(
        self, known: Known, context: Context, page: Rows, rank: int, row: int, name: str, score: float
    ) -> Recommendation:
        if not len(page):
            own = done_with(known, row)
            if own.bought:
                return Recommendation(name, rank, score, "bought_before", name, every_days=own.every_days)
            if own.touched:
                return Recommendation(name, rank, score, "looked_at", name)
        return Recommendation(name, rank, score, *self._reason(known, context, page, row))

    def _first(self, known: Known, context: Context) -> list[int]:
        """Pinned products, and for who has no history what is popular in their country, as far as permitted."""
        rows = self.retrieval.ids.rows(context.pinned)
        if not len(known.products) and not self._page(context).size and context.candidates is None:
            rows = np.concatenate([rows, self.retrieval.countries.of(context.country)])
        rows = rows[rows >= 0]
        if not len(rows):
            return []
        rows = rows[self._permitted(rows, known, context)]
        rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
        return [int(row) for row in rows[one_of_each(rows, self.retrieval.catalogue.family)]]

    def _drawn(self, known: Known, context: Context, taken: set[int], n: int) -> tuple[list[int], float]:
        """New products drawn for the share of places that explores, and the probability with which each of them came."""
        places = int(n * context.explore)
        if not places:
            return [], 1.0
        fresh = self.retrieval.content.fresh.astype(np.int64)
        pool = fresh[self._permitted(fresh, known, context)]
        pool = pool[~np.isin(pool, list(taken))]
        places = min(places, len(pool))
        if not places:
            return [], 1.0
        drawn = np.random.default_rng(context.seed).choice(pool, size=places, replace=False)
        return [int(row) for row in drawn], places / len(pool)

    def _said(self, context: Context, scores: Floats) -> Floats:
        """Scores of a ranker as probabilities."""
        if context.placement in SHELVES and len(self._page(context)):
            return scores
        new = context.repeat == "never" and self.explorer is not None
        chances = self.explorer_chances if new else self.chances
        return scores if chances is None else chances.of(scores)

    def _page(self, context: Context) -> Rows:
        rows = self.retrieval.ids.rows(context.product_ids)
        return rows[rows >= 0]

    def _filling(self, known: Known, context: Context, taken: Mapping[int, float], missing: int) -> list[int]:
        """Popular products that the context permits, no variant of what is taken."""
        order = self._permitted_of_popular(known, context, missing + 5 * len(taken) + 100)
        both = np.concatenate([np.fromiter(taken, np.int64, len(taken)), order])
        fresh = one_of_each(both, self.retrieval.catalogue.family)
        fresh[: len(taken)] = False
        return [int(row) for row in both[fresh] if int(row) not in taken][:missing]

    def _permitted_of_popular(self, known: Known, context: Context, count: int) -> Rows:
        """The ``count`` most popular rows that the context permits; the whole catalogue is looked through where it must be."""
        allowed, found = self._allowed(context), NO_ROWS
        for most in (AT_FIRST, len(self.retrieval.popular.order)):
            order = self.retrieval.popular_of(allowed, most)
            found = order[self._permitted(order, known, context)]
            if len(found) >= count:
                break
        return found[:count]

    def _fallback(self, known: Known, page: Rows) -> str | None:
        return None if len(page) or len(known.products) else "no_history"

    def _reason(self, known: Known, context: Context, page: Rows, row: int) -> tuple[str, str | None]:
        """Of a product beside those of a ``page``, or one that the visitor did nothing with: code and product of the reason."""
        ids = self.retrieval.ids
        if len(page):
            source = self.retrieval.baskets.source(page, np.ones(len(page)), row)
            if source >= 0:
                return "bought_together", ids.ids([source])[0]
            source = self.retrieval.visitors.source(page, np.ones(len(page)), row)
            return ("similar", ids.ids([source])[0]) if source >= 0 else ("popular", None)
        for name, code in (("baskets", "bought_together"), ("visitors", "similar")):
            source = getattr(self.retrieval, name).source(*known.strongest, row)
            if source >= 0:
                return code, ids.ids([source])[0]
        if not len(known.products) and row in self.retrieval.countries.of(context.country):
            return "popular_in_country", None
        groups = known_groups(self.retrieval, known.products)
        return ("favourite_category", None) if self.retrieval.catalogue.category[row] in groups else ("popular", None)

    def _beside(self, product_id: str, n: int, allowed: NDArray[np.bool_] | None, *, code: str) -> Answer:
        nothing = known_history(NOTHING, self.retrieval.ids, moment=0)
        context = Context(0, placement="product", product_ids=(product_id,), allowed=allowed)
        page = self._page(context)
        rows = around(self.retrieval, page, nothing, allowed=allowed)
        rows = rows[self._permitted(rows, nothing, context)]
        scores, near = beside_scores(self.retrieval, page, nothing, rows, shares=SHARES[code])
        order = np.lexsort((rows, -scores))
        order = order[one_of_each(rows[order], self.retrieval.catalogue.family)][:n]
        alike = np.isin(self.retrieval.catalogue.category[rows], known_groups(self.retrieval, page))
        codes = np.where(near, code, np.where(alike, "same_category", "popular"))
        items = tuple(
            Recommendation(
                self.retrieval.ids.ids([rows[place]])[0],
                rank,
                float(scores[place]),
                str(codes[place]),
                product_id if len(page) and codes[place] != "popular" else None,
            )
            for rank, place in enumerate(order, 1)
        )
        return Answer(items, None if near.any() else "nothing_known_of_product")


def _with_order(history: History, context: Context) -> History:
    """``history`` and, just before the moment, a purchase of the order's products that it does not end with."""
    bought = [
        product
        for product in context.product_ids
        if product not in set(history.product_ids[-len(context.product_ids) :])
    ]
    at = np.full(len(bought), context.moment - 1, dtype=np.int64)
    return History(
        [*history.product_ids, *bought],
        np.concatenate([history.occurred_at, at]),
        [*history.kinds, *(["purchase"] * len(bought))],
    )


def _chances(file: Path) -> Chances | None:
    return Chances(np.load(file, allow_pickle=False)) if file.exists() else None
