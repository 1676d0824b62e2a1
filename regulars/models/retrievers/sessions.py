"""Products of past visits that resemble the current one: vector multiplication indexed session-kNN.

Source: Kersbergen, Sprangers & Schelter (2022), Serenade: Low-Latency Session-Based Recommendation in e-Commerce at
Scale, SIGMOD. What comes after the product that both hold: Garg et al. (2019), Sequence and Time Aware Neighborhood for
Session-based Recommendations, SIGIR.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.kernels import SUMS, collected, highest, products_of_visits, visits_holding
from regulars.models.retrievers.reached import NOWHERE, Reached, best, scores_at, summed

Floats = NDArray[np.float64]

LATEST_PRODUCTS = 9
NEAREST = 100
RECENT = 1_000
CLOSE = 1.5


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
        visit = known.visited[0][:LATEST_PRODUCTS][::-1]
        near, likeness = self._nearest(visit, nearest)
        if not len(near):
            return dict.fromkeys(("sessions", "sessions_rarity", "sessions_after"), NOWHERE)
        rows, weights, after = products_of_visits(near, likeness, visit, self.products, self.starts, CLOSE)
        return {
            "sessions": summed(rows, weights),
            "sessions_rarity": summed(rows, weights * self.rarity[rows]),
            "sessions_after": summed(rows, after),
        }

    def _nearest(self, visit: Rows, nearest: int) -> Reached:
        """Of the newest visits that hold a product of ``visit`` (oldest first), those most like it, and their likeness."""
        sums, touched = SUMS.of(len(self.starts))
        visits_holding(visit, self.posting_starts, self.postings, sums, touched)
        found, likeness = collected(sums, touched)
        newest_first, likeness = -found[-RECENT:][::-1], likeness[-RECENT:][::-1]
        near = highest(newest_first, likeness, nearest)
        return -near, likeness[np.searchsorted(newest_first, near)]
