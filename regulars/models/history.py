"""What a visitor did, and the sums over it that every retriever and the ranker read.

A customer is their history: nothing here knows who they are.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from regulars.ids import IdMap, Rows
from regulars.models.history_kernels import (
    DAY_S,
    SAME_VISIT_DAYS,
    STRENGTH_HALF_LIFE_DAYS,
    Visitor,
    bought_on,
    known_arrays,
    latest_first,
    looking_at,
    visit_start,
    visited,
    visitor_of,
)

Floats = NDArray[np.float64]

NEWEST = 500
STRENGTH = {"purchase": 1.0, "cart": 0.6, "wish": 0.5, "view": 0.3, "click": 0.3}
LEAST_DAYS = 3


_KINDS = IdMap(STRENGTH)
_STRENGTH = np.array([*STRENGTH.values(), 0.0])  # the last: any other kind
_BOUGHT = np.arange(len(_STRENGTH)) == _KINDS.row("purchase")


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
        return latest_first(self.products, self.place)

    @cached_property
    def visit(self) -> Rows:
        """The products of the latest visit, one per interaction, oldest first: no hour passes between two of them."""
        return self.rows[self._visit_start :]

    @cached_property
    def visited(self) -> tuple[Rows, Rows]:
        """The distinct products of the latest visit, latest first, and after each how many other moments there were."""
        return visited(self.rows, self.days, self._visit_start)

    @cached_property
    def strongest(self) -> tuple[Rows, Floats]:
        """The up to 100 products of largest weight and log(1 + weight), so that staples do not drown the rest."""
        return self.arrays.strong, self.arrays.strong_weights

    @property
    def parts(self) -> tuple[Rows, Floats, NDArray[np.bool_], Rows, Rows, Floats]:
        """What ``visitor_of`` takes."""
        return self.rows, self.days, self.bought, self.products, self.place, self.weights

    @cached_property
    def arrays(self) -> Visitor:
        """What compiled code reads."""
        return visitor_of(*self.parts)

    @cached_property
    def looking_at(self) -> int:
        """The product that is looked at right now, -1 where the newest interaction is a purchase or an hour old."""
        return int(looking_at(self.rows, self.days, self.bought))

    @cached_property
    def _visit_start(self) -> int:
        return int(visit_start(self.days, SAME_VISIT_DAYS))


@dataclass(frozen=True, eq=False)
class Told:
    """A history as numbers, oldest first: ``rows`` of a catalogue (-1: not in it), ``at`` in seconds since 1970, and ``kinds``,
    places in ``STRENGTH`` (-1: any other). One value per interaction."""

    rows: Rows
    at: NDArray[np.int64]
    kinds: Rows
    _known: dict[int, Known] = field(default_factory=dict, init=False, repr=False)

    def known(self, moment: int) -> Known:
        """What happened before ``moment`` (seconds) with products of the catalogue; computed once."""
        found = self._known.get(moment)
        if found is None:
            made = known_arrays(self.rows, self.at, self.kinds, _BOUGHT, _STRENGTH, moment, NEWEST)
            found = self._known[moment] = Known(*made)
        return found


def told_history(history: History, ids: IdMap, *, moment: int | None = None) -> Told:
    """``history`` in rows of ``ids``; with a ``moment`` of a long one only the end, as far as it is read then."""
    if moment is not None and len(history.occurred_at) > NEWEST:
        return _end_of(history, ids, moment)
    at = np.asarray(history.occurred_at, dtype=np.int64)
    return Told(ids.rows(history.product_ids), at, _KINDS.rows(history.kinds))


def _end_of(history: History, ids: IdMap, moment: int) -> Told:
    """As much of the end as holds the newest 500 interactions before ``moment`` that say anything."""
    first, count, parts = len(history.occurred_at), 0, deque[Told]()
    while first > 0 and count < NEWEST:
        last, first = first, max(0, first - NEWEST)
        part = told_history(_between(history, first, last), ids)
        parts.appendleft(part)
        count += int(np.count_nonzero((part.rows >= 0) & (part.at < moment) & (_STRENGTH[part.kinds] > 0)))
    return Told(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("rows", "at", "kinds")))


def _between(history: History, first: int, last: int) -> History:
    return History(history.product_ids[first:last], history.occurred_at[first:last], history.kinds[first:last])


def known_history(history: History, ids: IdMap, *, moment: int) -> Known:
    """``history`` before ``moment`` (seconds), without products that ``ids`` does not hold."""
    return told_history(history, ids, moment=moment).known(moment)


def known_rows(rows: Rows, at: NDArray[np.int64], bought: NDArray[np.bool_], strength: Floats, *, moment: int) -> Known:
    """The same from arrays of one value per interaction; ``strength`` is that of the kind alone."""
    return Known(*known_arrays(rows, at, np.arange(len(rows)), bought, strength, moment, NEWEST))


class Done(NamedTuple):
    """Whether a product was ``touched`` and ``bought``; after how many days, on average, it was bought again (``every_days``),
    None where it was bought on fewer than 3 days."""

    touched: bool
    bought: bool
    every_days: int | None


def done_with(known: Known, row: int) -> Done:
    """What the visitor did with the product ``row``."""
    touched, days, span = bought_on(known.rows, known.days, known.bought, row)
    return Done(touched, days > 0, None if days < LEAST_DAYS else round(span / (days - 1)))


def faded_by(at: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
    """By what an interaction at ``at`` counts less than one at ``last`` (seconds): 0.5 for every 60 days."""
    return np.asarray(np.exp2((at - last) / (DAY_S * STRENGTH_HALF_LIFE_DAYS)), dtype=float)
