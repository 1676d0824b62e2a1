"""Products of past visits that resemble the current one: vector multiplication indexed session-kNN.

Source: Kersbergen, Sprangers & Schelter (2022), Serenade: Low-Latency Session-Based Recommendation in e-Commerce at
Scale, SIGMOD.
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


@dataclass(frozen=True)
class Sessions:
    """A capped store of visits without their visitors, the oldest first.

    ``products`` of visit v lie at ``starts[v]:starts[v + 1]``; ``postings[posting_starts[p]:posting_starts[p + 1]]`` are the
    newest visits that hold product p, newest first; ``rarity`` (n_products,) is log(visits / visits with the product).
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

    def reached(self, known: Known, *, nearest: int = NEAREST) -> Reached:
        """Every product of the ``nearest`` visits most like the current one: their likeness x rarity x how late they part."""
        visit = known.visited[0][:LATEST_PRODUCTS][::-1]
        if not len(visit) or not len(self.products):
            return NOWHERE
        near, likeness, met = self._nearest(visit, nearest)
        if not len(near):
            return NOWHERE
        weights = likeness * (1 - 0.1 * (len(visit) - 1 - met))
        lengths = self.starts[near + 1] - self.starts[near]
        rows = self.products[spans(self.starts[near], lengths)]
        return summed(rows, np.repeat(weights, lengths) * self.rarity[rows], among=len(self.rarity))

    def _nearest(self, visit: Rows, nearest: int) -> tuple[Rows, Floats, Rows]:
        """Visits, their likeness, and the place in ``visit`` (oldest first) of the latest product that both hold."""
        starts = self.posting_starts[visit]
        lengths = self.posting_starts[visit + 1] - starts
        places = np.repeat(np.arange(len(visit)), lengths)
        holding = self.postings[spans(starts, lengths)].astype(np.int64)
        found, inverse = np.unique(holding, return_inverse=True)
        likeness = np.bincount(inverse, weights=(places + 1) / len(visit), minlength=len(found)).astype(float)
        met = np.zeros(len(found), np.int64)
        np.maximum.at(met, inverse, places)
        recent = slice(max(len(found) - RECENT, 0), None)
        found, likeness, met = found[recent], likeness[recent], met[recent]
        order = np.lexsort((-found, -likeness))[:nearest]
        return found[order], likeness[order], met[order]
