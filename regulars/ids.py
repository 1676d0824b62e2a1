"""Frozen maps between the shop's ids and our rows."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Self

import numpy as np
from numpy.typing import NDArray

from regulars.errors import DataError

Rows = NDArray[np.int64]

UNKNOWN = -1


class IdMap:
    """Ids in a fixed order; the row of an id is its place there, from 0.

    >>> products = IdMap(["tea", "cup"])
    >>> products.rows(["cup", "pot"]).tolist()
    [1, -1]
    >>> products.ids([1, 0])
    ['cup', 'tea']
    """

    def __init__(self, ids: Iterable[str]) -> None:
        self._ids = tuple(ids)
        self._rows = {found: row for row, found in enumerate(self._ids)}
        if len(self._rows) != len(self._ids):
            raise DataError(f"expected ids that differ, got {len(self._ids) - len(self._rows)} twice")

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, found: object) -> bool:
        return found in self._rows

    def row(self, of_id: str) -> int:
        """The row of one id, -1 where it is not known."""
        return self._rows.get(of_id, UNKNOWN)

    def rows(self, ids: Iterable[str]) -> Rows:
        """One row per id, -1 for those not known; shape (n_ids,)."""
        return np.fromiter(map(self._rows.get, ids, repeat(UNKNOWN)), np.int64)

    def ids(self, rows: Sequence[int] | Rows) -> list[str]:
        """The ids of ``rows``."""
        return [self._ids[row] for row in rows]

    def mask(self, ids: Iterable[str]) -> NDArray[np.bool_]:
        """True for every row whose id is in ``ids``; shape (n,)."""
        chosen = np.zeros(len(self._ids), dtype=bool)
        rows = self.rows(ids)
        chosen[rows[rows >= 0]] = True
        return chosen

    def to_json(self) -> list[str]:
        """The ids in order."""
        return list(self._ids)

    @classmethod
    def from_json(cls, saved: Sequence[str]) -> Self:
        """What ``to_json`` gave."""
        return cls(saved)
