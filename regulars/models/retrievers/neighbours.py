"""Products that go with those of the history: found in the same baskets, or with the same visitors.

Source: Deshpande & Karypis (2004), Item-based top-N recommendation algorithms, ACM TOIS 22(1).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import NEWEST, Known
from regulars.models.retrievers.kernels import SUMS, add_neighbours, collected, speaks_for
from regulars.models.retrievers.reached import NOWHERE, Reached, best, scores_at

Floats = NDArray[np.float64]

ONES = np.ones(NEWEST)  # who all count alike


@dataclass(frozen=True)
class Neighbours:
    """``rows`` and ``similarity`` (n_products, k): each product's nearest, best first; row -1 where there are fewer."""

    rows: NDArray[np.int32]
    similarity: NDArray[np.float32]

    @cached_property
    def are_none(self) -> bool:
        """Whether no product has any: a shop without what they are learnt from pays nothing for them."""
        return self.rows.shape[1] == 1 and bool((self.rows < 0).all())

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row; products of the history itself are among them where related."""
        return best(self.reached(*known.strongest), n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what is no neighbour of the history's strongest products."""
        return scores_at(self.reached(*known.strongest), rows)

    def reached(self, products: Rows, weights: Floats) -> Reached:
        """Every product near one of ``products``, sorted by row, and its summed weight x similarity."""
        if self.are_none:
            return NOWHERE
        sums, touched = SUMS.of(len(self.rows))
        add_neighbours(self.rows, self.similarity, products, weights, sums, touched)
        return collected(sums, touched)

    def source(self, products: Rows, weights: Floats, row: int) -> int:
        """The one of ``products`` that speaks most for ``row``; -1 where none does."""
        return int(speaks_for(self.rows, self.similarity, products, weights, row))
