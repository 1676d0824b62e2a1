"""New products like those of the history, by category, brand and the words of their names.

Source: Salton & Buckley (1988), Term-weighting approaches in automatic text retrieval, Information Processing & Management
24(5): tf-idf and the cosine.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.kernels import cosines
from regulars.models.retrievers.neighbours import strongest

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Content:
    """``words`` of product p, as numbers, and their ``weights`` (a vector of length 1) lie at ``starts[p]:starts[p + 1]``.

    ``fresh`` are the products that too few visitors know for any other way to find them, the newest first, capped.
    """

    words: NDArray[np.int32]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]
    fresh: NDArray[np.int32]

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` fresh rows that share a word with the history, best first, ties by row."""
        rows = self.fresh.astype(np.int64)
        scores = self.scores(known, rows)
        order = np.lexsort((rows, -scores))[:n]
        return rows[order[scores[order] > 0]]

    def scores(self, known: Known, rows: Rows) -> Floats:
        """The cosine of each row with the history's strongest products; shape (n_rows,), 0 for an empty history."""
        products, weights = strongest(known)
        return self.likeness(products, weights, rows)

    def likeness(self, products: Rows, weights: Floats, rows: Rows) -> Floats:
        """The cosine of each of ``rows`` with the weighted sum of ``products``; shape (n_rows,)."""
        if not len(products) or not len(rows) or not len(self.words):
            return np.zeros(len(rows))
        return cosines(self.words, self.weights, self.starts, self._width, products, weights, rows)

    @cached_property
    def _width(self) -> int:
        return int(self.words.max(initial=-1)) + 1
