"""Retrieve, then rank: from a history and a context to products, best first, each with a reason.

Retrievers propose a few hundred products; a LambdaMART ranker (Burges, From RankNet to LambdaRank to LambdaMART, 2010)
orders them by features of (history, product). On a product's page or in a cart the question is another one, what goes
with these products, and neighbours answer it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import lightgbm
import numpy as np
from numpy.typing import NDArray

from regulars.errors import ArtifactError
from regulars.ids import Rows
from regulars.models.artifact import open_artifact, seal_artifact
from regulars.models.chances import Chances
from regulars.models.history import NOTHING, History, Known, known_history
from regulars.models.pairs import NAMES, pair_features
from regulars.models.retrieval import Retrieval
from regulars.models.retrievers.neighbours import strongest
from regulars.models.retrievers.reached import scores_at

KIND, FORMAT = "recommender", 1
SHELVES = ("product", "cart")
SHARE_OF_HISTORY = 0.1
SHARE_OF_POPULARITY = 1e-4
SHARE_OF_WORDS = 5e-3
NEW_BESIDE = 30
CHUNK = 200

Floats = NDArray[np.float64]
Repeat = Literal["auto", "only", "never"]


@dataclass(frozen=True)
class Context:
    """Where and when: ``moment`` in seconds since 1970, ``product_ids`` those on the page or in the cart.

    ``repeat``: products that were bought before may come (auto), must (only) or must not (never). ``allowed``: one truth
    value per product of the catalogue, made by ``Recommender.mask``; None allows all.
    """

    moment: int
    placement: str = "home"
    product_ids: tuple[str, ...] = ()
    repeat: str = "auto"
    exclude: frozenset[str] = frozenset()
    allowed: NDArray[np.bool_] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Recommendation:
    """One product. ``score`` is the probability (0-1) that ``Recommender.about["score"]`` names where a ranker made it; beside
    a product or a cart it is only an order. ``reason_product_id`` is the one of the history or the page that the reason
    rests on.
    """

    product_id: str
    rank: int
    score: float
    reason_code: str
    reason_product_id: str | None = None


@dataclass(frozen=True)
class Answer:
    """Products, best first, ranks from 1. ``fallback`` says why they do not rest on the visitor, or is None."""

    items: tuple[Recommendation, ...]
    fallback: str | None


@dataclass
class _Asked:
    """A question on its way: candidates, and their features until they have scores."""

    known: Known
    rows: Rows
    features: NDArray[np.float32] | None
    scores: Floats


class Recommender:
    """Maps histories to products; nothing in it is about any one customer."""

    def __init__(
        self,
        retrieval: Retrieval,
        ranker: lightgbm.Booster | None,
        *,
        about: Mapping[str, object],
        explorer: lightgbm.Booster | None = None,
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
        return self.recommend_many([history], [context], n=n)[0]

    def recommend_many(self, histories: Sequence[History], contexts: Sequence[Context], *, n: int) -> list[Answer]:
        """One answer per history, in order; each is what ``recommend`` gives for it alone."""
        answers: list[Answer] = []
        for start in range(0, len(histories), CHUNK):
            part = slice(start, start + CHUNK)
            answers += self._chunk(histories[part], contexts[part], n)
        return answers

    def rank(self, known: Known, *, moment: int, n: int) -> Rows:
        """The first ``n`` rows for a history already in rows, nothing filtered out; shape (at most n,)."""
        clues = self.retrieval.clues(known)
        rows = self.retrieval.candidates(known, clues)
        scores = self._ranked(self.ranker, [pair_features(self.retrieval, known, rows, moment=moment, clues=clues)])
        return rows[np.lexsort((rows, -scores))[:n]]

    def similar(self, product_id: str, *, n: int, allowed: NDArray[np.bool_] | None = None) -> Answer:
        """Products that the same visitors like; never the product itself."""
        return self._beside(product_id, n, allowed, code="similar", shares=(0.2, 1.0))

    def bought_together(self, product_id: str, *, n: int, allowed: NDArray[np.bool_] | None = None) -> Answer:
        """Products found in the same baskets; never the product itself."""
        return self._beside(product_id, n, allowed, code="bought_together", shares=(1.0, 0.0))

    def mask(self, product_ids: Sequence[str]) -> NDArray[np.bool_]:
        """What ``Context.allowed`` takes to allow ``product_ids`` only."""
        return self.retrieval.ids.mask(product_ids)

    def save(self, folder: Path) -> None:
        """Write the model into the empty folder ``folder`` as a sealed artifact."""
        self.retrieval.save(folder)
        for name, booster in (("ranker", self.ranker), ("explorer", self.explorer)):
            if booster is not None:
                (folder / f"{name}.txt").write_text(booster.model_to_string())
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
            ranker, explorer = _booster(folder / "ranker.txt"), _booster(folder / "explorer.txt")
            return cls(
                Retrieval.load(folder),
                ranker,
                about=about,
                explorer=explorer,
                chances=_chances(folder / "ranker-chances.npy"),
                explorer_chances=_chances(folder / "explorer-chances.npy"),
            )
        except (OSError, KeyError, ValueError, lightgbm.basic.LightGBMError) as error:
            raise ArtifactError(f"{folder} does not hold what a recommender needs: {error}") from error

    def _chunk(self, histories: Sequence[History], contexts: Sequence[Context], n: int) -> list[Answer]:
        asked = [self._asked(history, context) for history, context in zip(histories, contexts, strict=True)]
        for booster, wanted in ((self.ranker, False), (self.explorer or self.ranker, True)):
            chosen = [one for one, context in zip(asked, contexts, strict=True)
                      if one.features is not None and (context.repeat == "never") == wanted]  # fmt: skip
            scores = self._ranked(booster, [one.features for one in chosen if one.features is not None])
            ends = np.cumsum([len(one.rows) for one in chosen])
            for one, part in zip(chosen, np.split(scores, ends[:-1]) if chosen else [], strict=True):
                one.scores = part
        return [
            self._answer(one.known, context, one.rows, one.scores, n)
            for one, context in zip(asked, contexts, strict=True)
        ]

    def _asked(self, history: History, context: Context) -> "_Asked":
        """The history, its candidates after the context's filters, and their features, or scores where no ranker is asked."""
        known = known_history(history, self.retrieval.ids, moment=context.moment)
        page = self._page(context)
        if context.placement in SHELVES and len(page):
            rows = self._around(page, known)
            rows = rows[self._permitted(rows, known, context)]
            return _Asked(known, rows, None, self._shelf_scores(page, known, rows))
        clues = self.retrieval.clues(known)
        rows = self.retrieval.candidates(known, clues, repeat=context.repeat)
        features = pair_features(self.retrieval, known, rows, moment=context.moment, clues=clues)
        permitted = self._permitted(rows, known, context)
        return _Asked(known, rows[permitted], features[permitted], np.zeros(0))

    def _permitted(self, rows: Rows, known: Known, context: Context) -> NDArray[np.bool_]:
        permitted = rows != known.looking_at
        if context.allowed is not None:
            permitted &= context.allowed[rows]
        if context.repeat != "auto":
            bought = np.isin(rows, known.rows[known.bought])
            permitted &= bought if context.repeat == "only" else ~bought
        unwanted = [*context.exclude, *(context.product_ids if context.placement in SHELVES else ())]
        if unwanted:
            permitted &= ~np.isin(rows, self.retrieval.ids.rows(unwanted))
        return permitted

    def _ranked(self, booster: lightgbm.Booster | None, matrices: Sequence[NDArray[np.float32]]) -> Floats:
        features = np.vstack(matrices) if matrices else np.zeros((0, len(NAMES)), np.float32)
        if not len(features):
            return np.zeros(0)
        if booster is None:  # too little happened to learn from: own purchases, then what is popular
            columns = [NAMES.index(name) for name in ("bought_faded_90d", "near_baskets", "popular_120d")]
            return features[:, columns].astype(float) @ np.array([1.0, 0.1, 1e-4])
        return np.asarray(booster.predict(features), dtype=float)

    def _page(self, context: Context) -> Rows:
        rows = self.retrieval.ids.rows(context.product_ids)
        return rows[rows >= 0]

    def _around(self, page: Rows, known: Known) -> Rows:
        alike = np.flatnonzero(np.isin(self.retrieval.catalogue.category, _known_groups(self.retrieval, page)))
        popular = alike[np.lexsort((alike, -self.retrieval.popular.scores(known, alike)))][:100]
        weights = np.ones(len(page))
        parts = [
            self.retrieval.baskets.reached(page, weights)[0],
            self.retrieval.visitors.reached(page, weights)[0],
        ]
        fresh = self.retrieval.content.fresh.astype(np.int64)
        likeness = self.retrieval.content.likeness(page, weights, fresh)
        fresh = fresh[np.lexsort((fresh, -likeness))[:NEW_BESIDE]]
        return np.unique(np.concatenate([*parts, popular, fresh, self.retrieval.popular.order[:100]]))

    def _shelf_scores(self, page: Rows, known: Known, rows: Rows) -> Floats:
        """What goes with the page, a little of what goes with the visitor, and popularity to break ties."""
        weights = np.ones(len(page))
        together = scores_at(self.retrieval.baskets.reached(page, weights), rows)
        alike = scores_at(self.retrieval.visitors.reached(page, weights), rows)
        own = scores_at(self.retrieval.visitors.reached(*strongest(known)), rows)
        category = np.isin(self.retrieval.catalogue.category[rows], _known_groups(self.retrieval, page))
        popular = self.retrieval.popular.scores(known, rows)
        share = popular / max(float(popular.max(initial=0.0)), 1e-9)
        usual = own / max(float(own.max(initial=0.0)), 1e-9)
        words = SHARE_OF_WORDS * self.retrieval.content.likeness(page, weights, rows)
        return (
            together
            + 0.5 * alike
            + words
            + (SHARE_OF_HISTORY * usual + 0.01 * category) * 0.1
            + SHARE_OF_POPULARITY * share
        )

    def _answer(self, known: Known, context: Context, rows: Rows, scores: Floats, n: int) -> Answer:
        order = np.lexsort((rows, -scores))[:n]
        chosen, values = list(rows[order]), list(self._said(context, scores[order]))
        if len(chosen) < n:
            least = max(min(values, default=1e-3), 0.0)
            for row in self._filling(known, context, set(chosen), n - len(chosen)):
                least *= 0.999
                chosen.append(row)
                values.append(least)
        items = []
        for rank, (row, score) in enumerate(zip(chosen, values, strict=True), 1):
            code, because = self._reason(known, context, int(row))
            items.append(Recommendation(self.retrieval.ids.ids([row])[0], rank, float(score), code, because))
        return Answer(tuple(items), self._fallback(known, context))

    def _said(self, context: Context, scores: Floats) -> Floats:
        """Scores of a ranker as probabilities."""
        if context.placement in SHELVES and len(self._page(context)):
            return scores
        new = context.repeat == "never" and self.explorer is not None
        chances = self.explorer_chances if new else self.chances
        return scores if chances is None else chances.of(scores)

    def _filling(self, known: Known, context: Context, taken: set[int], missing: int) -> list[int]:
        """Popular products that the context permits."""
        order = self.retrieval.popular.order
        permitted = order[self._permitted(order, known, context)]
        return [int(row) for row in permitted[: missing + len(taken)] if int(row) not in taken][:missing]

    def _fallback(self, known: Known, context: Context) -> str | None:
        if context.placement in SHELVES and len(self._page(context)):
            return None
        return None if len(known.products) else "no_history"

    def _reason(self, known: Known, context: Context, row: int) -> tuple[str, str | None]:
        ids = self.retrieval.ids
        page = self._page(context) if context.placement in SHELVES else np.zeros(0, np.int64)
        own = known.rows == row
        if len(page):
            source = self.retrieval.baskets.source(page, np.ones(len(page)), row)
            if source >= 0:
                return "bought_together", ids.ids([source])[0]
            source = self.retrieval.visitors.source(page, np.ones(len(page)), row)
            return ("similar", ids.ids([source])[0]) if source >= 0 else ("popular", None)
        if own.any():
            return ("bought_before" if known.bought[own].any() else "looked_at"), ids.ids([row])[0]
        for name, code in (("baskets", "bought_together"), ("visitors", "similar")):
            source = getattr(self.retrieval, name).source(*strongest(known), row)
            if source >= 0:
                return code, ids.ids([source])[0]
        groups = _known_groups(self.retrieval, known.products)
        return ("favourite_category", None) if self.retrieval.catalogue.category[row] in groups else ("popular", None)

    def _beside(
        self,
        product_id: str,
        n: int,
        allowed: NDArray[np.bool_] | None,
        *,
        code: str,
        shares: tuple[float, float],
    ) -> Answer:
        row = self.retrieval.ids.row(product_id)
        nothing = known_history(NOTHING, self.retrieval.ids, moment=0)
        context = Context(0, placement="product", product_ids=(product_id,), allowed=allowed)
        page = np.array([row], dtype=np.int64) if row >= 0 else np.zeros(0, np.int64)
        rows = self._around(page, nothing)
        rows = rows[self._permitted(rows, nothing, context)]
        one = np.ones(len(page))
        baskets, visitors = (
            self.retrieval.baskets.reached(page, one),
            self.retrieval.visitors.reached(page, one),
        )
        scores = shares[0] * scores_at(baskets, rows) + shares[1] * scores_at(visitors, rows)
        alike = np.isin(self.retrieval.catalogue.category[rows], _known_groups(self.retrieval, page))
        popular = self.retrieval.popular.scores(nothing, rows)
        near = scores > 0
        words = self.retrieval.content.likeness(page, one, rows)
        scores = (
            scores
            + 1e-3 * alike
            + SHARE_OF_WORDS * words
            + SHARE_OF_POPULARITY * popular / max(float(popular.max(initial=0.0)), 1e-9)
        )
        reasons = dict(
            zip(rows.tolist(), np.where(near, code, np.where(alike, "same_category", "popular")), strict=True)
        )
        order = np.lexsort((rows, -scores))[:n]
        items = tuple(
            Recommendation(
                self.retrieval.ids.ids([rows[place]])[0],
                rank,
                float(scores[place]),
                str(reasons[int(rows[place])]),
                product_id if row >= 0 and reasons[int(rows[place])] != "popular" else None,
            )
            for rank, place in enumerate(order, 1)
        )
        return Answer(items, None if row >= 0 and near.any() else "nothing_known_of_product")


def _known_groups(retrieval: Retrieval, rows: Rows) -> NDArray[np.int32]:
    groups = np.unique(retrieval.catalogue.category[rows])
    return groups[groups >= 0]


def _booster(file: Path) -> lightgbm.Booster | None:
    return lightgbm.Booster(model_str=file.read_text()) if file.exists() else None


def _chances(file: Path) -> Chances | None:
    return Chances(np.load(file, allow_pickle=False)) if file.exists() else None
