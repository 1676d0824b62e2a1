"""All retrievers over one catalogue: what could be shown at all, before anything is ranked."""

import json
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from regulars.ids import IdMap, Rows
from regulars.models.history import NEWEST
from regulars.models.pair_columns import Paths, Products
from regulars.models.retrievers.ask_kernels import ASKED, LATEST, TABLES, Fading
from regulars.models.retrievers.candidate_kernels import Most, Sources, popular_of
from regulars.models.retrievers.categories import Categories
from regulars.models.retrievers.content import Content
from regulars.models.retrievers.countries import Countries
from regulars.models.retrievers.embedding import LATEST_PRODUCTS as LATEST_AKIN
from regulars.models.retrievers.embedding import Embedding
from regulars.models.retrievers.factors import Factors
from regulars.models.retrievers.followers import LATEST_PRODUCTS as LATEST_FOLLOWED
from regulars.models.retrievers.followers import Followers
from regulars.models.retrievers.kernels import SUMS
from regulars.models.retrievers.lookalikes import FREQUENCY, NEAREST, Lookalikes
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.popular import Popular
from regulars.models.retrievers.reach_kernels import Told
from regulars.models.retrievers.repeat import Repeat
from regulars.models.retrievers.sessions import CLOSE, RECENT, WAYS, Sessions
from regulars.models.retrievers.sessions import LATEST_PRODUCTS as LATEST_VISITED
from regulars.models.retrievers.sessions import NEAREST as NEAREST_VISITS
from regulars.models.retrievers.transitions import LATEST_PRODUCTS as LATEST_PASSED
from regulars.models.retrievers.transitions import Transitions

Part = TypeVar("Part")

FALLING = 0.8
ALL_OF, BRING_ALLOWED = 500, 40  # so many allowed ones come all; of more, so many of each part
NO_ROWS: Rows = np.zeros(0, np.int64)
ONWARD_FALLING, VISIT_FALLING = 0.4, 0.6
BRING_FACTORS = 40
BRING = {
    "baskets": 60,
    "visitors": 60,
    "linear": 100,
    "followers": 60,
    "onward": 60,
    "sessions": 60,
    "two_steps": 60,
    "akin": 80,
    "akin_visit": 80,
    "transitions": 60,
    "lookalikes": 150,
}
PARTS = (*(name for name, _ in ASKED), *WAYS, "lookalikes", "own_frequency")
_MOST = Most(
    np.array([BRING.get(name, 0) for name in PARTS]), BRING_FACTORS, repeat=250, groups=60, words=10, newest=50, popular=100,
    allowed=BRING_ALLOWED, all_of=ALL_OF,
)  # fmt: skip
_FALLING = np.power(FALLING, np.arange(LATEST, dtype=float))
_VISIT_FALLING = np.power(VISIT_FALLING, np.arange(NEWEST, dtype=float))
NO_MASK = np.zeros(0, bool)


@dataclass(frozen=True)
class Catalogue:
    """What is known of each product; every array has shape (n_products,).

    ``category``, ``parent`` (of the category) and ``brand`` are numbers, -1 where not known; ``price`` nan where not known;
    ``first_seen_at`` seconds since 1970; ``repeat_rate`` the share (0-1) of its customers who bought it again;
    ``gap_days`` how long they waited, in the middle, nan where nobody did. ``family``: the number of the product that it is
    a variant of, -1 where it has no variants. ``held_back``: too many came back for their quality to be proposed.
    """

    category: NDArray[np.int32]
    parent: NDArray[np.int32]
    brand: NDArray[np.int32]
    price: NDArray[np.float32]
    first_seen_at: NDArray[np.int64]
    count_customers: NDArray[np.int32]
    repeat_rate: NDArray[np.float32]
    gap_days: NDArray[np.float32]
    family: NDArray[np.int32]
    held_back: NDArray[np.bool_]


@dataclass(frozen=True)
class Retrieval:
    """The retrievers, and how many candidates each may bring.

    ``baskets``, ``visitors`` and ``linear`` are neighbours by orders and sessions, by customers, and by a linear model of them.
    ``followers`` counts what comes next in a visit or order; ``onward`` is a linear model of what comes later in a visit.
    ``next_step``, ``step_before`` and ``two_steps`` are the chances along a visit's path, ``embedding`` its products as vectors.
    ``transitions`` mixes what comes next after each of the visit's latest products.
    """

    ids: IdMap
    catalogue: Catalogue
    popular: Popular
    factors: Factors
    baskets: Neighbours
    visitors: Neighbours
    linear: Neighbours
    followers: Followers
    onward: Followers
    next_step: Neighbours
    step_before: Neighbours
    two_steps: Neighbours
    embedding: Embedding
    transitions: Transitions
    sessions: Sessions
    lookalikes: Lookalikes
    content: Content
    countries: Countries
    repeat: Repeat = field(default_factory=Repeat)

    @cached_property
    def categories(self) -> Categories:
        """Popular products by category."""
        return Categories(self.catalogue.category, self.popular)

    @cached_property
    def told(self) -> Told:
        """What compiled code reads: arrays all alike to it, in order, and such as could be written."""
        near: list[Neighbours] = [getattr(found, "near", found) for found in (getattr(self, name) for name in TABLES)]
        tables = tuple(
            (np.require(one.rows, np.int32, ["C", "W"]), np.require(one.similarity, np.float32, ["C", "W"]))
            for one in near
        )
        return Told(
            tables,
            np.array([one.are_none for one in near]),
            Fading(
                _FALLING, _VISIT_FALLING, self.followers.fading, self.onward.fading,
                np.require(self.transitions.places, np.float32, ["C", "W"]),
                np.require(self.transitions.liking, np.float32, ["C", "W"]),
                (LATEST_FOLLOWED, LATEST_AKIN, LATEST_PASSED),
            ),
            self.sessions.arrays,
            (LATEST_VISITED, NEAREST_VISITS, RECENT),
            CLOSE,
            self.lookalikes.arrays,
            NEAREST,
            FREQUENCY,
            float(self.repeat.half_life_days),
            self.factors.arrays,
        )  # fmt: skip

    @cached_property
    def products(self) -> Products:
        """What features read of each product."""
        found = {name: getattr(self.catalogue, name) for name in Products._fields if hasattr(self.catalogue, name)}
        return Products(counts=self.popular.counts, vectors=self.factors.vectors, **found)

    @cached_property
    def paths(self) -> Paths:
        """What features read of visits' paths."""
        akin, after = self.embedding, self.transitions

        def of(array: NDArray[np.float32], *, none: bool = False) -> NDArray[np.float32]:
            return np.require(array[: 0 if none else None], np.float32, ["C", "W"])

        return Paths(
            of(akin.vectors, none=akin.near.are_none), of(after.vectors, none=after.near.are_none), of(after.liking),
            of(after.total), of(after.places), LATEST_AKIN, LATEST_PASSED,
        )  # fmt: skip

    def sums(self) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
        """This thread's zeros and touched bits, enough for whatever is summed of this catalogue."""
        return SUMS.of(self._longest)

    @cached_property
    def _longest(self) -> int:
        """One per product, past customer, visit, category or word."""
        return max(
            len(self.ids),
            len(self.lookalikes.starts),
            len(self.sessions.starts),
            len(self.categories.best),
            self.content.width,
        )

    @cached_property
    def sources(self) -> Sources:
        """Where candidates come from beside what was reached."""
        return Sources(
            self.factors.rounded, self.factors.arrays.vectors, self.popular.arrays, self.categories.groups,
            self.content.texts, _MOST,
        )  # fmt: skip

    def popular_of(self, allowed: NDArray[np.bool_] | None, most: int) -> Rows:
        """The ``most`` most popular of ``allowed``, best first; of all where that is None."""
        return self.popular.order[:most] if allowed is None else popular_of(self.popular.arrays, allowed, most)

    def save(self, folder: Path) -> None:
        """Write all arrays into ``folder``, one file each."""
        for name, part in self._parts().items():
            for array in fields(part):
                np.save(folder / f"{name}-{array.name}.npy", getattr(part, array.name))
        np.save(folder / "factors-vectors.npy", self.factors.vectors)
        np.save(folder / "countries-best.npy", self.countries.best)
        (folder / "products.json").write_text(json.dumps(self.ids.to_json()))
        body = {
            "regularization": self.factors.regularization,
            "alpha": self.factors.alpha,
            "countries": list(self.countries.names),
            "repeat_half_life_days": self.repeat.half_life_days,
        }
        (folder / "retrieval.json").write_text(json.dumps(body, sort_keys=True))

    @classmethod
    def load(cls, folder: Path) -> "Retrieval":
        """What ``save`` wrote; arrays are mapped, not read, so that workers share them."""
        body = json.loads((folder / "retrieval.json").read_text())
        return cls(
            ids=IdMap.from_json(json.loads((folder / "products.json").read_text())),
            catalogue=_loaded(folder, "catalogue", Catalogue),
            popular=_loaded(folder, "popular", Popular),
            factors=Factors(_mapped(folder / "factors-vectors.npy"), body["regularization"], body["alpha"]),
            baskets=_loaded(folder, "baskets", Neighbours),
            visitors=_loaded(folder, "visitors", Neighbours),
            linear=_loaded(folder, "linear", Neighbours),
            followers=Followers(_loaded(folder, "followers", Neighbours)),
            onward=Followers(_loaded(folder, "onward", Neighbours), ONWARD_FALLING),
            next_step=_loaded(folder, "next_step", Neighbours),
            step_before=_loaded(folder, "step_before", Neighbours),
            two_steps=_loaded(folder, "two_steps", Neighbours),
            embedding=_loaded(folder, "embedding", Embedding),
            transitions=_loaded(folder, "transitions", Transitions),
            sessions=_loaded(folder, "sessions", Sessions),
            lookalikes=_loaded(folder, "lookalikes", Lookalikes),
            content=_loaded(folder, "content", Content),
            countries=Countries(tuple(body["countries"]), _mapped(folder / "countries-best.npy")),
            repeat=Repeat(body["repeat_half_life_days"]),
        )

    def _parts(self) -> dict[str, Any]:
        names = ("catalogue", "popular", "baskets", "visitors", "linear", "next_step", "step_before", "two_steps",
                 "embedding", "transitions", "sessions", "lookalikes", "content")  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "followers": self.followers.near,
            "onward": self.onward.near,
        }


def deeper(repeat: str) -> int:
    """How many times as many products each retriever may bring where those bought before are left out."""
    return 2 if repeat == "never" else 1


def _loaded(folder: Path, name: str, made: type[Part]) -> Part:
    arrays = {array.name: _mapped(folder / f"{name}-{array.name}.npy") for array in fields(cast(Any, made))}
    return made(**arrays)


def _mapped(file: Path) -> Any:
    """A plain array over the file's pages: a memmap's own class costs more per slice than the slice, and compiled code
    takes arrays that could be written, which here would change this process's pages only."""
    return np.asarray(np.load(file, mmap_mode="c", allow_pickle=False))
