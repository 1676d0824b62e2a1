"""What a visitor did, and the sums over it that every retriever and the ranker read.

A customer is their history: nothing here knows who they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from regulars.ids import IdMap, Rows

Floats = NDArray[np.float64]

DAY_S = 86_400
NEWEST = 500
STRENGTH = {"purchase": 1.0, "cart": 0.6, "wish": 0.5, "view": 0.3, "click": 0.3}
STRENGTH_HALF_LIFE_DAYS = 60.0
SAME_VISIT_DAYS = 1 / 24
LEAST_DAYS = 3


@dataclass(frozen=True)
class History:
    """Interactions, oldest first: product ids, seconds since 1970, and kinds (a kind not in ``STRENGTH`` says nothing)."""

    product_ids: Sequence[str]
    occurred_at: NDArray[np.int64]
    kinds: Sequence[str]


NOTHING = History((), np.zeros(0, np.int64), ())


@dataclass(frozen=True)
class Known:
    """A history in rows of one catalogue at a moment, newest 500 interactions, oldest first.

    ``rows``, ``days`` (age at the moment, in days), ``bought`` and ``strength`` have one value per interaction;
    ``products`` (sorted rows) and ``weights`` (summed strength) one per distinct product; ``place`` leads from the former
    to the latter. Strength halves every 60 days before the newest interaction, so that it does not fade with absence.
    """

    rows: Rows
    days: Floats
    bought: NDArray[np.bool_]
    strength: Floats
    products: Rows
    place: Rows
    weights: Floats

    @cached_property
    def newest(self) -> Rows:
        """The distinct products, the latest touched first."""
        return _latest_first(self.rows)

    @cached_property
    def visit(self) -> Rows:
        """The products of the latest visit, one per interaction, oldest first: no hour passes between two of them."""
        breaks = np.flatnonzero(self.days[:-1] - self.days[1:] > SAME_VISIT_DAYS)
        return self.rows[breaks[-1] + 1 if len(breaks) else 0 :]

    @cached_property
    def visited(self) -> tuple[Rows, Rows]:
        """The distinct products of the latest visit, latest first, and after each how many other moments there were."""
        backwards, ages = self.visit[::-1], self.days[len(self.rows) - len(self.visit) :][::-1]
        first = np.sort(np.unique(backwards, return_index=True)[1])
        return backwards[first], np.searchsorted(np.unique(ages), ages[first])

    @cached_property
    def looking_at(self) -> int:
        """The product that is looked at right now, -1 where the newest interaction is a purchase or an hour old."""
        if not len(self.rows) or self.bought[-1] or self.days[-1] > SAME_VISIT_DAYS:
            return -1
        return int(self.rows[-1])


def known_history(history: History, ids: IdMap, *, moment: int) -> Known:
    """``history`` before ``moment`` (seconds), without products that ``ids`` does not hold."""
    return known_rows(
        ids.rows(history.product_ids),
        np.asarray(history.occurred_at, dtype=np.int64),
        np.array([kind == "purchase" for kind in history.kinds], dtype=bool),
        np.array([STRENGTH.get(kind, 0.0) for kind in history.kinds], dtype=float),
        moment=moment,
    )


def known_rows(rows: Rows, at: NDArray[np.int64], bought: NDArray[np.bool_], strength: Floats, *, moment: int) -> Known:
    """The same from arrays of one value per interaction; ``strength`` is that of the kind alone."""
    kept = (rows >= 0) & (at < moment) & (strength > 0)
    rows, at = rows[kept][-NEWEST:], at[kept][-NEWEST:]
    bought, strength = bought[kept][-NEWEST:], strength[kept][-NEWEST:]
    faded = strength * faded_by(at, at[-1] if len(at) else moment)
    products, place = np.unique(rows, return_inverse=True)
    weights = np.bincount(place, weights=faded, minlength=len(products)).astype(float)
    return Known(rows, (moment - at) / DAY_S, bought, faded, products, place, weights)


def rhythm(known: Known, row: int) -> int | None:
    """After how many days, on average, a product was bought again; None where it was on fewer than 3 days."""
    days = np.unique(np.floor(known.days[(known.rows == row) & known.bought]))
    return None if len(days) < LEAST_DAYS else round(float(days[-1] - days[0]) / (len(days) - 1))


def faded_by(at: NDArray[np.int64], last: NDArray[np.int64] | int) -> Floats:
    """By what an interaction at ``at`` counts less than one at ``last`` (seconds): 0.5 for every 60 days."""
    return np.asarray(np.exp2((at - last) / (DAY_S * STRENGTH_HALF_LIFE_DAYS)), dtype=float)


def _latest_first(rows: Rows) -> Rows:
    _, first = np.unique(rows[::-1], return_index=True)
    return rows[::-1][np.sort(first)]
