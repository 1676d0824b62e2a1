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
from regulars.models.retrievers.reached import NOWHERE, Reached, best, scores_at, spans, summed

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
        near, likeness, met = self._nearest(visit, nearest)
        if not len(near):
            return dict.fromkeys(("sessions", "sessions_rarity", "sessions_after"), NOWHERE)
        starts, lengths = self.starts[near], self.starts[near + 1] - self.starts[near]
        rows = self.products[spans(starts, lengths)]
        weights = np.repeat(likeness * (1 - 0.1 * (len(visit) - 1 - met)), lengths)
        after = self._places_after(rows, visit[met], lengths)
        close = np.where(after > 0, np.exp(-np.maximum(after, 0) / CLOSE), 0.0)
        return {
            "sessions": summed(rows, weights),
            "sessions_rarity": summed(rows, weights * self.rarity[rows]),
            "sessions_after": summed(rows, weights * close),
        }

    def _nearest(self, visit: Rows, nearest: int) -> tuple[Rows, Floats, Rows]:
        """Visits, their likeness, and the place in ``visit`` (oldest first) of the latest product that both hold."""
        starts = self.posting_starts[visit]
        lengths = self.posting_starts[visit + 1] - starts
        places = np.repeat(np.arange(len(visit)), lengths)
        holding = self.postings[spans(starts, lengths)].astype(np.int64)
        found, inverse = np.unique(holding, return_inverse=True)
        likeness = np.bincount(inverse, weights=(places + 1) / max(len(visit), 1), minlength=len(found)).astype(float)
        met = np.zeros(len(found), np.int64)
        np.maximum.at(met, inverse, places)
        recent = slice(max(len(found) - RECENT, 0), None)
        found, likeness, met = found[recent], likeness[recent], met[recent]
        order = np.lexsort((-found, -likeness))[:nearest]
        return found[order], likeness[order], met[order]

    @staticmethod
    def _places_after(rows: NDArray[np.int32], shared: Rows, lengths: Rows) -> Rows:
        """How many places each of ``rows`` lies after the product that its visit shares with the current one."""
        visit = np.repeat(np.arange(len(lengths)), lengths)
        place = np.arange(len(rows))
        at = np.zeros(len(lengths), np.int64)
        hit = rows == np.repeat(shared, lengths)
        at[visit[hit]] = place[hit]
        return place - at[visit]
