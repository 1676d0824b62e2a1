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
from regulars.models.retrievers.candidate_kernels import Texts, alike_in_words
from regulars.models.retrievers.kernels import SUMS, cosines

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
        return alike_in_words(self.texts, *known.strongest, n, *SUMS.of(self.width))

    def scores(self, known: Known, rows: Rows) -> Floats:
        """The cosine of each row with the history's strongest products; shape (n_rows,), 0 for an empty history."""
        products, weights = known.strongest
        return self.likeness(products, weights, rows)

    def likeness(self, products: Rows, weights: Floats, rows: Rows) -> Floats:
        """The cosine of each of ``rows`` with the weighted sum of ``products``; shape (n_rows,)."""
        if not len(products) or not len(rows) or not len(self.words):
            return np.zeros(len(rows))
        sums, touched = SUMS.of(self.width)
        told = np.empty(len(rows))
        cosines(self.words, self.weights, self.starts, products, weights, rows, sums, touched, told)
        return told

    @cached_property
    def texts(self) -> Texts:
        """What compiled code reads."""
        return Texts(self.words, self.weights, self.starts, np.sort(self.fresh.astype(np.int64)))

    @cached_property
    def width(self) -> int:
        """How many words there are."""
        return int(self.words.max(initial=-1)) + 1
