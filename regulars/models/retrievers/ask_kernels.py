"""What the neighbours of each kind are asked about a history, compiled: products and how much each counts, ask behind ask."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.compiled import compiled
from regulars.models.history_kernels import Visitor, latest_first, visited
from regulars.models.instructions import put

Floats = NDArray[np.float64]
Vectors = NDArray[np.float32]

TABLES = (
    "baskets",
    "visitors",
    "linear",
    "followers",
    "onward",
    "next_step",
    "step_before",
    "two_steps",
    "embedding",
    "transitions",
)
ASKED = (
    ("baskets", "baskets"),
    ("visitors", "visitors"),
    ("linear", "linear"),
    ("newest", "baskets"),
    ("recent", "baskets"),
    ("followers", "followers"),
    ("onward", "onward"),
    ("following", "followers"),
    ("next_step", "next_step"),
    ("step_before", "step_before"),
    ("two_steps", "two_steps"),
    ("akin", "embedding"),
    ("second", "baskets"),
    ("akin_visit", "embedding"),
    ("transitions", "transitions"),
    ("linear_visit", "linear"),
)
TABLE_OF = np.array([TABLES.index(table) for _, table in ASKED])
LATEST = 10


class Fading(NamedTuple):
    """By what products count less, the latest first (``newest``) or by how many moments came after them; and what
    ``Transitions`` has of places and products. ``most``: how many products of a visit followers, embedding, transitions hear of."""

    newest: Floats
    visit: Floats
    followers: Floats
    onward: Floats
    places: Vectors
    liking: Vectors
    most: tuple[int, int, int]


class Asks(NamedTuple):
    """Of each ask the ``products`` and their ``weights``, up to ``ends``; and the latest visit, see ``visited``."""

    products: Rows
    weights: Floats
    ends: NDArray[np.int64]
    visit: Rows


@compiled
def asks_of(visitor: Visitor, fading: Fading) -> Asks:
    """The asks in the order of ``ASKED``."""
    newest = latest_first(visitor.products, visitor.place)[:LATEST]
    visit, later = visited(visitor.rows, visitor.days, len(visitor.rows) - len(visitor.visit))
    room = 2 * len(visitor.strong) + len(visitor.products) + 2 * len(visit) + 12 * LATEST
    products, weights, filled = np.empty(room, np.int64), np.empty(room), 0
    ends = np.empty(len(TABLE_OF), np.int64)
    latest, second, ones = newest[:1], newest[1:2], np.ones(room)
    followers, akin, next_ones = visit[: fading.most[0]], visit[: fading.most[1]], visit[: fading.most[2]]
    chances = shares_of(next_ones, fading.places, fading.liking)
    for part, asked in enumerate(
        (
            (visitor.strong, visitor.strong_weights),
            (visitor.strong, visitor.strong_weights),
            (visitor.products, ones),
            (latest, ones),
            (newest, fading.newest),
            (followers, fading.followers[later]),
            (followers, fading.onward[later]),
            (latest, ones),
            (latest, ones),
            (latest, ones),
            (latest, ones),
            (latest, ones),
            (second, ones),
            (akin, ones),
            (next_ones[: len(chances)], chances),
            (visit[:LATEST], fading.visit[later]),
        )
    ):
        count = len(asked[0])
        put(asked[0], products, filled)
        put(asked[1][:count], weights, filled)
        filled += count
        ends[part] = filled
    return Asks(products[:filled], weights[:filled], ends, visit)


@compiled
def shares_of(products: Rows, places: Vectors, liking: Vectors) -> Floats:
    """How much each of ``products`` counts by its place, summing to 1; empty where nothing is known of any."""
    shares, total = np.empty(len(products)), 0.0
    for place in range(len(products)):
        shares[place] = np.float64(places[place]) if np.isfinite(liking[products[place]]) else 0.0
        total += shares[place]
    return shares / total if total > 0 else shares[:0]
