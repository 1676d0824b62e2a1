"""All retrievers over one catalogue: what could be shown at all, before anything is ranked."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.ids import IdMap, Rows
from regulars.models.history import Known
from regulars.models.retrievers.categories import Categories
from regulars.models.retrievers.factors import Factors
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.popular import Popular
from regulars.models.retrievers.repeat import Repeat

ARRAYS = (
    "category",
    "parent",
    "brand",
    "price",
    "first_seen_at",
    "count_customers",
    "repeat_rate",
    "gap_days",
)


@dataclass(frozen=True)
class Catalogue:
    """What is known of each product; every array has shape (n_products,).

    ``category``, ``parent`` (of the category) and ``brand`` are numbers, -1 where not known; ``price`` nan where not known;
    ``first_seen_at`` seconds since 1970; ``repeat_rate`` the share (0-1) of its customers who bought it again;
    ``gap_days`` how long they waited, in the middle, nan where nobody did.
    """

    category: NDArray[np.int32]
    parent: NDArray[np.int32]
    brand: NDArray[np.int32]
    price: NDArray[np.float32]
    first_seen_at: NDArray[np.int64]
    count_customers: NDArray[np.int32]
    repeat_rate: NDArray[np.float32]
    gap_days: NDArray[np.float32]


@dataclass(frozen=True)
class Retrieval:
    """The retrievers, and how many candidates each may bring."""

    ids: IdMap
    catalogue: Catalogue
    popular: Popular
    factors: Factors
    baskets: Neighbours
    visitors: Neighbours
    repeat: Repeat = field(default_factory=Repeat)

    @cached_property
    def categories(self) -> Categories:
        """Popular products by category."""
        return Categories(self.catalogue.category, self.popular)

    def candidates(self, known: Known) -> Rows:
        """The rows that any retriever proposes, sorted; popular ones where the history is empty."""
        parts = [
            self.repeat.candidates(known, 250),
            known.newest[:50],
            self.popular.candidates(known, 100),
            self.factors.candidates(known, 40),
            self.baskets.candidates(known, 60),
            self.visitors.candidates(known, 60),
            self.categories.candidates(known, 60),
        ]
        return np.unique(np.concatenate(parts))

    def save(self, folder: Path) -> None:
        """Write all arrays into ``folder``."""
        for name in ARRAYS:
            np.save(folder / f"catalogue-{name}.npy", getattr(self.catalogue, name))
        np.save(folder / "popular.npy", self.popular.counts)
        np.save(folder / "factors.npy", self.factors.vectors)
        for name in ("baskets", "visitors"):
            np.save(folder / f"{name}-rows.npy", getattr(self, name).rows)
            np.save(folder / f"{name}-similarity.npy", getattr(self, name).similarity)
        (folder / "products.json").write_text(json.dumps(self.ids.to_json()))
        body = {
            "regularization": self.factors.regularization,
            "alpha": self.factors.alpha,
            "repeat_half_life_days": self.repeat.half_life_days,
        }
        (folder / "retrieval.json").write_text(json.dumps(body, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> "Retrieval":
        """What ``save`` wrote; arrays are mapped, not read, so that workers share them."""
        body = json.loads((folder / "retrieval.json").read_text())
        loaded = {name: _mapped(folder / f"catalogue-{name}.npy") for name in ARRAYS}
        return cls(
            ids=IdMap.from_json(json.loads((folder / "products.json").read_text())),
            catalogue=Catalogue(**loaded),
            popular=Popular(_mapped(folder / "popular.npy")),
            factors=Factors(_mapped(folder / "factors.npy"), body["regularization"], body["alpha"]),
            baskets=_neighbours(folder, "baskets"),
            visitors=_neighbours(folder, "visitors"),
            repeat=Repeat(body["repeat_half_life_days"]),
        )


def _neighbours(folder: Path, name: str) -> Neighbours:
    return Neighbours(_mapped(folder / f"{name}-rows.npy"), _mapped(folder / f"{name}-similarity.npy"))


def _mapped(file: Path) -> Any:
    return np.load(file, mmap_mode="r", allow_pickle=False)
