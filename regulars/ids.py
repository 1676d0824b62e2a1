"""Frozen maps between the shop's ids and our rows."""

from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import Any, Self
from weakref import WeakKeyDictionary

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
        self._rows_of = WeakKeyDictionary[IdMap, Rows]()
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
        if isinstance(ids, Numbered):
            return ids.rows if ids.of is self else self.rows_of(ids.of)[ids.rows]
        return np.fromiter(map(self._rows.get, ids, repeat(UNKNOWN)), np.int64)

    def rows_of(self, other: "IdMap") -> Rows:
        """The row here of each of ``other``'s ids, -1 where it is not known; looked up once as long as ``other`` lives."""
        found = self._rows_of.get(other)
        if found is None:
            found = self._rows_of[other] = self.rows(other.to_json())
        return found

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


class Numbered(Sequence[str]):
    """Ids that are kept as ``rows`` of the map ``of``, none of them -1, and named where a name is asked for.

    >>> bought = Numbered(IdMap(["tea", "cup"]), np.array([1, 1, 0]))
    >>> list(bought), IdMap(["pot", "tea"]).rows(bought).tolist()
    (['cup', 'cup', 'tea'], [-1, -1, 1])
    """

    def __init__(self, of: IdMap, rows: Rows) -> None:
        self.of, self.rows = of, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        return self.of.ids(self.rows[place]) if isinstance(place, slice) else self.of.ids([self.rows[place]])[0]


def joined(first: Sequence[str], then: Sequence[str], order: Rows) -> Sequence[str]:
    """Those of both that ``order`` names by their places, one behind the other; numbered as ``first`` is, where all can be.

    >>> joined(Numbered(IdMap(["tea", "cup"]), np.array([1])), ["tea"], np.array([1, 0]))[:]
    ['tea', 'cup']
    """
    if isinstance(first, Numbered):
        rows = first.of.rows(then)
        if not len(rows) or rows.min() >= 0:
            return Numbered(first.of, np.concatenate([first.rows, rows])[order])
    both = [*first, *then]
    return [both[place] for place in order]
