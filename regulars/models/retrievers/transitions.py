"""What comes next after each of the visit's latest products, mixed: a step in a visit starts from any of them.

The chance of the next product is a weighted sum of chances, one for each of the five latest; each of these is a softmax over
all products of how close two vectors lie and how much the next one is liked anyway. Vectors know what counts cannot: steps
that no visit has made yet.

Source: Raftery (1985), A model for high-order Markov chains, Journal of the Royal Statistical Society B 47(3) (the mixture
transition distribution); vectors of length 1 and a fixed sharpness: Gupta, Garg, Malhotra, Vig & Shroff (2019), NISER:
Normalized Item and Session Representations to Handle Popularity Bias.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled_loosely
from regulars.models.history import Known
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.reached import NOWHERE, Reached, best, scores_at

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

LATEST_PRODUCTS = 5
SHARPNESS = 9.0


@dataclass(frozen=True)
class Transitions:
    """``vectors`` (n_products, n_dimensions) of length 1, 0 where no visit holds the product; ``liking`` (n_products,), -inf there.

    ``total`` (n_products,): the logarithm of what the softmax after each product divides by, itself left out; ``places`` (5,):
    how much the latest product of a visit, the one before it and so on count; ``rows`` and ``chance`` (n_products, k): what
    most likely comes next, as in ``Neighbours``.
    """

    vectors: Vectors
    liking: Vectors
    total: Vectors
    places: Vectors
    rows: NDArray[np.int32]
    chance: Vectors

    @classmethod
    def none(cls, count: int) -> "Transitions":
        """Of a shop without visits to learn from."""
        zeros = np.zeros(count, np.float32)
        nobody = np.full((count, 1), -1, np.int32)
        return cls(zeros[:, None], zeros, zeros, np.ones(LATEST_PRODUCTS, np.float32), nobody, zeros[:, None])

    @cached_property
    def near(self) -> Neighbours:
        """What most likely comes after each product."""
        return Neighbours(self.rows, self.chance)

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row."""
        return best(self.reached(known), n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what is likely after none of the latest products."""
        return scores_at(self.reached(known), rows)

    def reached(self, known: Known) -> Reached:
        """What most likely comes after the latest products of the visit, and its chance."""
        products, weights = self.asked(known)
        return self.near.reached(products, weights) if len(products) else NOWHERE

    def chances(self, known: Known, rows: Rows) -> Floats:
        """Shape (2, n_rows): the chance (0-1) that each of ``rows`` comes next, and that after the latest product alone."""
        found = np.zeros((2, len(rows)))
        if self.near.are_none:
            return found
        products, weights = self.asked(known)
        if len(products):
            chance_columns(self.vectors, self.liking, self.total, products, weights, rows, found)
        return found

    def asked(self, known: Known) -> tuple[Rows, Floats]:
        """The latest products of the visit that anything is known of, and how much each counts, summing to 1."""
        products = known.visited[0][: 0 if self.near.are_none else LATEST_PRODUCTS]
        weights = self.places[: len(products)] * np.isfinite(self.liking[products]).astype(float)
        total = float(weights.sum())
        return (products, weights / total) if total else (products[:0], weights[:0])


@compiled_loosely
def chance_columns(
    vectors: Vectors, liking: Vectors, totals: Vectors, products: Rows, weights: Floats, rows: Rows, into: Floats
) -> None:
    """Row 0: the chances after ``products``, weighted and summed; row 1: those after the first of them.

    The first, which is on the screen, never comes next.
    """
    total = np.empty(len(products))
    for place in range(len(products)):
        total[place] = np.exp(totals[products[place]])
        if place > 0:
            on_screen = np.exp(SHARPNESS * closeness(vectors, products[place], products[0]) + liking[products[0]])
            total[place] += np.exp(SHARPNESS + liking[products[place]]) - on_screen
    for at in range(len(rows)):
        row = rows[at]
        if row == products[0]:
            continue
        for place in range(len(products)):
            if weights[place] == 0:
                continue
            chance = np.exp(SHARPNESS * closeness(vectors, products[place], row) + liking[row]) / max(
                total[place], 1e-12
            )
            into[0, at] += weights[place] * chance
            if place == 0:
                into[1, at] = chance


@compiled_loosely
def closeness(vectors: Vectors, one: int, other: int) -> np.float32:
    """The product of two of the vectors."""
    close = np.float32(0)
    for place in range(vectors.shape[1]):
        close += vectors[one, place] * vectors[other, place]
    return close
