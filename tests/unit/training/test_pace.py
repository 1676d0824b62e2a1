"""The pace of a shop, counted and predicted, by hand and on made shops."""

import numpy as np
import pandas as pd
import pytest

from regulars.models.buy_till_you_die import BuyTillYouDie
from training.pace import Pace, pace_before

STEADY = BuyTillYouDie(1.0, 10.0, 1.0, 9.0)


def weeks(*, came: np.ndarray, first: float = 0.0, expected: float = 100.0) -> Pace:
    """A shop that was there before: ``expected`` order days a week at pace 1, newest week first."""
    return Pace(came, np.full(len(came), expected), came, np.full(len(came), first), expected)


def test_weeks_are_counted_by_hand() -> None:
    """Ann was known before both of her later order days, Bob is new; days 1-7 are the newest week."""
    days = pd.DataFrame({"customer_id": ["ann", "ann", "ann", "bob"], "days_ago": [3, 7, 21, 10]})
    pace = pace_before(days, STEADY)
    assert pace.came.tolist() == [2, 0, 0]
    assert pace.all_days.tolist() == [2, 1, 1]
    assert pace.first_days.tolist() == [0, 1, 1]
    bob, ann = 1 / (10 + 3), 1 / (10 + 14)  # (r + x) / (alpha + T), seven days ago; nobody with one order has left
    assert pace.expected[0] == pytest.approx(7 * (bob + ann))


def test_a_past_moment_sees_nothing_later() -> None:
    days = pd.DataFrame({"customer_id": ["ann"] * 4, "days_ago": [2, 9, 20, 40]})
    known = days[days["days_ago"] > 14].assign(days_ago=lambda rows: rows["days_ago"] - 14)
    then, cut = pace_before(days, STEADY, days_ago=14), pace_before(known, STEADY)
    for name in ("came", "expected", "all_days", "first_days"):
        assert getattr(then, name).tolist() == getattr(cut, name).tolist()
    assert then.expected_now == cut.expected_now


def test_what_was_is_counted_over_the_horizon() -> None:
    pace = weeks(came=np.array([300.0, 100.0, 100.0, 50.0]))
    assert pace.during(7, 7) == pytest.approx((300 + 10) / (100 + 10), rel=0.1)
    assert pace.during(21, 14) == pytest.approx(1.0)
    assert pace.during(7, 7) > pace.during(14, 14) > pace.during(14, 7)


def test_what_is_special_about_now_fades() -> None:
    pace = weeks(came=np.array([200.0] * 4 + [100.0] * 20))
    assert 1 < pace.ahead(90) < pace.ahead(28) < pace.ahead(7) < 2
    assert weeks(came=np.full(24, 100.0)).ahead(28) == pytest.approx(1.0)


def test_a_shop_that_moved_does_not_come_back_at_once() -> None:
    """Four weeks at double pace after a quarter at the usual one, against a shop that always goes at double pace."""
    moved = weeks(came=np.array([200.0] * 4 + [100.0] * 20))
    stayed = weeks(came=np.full(24, 200.0))
    short = weeks(came=np.array([200.0] * 4 + [100.0] * 10))  # the quarter before is not known whole
    assert moved.ahead(90) > stayed.ahead(90) == pytest.approx(short.ahead(90), abs=0.02)
    fell = weeks(came=np.array([50.0] * 4 + [100.0] * 20))
    assert fell.ahead(7) < fell.ahead(90) < 1
    assert moved.ahead(365) < moved.ahead(90)  # a quarter's movement says little of a year


def test_the_same_weeks_a_year_ago_are_expected_again() -> None:
    came = np.full(104, 100.0)
    came[48:52] = 50.0  # four slow weeks, a year before the coming ones
    assert weeks(came=came).ahead(28) == pytest.approx(0.5, abs=0.1)


def test_a_year_ago_counts_by_number_where_the_history_began_in_the_middle() -> None:
    came = np.full(53, 100.0)
    came[44:48] = 40.0
    first = np.zeros(53)
    first[-2:] = 90.0
    shop = Pace(came, np.full(53, 100.0), came, first, 100.0)
    whole = weeks(came=came).ahead(56)  # by pace alone
    assert shop.ahead(56) == pytest.approx(0.72, abs=0.05)
    assert whole == pytest.approx(0.75, abs=0.05)
    cohort = Pace(came, np.full(53, 100.0), np.append(np.full(45, 20.0), np.full(8, 400.0)), first, 100.0)
    assert cohort.ahead(56) < 1.1  # four hundred first orders a week were won once: they do not come again


def test_a_history_of_nothing_or_of_days_goes_at_its_own_pace() -> None:
    for days in ([], [1], [1, 2, 3]):
        pace = pace_before(pd.DataFrame({"customer_id": ["ann"] * len(days), "days_ago": days}), STEADY)
        assert pace.ahead(28) == pytest.approx(1.0)
        assert pace.during(28, 28) == 1.0
