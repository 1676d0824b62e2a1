"""The rules that come before any estimate, in their order, and choices whose probability is the one told."""

from collections import Counter
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from regulars.eligibility import Facts
from regulars.offering import (
    Estimate,
    Rules,
    Situation,
    draw,
    is_held_out,
    probabilities,
    terms_of,
    why_closed,
    why_worthless,
)
from tests.builders import at

NOON = at("2024-06-01T12:00:00")
RULES = Rules()


def why(offer: dict[str, Any], **situation: Any) -> str | None:
    now = Situation(**({"at": NOON, "facts": Facts({"tier": "gold"})} | situation))
    return why_closed(terms_of({"offer_id": "ten", "kind": "percent"} | offer), now, RULES)


@pytest.mark.parametrize(
    ("offer", "situation", "reason"),
    [
        ({}, {}, None),
        ({"starts_at": "2024-06-02T00:00:00+00:00"}, {}, "has not begun"),
        ({"ends_at": "2024-06-01T12:00:00+00:00"}, {}, "is over"),
        ({"ends_at": "2024-06-01T12:00:01+00:00"}, {}, None),
        ({"budget": 10.0, "cost": 4.0}, {"left": {"ten": 3.0}}, "budget is spent"),
        ({"budget": 10.0, "cost": 4.0}, {"left": {"ten": 4.0}}, None),
        ({"max_per_customer": 1}, {"made": {"ten": 1}}, "as often as it may"),
        ({"eligibility": "tier == 'silver'"}, {}, "rule is not met"),
        ({"eligibility": "tier == 'gold'"}, {}, None),
        ({"eligibility": "tier =="}, {}, "cannot be read"),
        ({}, {"holds": "five"}, "one offer at a time"),
        ({}, {"channel": "sms", "reachable": False}, "no consent to sms"),
        ({}, {"channel": "sms", "reachable": True}, None),
        ({}, {"channel": "sms", "reachable": True, "contacts_7d": 3}, "within a week"),
        ({}, {"contacts_7d": 3}, None),
        ({}, {"trouble": "a parcel came late"}, "help is due"),
        ({"kind": "content"}, {"trouble": "a parcel came late"}, None),
        ({"product_ids": ["tea"]}, {"cart": ["tea", "pot"]}, "in the cart anyway"),
        ({"product_ids": ["tea", "cup"]}, {"cart": ["tea"]}, None),
        ({}, {"without": 0.95}, "bought anyway"),
        ({"kind": "gift"}, {"without": 0.95}, None),
    ],
)
def test_a_hard_rule_closes_an_offer_and_says_why(
    offer: dict[str, Any], situation: dict[str, Any], reason: str | None
) -> None:
    found = why(offer, **situation)
    assert (found is None) if reason is None else reason in str(found)


def test_nothing_is_sent_in_quiet_hours_of_the_customers_zone() -> None:
    late = NOON.astimezone(ZoneInfo("Pacific/Auckland"))
    assert late.hour == 0
    assert "quiet hours: it is 00:00" in str(why({}, at=late, channel="email", reachable=True))
    assert why({}, at=late) is None
    assert why({}, at=NOON, channel="email", reachable=True) is None
    assert Rules(quiet_from=13, quiet_until=15).is_quiet(14)
    assert not Rules(quiet_from=13, quiet_until=15).is_quiet(15)


def test_who_would_do_less_is_left_alone() -> None:
    assert "doing less" in str(why_worthless(Estimate(-0.1, 1.0)))
    assert "no effect" in str(why_worthless(None))
    assert why_worthless(Estimate(0.1, -1.0)) is None


OPTIONS = {"ten": Estimate(0.1, 2.0, 1.0), "five": Estimate(0.1, 1.0, 1.0), "bad": Estimate(0.1, -9.0, 0.1)}


@pytest.mark.parametrize("how", ["epsilon", "thompson"])
def test_every_open_option_is_drawn_as_often_as_its_probability_says(how: Any) -> None:
    rng = np.random.default_rng(7)
    told: Counter[str | None] = Counter()
    drawn: Counter[str | None] = Counter()
    for _ in range(4_000):
        chances = probabilities(OPTIONS, how=how, rules=RULES, rng=rng)
        assert sum(chances.values()) == pytest.approx(1)
        assert min(chances.values()) >= RULES.explore / 4 - 1e-12
        told.update(chances)
        name, propensity = draw(chances, at=rng.random())
        assert propensity == chances[name]
        drawn[name] += 1
    for name in (None, *OPTIONS):
        assert drawn[name] == pytest.approx(told[name], abs=4 * told[name] ** 0.5)


def test_without_exploring_the_best_is_made_or_none() -> None:
    rng = np.random.default_rng(0)
    assert probabilities(OPTIONS, how="off", rules=RULES, rng=rng) == {None: 0, "bad": 0, "five": 0, "ten": 1}
    assert probabilities({"bad": OPTIONS["bad"]}, how="off", rules=RULES, rng=rng) == {None: 1, "bad": 0}


def test_the_held_out_are_the_same_for_ever_and_as_many_as_asked_for() -> None:
    names = [f"c{number}" for number in range(10_000)]
    held = [name for name in names if is_held_out(name, RULES)]
    assert len(held) == pytest.approx(500, abs=90)
    assert held == [name for name in names if is_held_out(name, RULES)]
    more = {name for name in names if is_held_out(name, Rules(held_out=0.1))}
    assert set(held) <= more
