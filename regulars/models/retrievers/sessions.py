"""Products of past visits that resemble the current one: vector multiplication indexed session-kNN.

Source: Kersbergen, Sprangers & Schelter (2022), Serenade: Low-Latency Session-Based Recommendation in e-Commerce at
Scale, SIGMOD. What comes after the product that both hold: Garg et al. (2019), Sequence and Time Aware Neighborhood for
Session-based Recommendations, SIGIR.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.kernels import SUMS
from regulars.models.retrievers.reach_kernels import Visits, of_visits
from regulars.models.retrievers.reached import Reached, best, scores_at

Floats = NDArray[np.float64]

LATEST_PRODUCTS = 9
NEAREST = 100
RECENT = 1_000
CLOSE = 1.5
WAYS = ("sessions", "sessions_rarity", "sessions_after")


@dataclass(frozen=True)
class Sessions:
    """A capped store of visits without their visitors, the oldest first.

    ``products`` of visit v lie at ``starts[v]:starts[v + 1]``, in the order in which they were first touched;
    ``postings[posting_starts[p]:posting_starts[p + 1]]`` are the newest visits that hold product p, newest first;
    ``rarity`` (n_products,) is log(visits / visits with the product).
    """

    products: NDArray[np.int32]
    starts: NDArray[np.int64]
    postings: NDArray[np.int32]
    posting_starts: NDArray[np.int64]
    rarity: NDArray[np.float32]

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first, ties by row; nothing for an empty history."""
        return best(self.reached(known), n)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """Shape (n_rows,); 0 for what no similar visit holds."""
        return scores_at(self.reached(known), rows)

    def reached(self, known: Known) -> Reached:
        """Every product of the 100 visits most like the current one: their likeness x how late they part, summed."""
        return self.all_reached(known)["sessions"]

    def all_reached(self, known: Known, *, nearest: int = NEAREST) -> dict[str, Reached]:
        """As ``reached``; times the product's rarity, as the paper has it; only close after the product that both hold."""
        room = SUMS.of(max(len(self.rarity), len(self.starts)))
        found = of_visits(latest_of(known), self.arrays, nearest, RECENT, CLOSE, *room)
        return dict(zip(WAYS, found, strict=True))

    @cached_property
    def arrays(self) -> Visits:
        """What compiled code reads."""
        return Visits(*(getattr(self, name) for name in Visits._fields))


def latest_of(known: Known) -> Rows:
    """The latest products of the visit, the latest last."""
    return np.ascontiguousarray(known.visited[0][:LATEST_PRODUCTS][::-1])
