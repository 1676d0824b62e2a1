"""What is popular in each country: for who has no history yet, but is known to live somewhere."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows


@dataclass(frozen=True)
class Countries:
    """``best`` (n_countries, k): the rows of most customers lately in each of ``names``, best first; -1 where fewer."""

    names: tuple[str, ...]
    best: NDArray[np.int32]

    def of(self, country: str | None) -> Rows:
        """The rows of ``country``, best first; empty for one that is not known."""
        place = self._places.get(country or "", -1)
        rows = self.best[place] if place >= 0 else self.best[:0].ravel()
        return rows[rows >= 0].astype(np.int64)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}
