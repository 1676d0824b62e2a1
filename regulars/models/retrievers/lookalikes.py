"""What customers buy whose baskets are alike: the temporal item frequency of the nearest neighbours.

Source: Hu, He, Gao & Zhang (2020), Modeling Personalized Item Frequency Information for Next-basket Recommendation, SIGIR
(TIFU-KNN); neighbours by cosine instead of Euclidean distance.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import NEWEST, Known
from regulars.models.history_kernels import basket_sums, distinct, frequency_of
from regulars.models.retrievers.kernels import SUMS
from regulars.models.retrievers.reach_kernels import Vectors, of_vectors
from regulars.models.retrievers.reached import NOWHERE, Reached, best, scores_at

Floats = NDArray[np.float64]

NEAREST = 300
GROUPS = 7
DECAY_WITHIN, DECAY_OF_GROUPS = 0.9, 0.7
OWN_SHARE = 0.7
FREQUENCY = GROUPS, np.power(DECAY_WITHIN, np.arange(NEWEST)), np.power(DECAY_OF_GROUPS, np.arange(GROUPS))


@dataclass(frozen=True)
class Lookalikes:
    """A capped store of baskets' frequencies, one vector per customer whose name is not kept.

    ``rows`` and ``values`` of vector c lie at ``starts[c]:starts[c + 1]``; ``postings`` and ``posting_values`` of product p at
    ``posting_starts[p]:posting_starts[p + 1]``: the vectors that hold it most, and their value over their length.
    """

    rows: NDArray[np.int32]
    values: NDArray[np.float32]
    starts: NDArray[np.int64]
    postings: NDArray[np.int32]
    posting_values: NDArray[np.float32]
    posting_starts: NDArray[np.int64]

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row; nothing for who never bought."""
        return best(self.reached(known), n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what no similar customer buys."""
        return scores_at(self.reached(known), rows)

    def reached(self, known: Known) -> Reached:
        """The mean vector of the 300 customers whose baskets are most alike."""
        return self.near_to(own_frequency(known))

    def near_to(self, frequency: Reached) -> Reached:
        """The same from the customer's own frequency, where it is at hand."""
        if not len(frequency[0]) or not len(self.rows):
            return NOWHERE
        sums, touched = SUMS.of(max(len(self.starts), len(self.posting_starts)))
        return of_vectors(frequency, self.arrays, NEAREST, sums, touched)

    @cached_property
    def arrays(self) -> Vectors:
        """What compiled code reads."""
        names = Vectors._fields
        return Vectors(*(getattr(self, name) for name in names))


def own_frequency(known: Known) -> Reached:
    """The customer's own temporal item frequency over their purchases; empty for who never bought."""
    return frequency_of(known.arrays, *FREQUENCY)


def basket_frequency(rows: Rows, times: NDArray[np.int64] | Floats) -> Reached:
    """Equation 4 of the paper: baskets (purchases of one time) in groups of equal size, fading within and between groups.

    >>> found, values = basket_frequency(np.array([1, 2, 1]), np.array([0, 1, 1]))
    >>> found.tolist(), values.tolist()  # two groups of one basket: 0.7 / 2 and 1 / 2
    ([1, 2], [0.85, 0.5])
    """
    products, place, _ = distinct(rows.astype(np.int64, copy=False), np.zeros(len(rows)))
    return products, _frequency(place, times.astype(np.float64, copy=False), len(products))


def _frequency(place: Rows, times: Floats, count: int) -> Floats:
    within = np.power(DECAY_WITHIN, np.arange(len(place)))
    return basket_sums(place, times, count, GROUPS, within, FREQUENCY[2])
