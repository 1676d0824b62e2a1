"""What a recommender is asked, and what it answers."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SHELVES = ("product", "cart")
MIX = {"email": 0.2}


@dataclass(frozen=True)
class Context:
    """Where and when: ``moment`` in seconds since 1970, ``product_ids`` those on the page, in the cart or in the order.

    ``placement``: beside a ``product`` stand what is like it and what goes with it, beside a ``cart`` what completes all of
    it; after an ``order`` comes what its buyer wants next; an ``email`` is a mix; every other place is for the visitor.
    ``repeat``: products that were bought before may come (auto), must (only) or must not (never). ``allowed``: one truth
    value per product of the catalogue, made by ``Recommender.mask``; None allows all. ``candidates``: only these are
    ranked; None ranks the catalogue. ``diversity``: 0 (best first) to 1 (as varied as can be); None is 0.2 in an e-mail,
    else 0. ``pinned`` come first, as given, where the rest permits them. ``steering``: what each product's probability is
    multiplied with for the order, shape (n_products,): above 1 boosted, below 1 buried. ``country`` decides what is popular
    for who has no history. ``explore``: the share (0-1) of the places that goes to new products drawn by ``seed``.
    """

    moment: int
    placement: str = "home"
    product_ids: tuple[str, ...] = ()
    repeat: str = "auto"
    exclude: frozenset[str] = frozenset()
    allowed: NDArray[np.bool_] | None = field(default=None, compare=False)
    candidates: tuple[str, ...] | None = None
    diversity: float | None = None
    pinned: tuple[str, ...] = ()
    steering: NDArray[np.float64] | None = field(default=None, compare=False)
    country: str | None = None
    explore: float = 0.0
    seed: int = 0

    @property
    def variety(self) -> float:
        """``diversity``, or the placement's own."""
        return MIX.get(self.placement, 0.0) if self.diversity is None else self.diversity

    @property
    def of_weighing(self) -> tuple[object, ...]:
        """What of this decides which candidates there are and how they score; ``allowed`` and the moment count besides."""
        beside = self.placement in (*SHELVES, "order")
        page = (self.placement, self.product_ids, self.exclude) if beside else ()
        return (self.repeat == "never", self.candidates, page)

    @property
    def unwanted(self) -> frozenset[str]:
        """What may not come: what is excluded, and what the page, the cart or the order holds."""
        return self.exclude | (set(self.product_ids) if self.placement in (*SHELVES, "order") else set())


class Recommendation(NamedTuple):
    """One product. ``score`` is the probability (0-1) that ``Recommender.about["score"]`` names where a ranker made it; beside
    a product or a cart it is only an order. ``reason_product_id`` is the one of the history or the page that the reason
    rests on; ``every_days``: how often it was bought before, where that is known. ``propensity`` is the probability (0-1) with
    which it came: below 1 where it was drawn.
    """

    product_id: str
    rank: int
    score: float
    reason_code: str
    reason_product_id: str | None = None
    propensity: float = 1.0
    every_days: int | None = None


@dataclass(frozen=True)
class Answer:
    """Products, best first, ranks from 1. ``fallback`` says why they do not rest on the visitor, or is None."""

    items: tuple[Recommendation, ...]
    fallback: str | None
