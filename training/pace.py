"""The pace of a whole shop: how many order days came in a stretch of time for each one that a steady shop would have had.

Base rates of churn move with the season: before Christmas a shop's customers order twice as fast as after it. A
buy-till-you-die model knows no calendar, so time is stretched for it (operational time): a horizon of 60 days at a pace of
0.5 is a horizon of 30. For moments in the past the pace is counted; for the coming horizon it is predicted from the last
weeks, from where the shop is moving, and from the same weeks a year ago.

Source: operational time in point processes: Cox & Isham, Point Processes, 1980, chapter 4; the prediction is a seasonal naive
one with drift and a damped trend: Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, 2021, sections
5.2 and 8.2.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.models.buy_till_you_die import BuyTillYouDie

Floats = NDArray[np.float64]

WEEK = 7
YEAR_WEEKS = 52
RECENT_WEEKS = 4  # what "now" means
COMPARED_WEEKS = 8  # by how much this year runs ahead of the last
FADES_IN_DAYS = 30.0  # how fast what is special about now is forgotten
TREND_WEEKS = 13  # before the recent ones: what "now" has moved away from
TREND = 0.8  # how much of that movement stays, for as long as those weeks
YEAR_AGO = 0.9  # trust in the same weeks a year ago
STEADY = 10.0  # order days worth of pull towards a pace of 1
DRIFT_WEEKS = 4.0  # weeks worth of pull towards no drift
FIRST_WEEKS = 4  # of a history: who was known then says little yet
SETTLED_WEEKS = (8, 22)  # of a history: first orders then are those of new customers
SAME_SIZE = 0.5  # a logarithm of growth at which trust in being the same shop has fallen to a third
SLOWEST, FASTEST = 0.15, 4.0


@dataclass(frozen=True)
class Pace:
    """Weeks before a moment, newest first; all of shape (n_weeks,).

    ``came``: order days of customers who were known when the week began, ``expected``: how many a steady shop would have
    had, ``all_days`` and ``first_days``: order days of everybody, and those of them that were a customer's first.
    ``expected_now``: what a steady shop would have in the coming week.
    """

    came: Floats
    expected: Floats
    all_days: Floats
    first_days: Floats
    expected_now: float

    def during(self, days_ago: int, horizon_days: int) -> float:
        """The pace that was in [days_ago, days_ago - horizon) before the moment; 1 where nothing is known of it."""
        weeks = (days_ago - 1 - np.arange(horizon_days)) // WEEK
        weeks = weeks[(weeks >= 0) & (weeks < len(self.came))]
        return float(np.exp(_log_ratio(self.came[weeks].sum() / WEEK, self.expected[weeks].sum() / WEEK)))

    def ahead(self, horizon_days: int) -> float:
        """The pace predicted for the ``horizon_days`` from the moment on.

        What is special about the last four weeks fades within a month, but not all of what they have moved from the quarter
        before. Where the same weeks of last year are known, they count: by pace, or, as far as that history began with
        customers who had been there before (so that paces of its first weeks say little), by the number of order days, with
        the growth since.
        """
        weeks = (YEAR_WEEKS * WEEK - 1 - np.arange(horizon_days)) // WEEK
        covered = weeks < len(self.came)
        by_pace = self._by_pace(weeks, horizon_days)
        if not covered.any():
            return _bounded(by_pace)
        trust = YEAR_AGO * float(covered.mean()) * self._began_in_the_middle()
        return _bounded(trust * self._by_volume(weeks[covered]) + (1 - trust) * by_pace)

    def _by_pace(self, weeks: NDArray[np.int64], horizon_days: int) -> float:
        fading = horizon_days / FADES_IN_DAYS
        keeps = (1 - np.exp(-fading)) / fading
        then = _part(self.came, self.expected, weeks, len(self.came) - FIRST_WEEKS)
        stays = TREND * min(TREND_WEEKS * WEEK / horizon_days, 1.0)
        now = keeps * self._beside_last_year(0, RECENT_WEEKS) + (1 - keeps) * stays * self._trend()
        return float(YEAR_AGO * then + now)

    def _trend(self) -> float:
        """How far the last weeks have moved from the quarter before, in logarithms; 0 where that is not known whole."""
        if len(self.came) - FIRST_WEEKS < RECENT_WEEKS + TREND_WEEKS:
            return 0.0
        now = self._beside_last_year(0, RECENT_WEEKS)
        return now - self._beside_last_year(RECENT_WEEKS, RECENT_WEEKS + TREND_WEEKS)

    def _beside_last_year(self, newest: int, oldest: int) -> float:
        """The logarithm of the pace of the weeks [newest, oldest) ago, less what last year's says of it."""
        weeks = np.arange(newest, min(oldest, len(self.came)))
        now = _log_ratio(self.came[weeks].sum(), self.expected[weeks].sum())
        return now - YEAR_AGO * _part(self.came, self.expected, YEAR_WEEKS + weeks, len(self.came) - FIRST_WEEKS)

    def _by_volume(self, weeks: NDArray[np.int64]) -> float:
        newest = slice(0, COMPARED_WEEKS)
        returning = 1 - self.first_days[newest].sum() / max(self.all_days[newest].sum(), 1.0)
        level = _log_ratio(self.all_days[weeks].mean() * returning, self.expected_now)
        both = np.arange(min(COMPARED_WEEKS, max(len(self.came) - YEAR_WEEKS, 0)))
        drift = _log_ratio(self.all_days[both].sum(), self.all_days[both + YEAR_WEEKS].sum()) if len(both) else 0.0
        return level + drift * len(both) / (len(both) + DRIFT_WEEKS)

    def _began_in_the_middle(self) -> float:
        """The trust (0-1) that this is a shop that was there, and as busy, before its history began.

        Then most first orders at the start of the history were none, and there came about as many orders as later. A shop
        that grew from nothing fails the first, customers who were all won at one time fail the second.
        """
        early, late = SETTLED_WEEKS
        if len(self.first_days) < 2 * early:
            return 0.0
        settled = self.first_days[max(len(self.first_days) - late, 0) : len(self.first_days) - early].mean()
        were_known = float(np.clip(1 - settled / max(self.first_days[-2:].mean(), 1.0), 0.0, 1.0))
        grown = _log_ratio(self.all_days[-FIRST_WEEKS:].mean(), self.all_days[:-early].mean())
        return were_known * float(np.exp(-((grown / SAME_SIZE) ** 2)))


def pace_before(days: pd.DataFrame, buyers: BuyTillYouDie, *, days_ago: int = 0) -> Pace:
    """The pace of the whole weeks that ended ``days_ago`` days before the moment that ``days`` counts from.

    ``days``: customer_id and days_ago, one row per customer and order day. ``buyers``: the steady shop, whose customers
    come back at P(alive) x (r + x) / (alpha + T) order days per day.

    >>> days = pd.DataFrame({"customer_id": ["ann", "ann", "bob"], "days_ago": [3, 10, 12]})
    >>> pace_before(days, BuyTillYouDie(1.0, 10.0, 1.0, 9.0)).came.tolist()
    [1.0]
    """
    ago = days["days_ago"].to_numpy(np.int64) - days_ago
    codes, ids = pd.factorize(days["customer_id"])
    ago, codes = ago[ago > 0], codes[ago > 0]
    count = len(ids)
    first = np.zeros(count, np.int64)
    np.maximum.at(first, codes, ago)
    weeks = int(first.max(initial=0)) // WEEK
    came, expected = np.zeros(weeks), np.zeros(weeks)
    number = (ago - 1) // WEEK
    whole = number < weeks
    for week in range(weeks):
        end = (week + 1) * WEEK
        known, rate = _known_rate(codes, ago, first, buyers, end)
        came[week] = float(((number == week) & known[codes]).sum())
        expected[week] = WEEK * rate
    _, now = _known_rate(codes, ago, first, buyers, 0)
    all_days = np.bincount(number[whole], minlength=weeks).astype(float)
    is_first = whole & (ago == first[codes])
    first_days = np.bincount(number[is_first], minlength=weeks).astype(float)
    return Pace(came, expected, all_days, first_days, WEEK * now)


def _known_rate(
    codes: NDArray[np.int64], ago: NDArray[np.int64], first: NDArray[np.int64], buyers: BuyTillYouDie, at: int
) -> tuple[NDArray[np.bool_], float]:
    """Who had ordered earlier than ``at`` days ago, and the order days per day expected of them then."""
    past = ago > at
    count = np.bincount(codes[past], minlength=len(first))
    known = count > 0
    last = np.full(len(first), np.iinfo(np.int64).max)
    np.minimum.at(last, codes[past], ago[past])
    x, age = count[known] - 1.0, (first[known] - at).astype(float)
    span = (first[known] - last[known]).astype(float)
    rates = buyers.probability_alive(x, span, age) * (buyers.r + x) / (buyers.alpha + age)
    return known, float(rates.sum())


def _part(came: Floats, expected: Floats, weeks: NDArray[np.int64], known: int) -> float:
    """The logarithm of the pace in ``weeks``, pulled towards 0 by the share of them that is not known."""
    inside = weeks[weeks < known]
    if not len(inside):
        return 0.0
    return _log_ratio(came[inside].mean(), expected[inside].mean()) * len(inside) / len(weeks)


def _log_ratio(above: float, below: float) -> float:
    return float(np.log((above + STEADY) / (below + STEADY)))


def _bounded(log_pace: float) -> float:
    return float(np.clip(np.exp(log_pace), SLOWEST, FASTEST))
