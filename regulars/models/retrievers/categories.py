"""Popular products of the categories that a visitor likes: the way to what they have never touched."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrievers.candidate_kernels import Groups, of_groups
from regulars.models.retrievers.kernels import SUMS
from regulars.models.retrievers.popular import Popular

Floats = NDArray[np.float64]

PER_CATEGORY = 10


@dataclass(frozen=True)
class Categories:
    """``category`` (n_products,): the number of each product's category, -1 where it has none."""

    category: NDArray[np.int32]
    popular: Popular

    @cached_property
    def best(self) -> NDArray[np.int64]:
        """The ten most popular rows of each category, -1 where there are fewer; shape (n_categories, 10)."""
        count = int(self.category.max(initial=-1)) + 1
        table = np.full((count, PER_CATEGORY), -1, np.int64)
        order = self.popular.order
        order = order[self.category[order] >= 0]
        order = order[np.argsort(self.category[order], kind="stable")]
        groups, first, sizes = np.unique(self.category[order], return_index=True, return_counts=True)
        for group, start, size in zip(groups, first, sizes, strict=True):
            kept = order[start : start + min(int(size), PER_CATEGORY)]
            table[group, : len(kept)] = kept
        return table

    def shares(self, known: Known) -> tuple[NDArray[np.int64], Floats]:
        """The categories of the history, sorted, and the share (0-1) of its weight that each has."""
        of_product = self.category[known.products]
        kept = of_product >= 0
        groups, place = np.unique(of_product[kept], return_inverse=True)
        sums = np.bincount(place, weights=known.weights[kept], minlength=len(groups))
        return groups.astype(np.int64), sums / max(float(sums.sum()), 1e-12)

    def candidates(self, known: Known, n: int) -> Rows:
        """Up to ``n`` rows, best first: share of the category times a rank discount within it."""
        sums, touched = SUMS.of(max(len(self.category), len(self.best)))
        return of_groups(self.groups, known.products, known.weights, n, sums, touched)

    @cached_property
    def groups(self) -> Groups:
        """What compiled code reads."""
        return Groups(self.category, self.best)

    def scores(self, known: Known, rows: Rows) -> Floats:
        """The share of each row's category; shape (n_rows,)."""
        groups, shares = self.shares(known)
        if not len(groups):
            return np.zeros(len(rows))
        wanted = self.category[rows]
        place = np.minimum(np.searchsorted(groups, wanted), len(groups) - 1)
        return np.where(groups[place] == wanted, shares[place], 0.0)
