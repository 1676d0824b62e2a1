"""Whether an offer may be made, and which one is: rules that hold for everybody, then a choice with a known probability.

Pure: what the service and the batch know is handed in. Rules come in this order: dates, budget, maximum per customer, who
may be written to, then what is better left alone; the first that closes an offer is its reason.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np

from regulars.eligibility import Facts, Rule, compile_rule
from regulars.errors import DataError

DISCOUNTS = frozenset({"percent", "amount", "coupon", "free_shipping"})
MESSAGES = frozenset({"email", "sms", "push"})
EXPLORE = 0.1
HELD_OUT = 0.05
ANYWAY = 0.9
THOMPSON_DRAWS = 200

Explore = Literal["off", "epsilon", "thompson"]


@dataclass(frozen=True)
class Rules:
    """What a shop may set: ``quiet_from`` and ``quiet_until`` (hours in the customer's zone), ``contacts_per_week``.

    ``explore``: the share of decisions spread evenly over all that is open, so each has at least its part of it.
    ``held_out``: the share of customers who are never made an offer.
    """

    quiet_from: int = 21
    quiet_until: int = 8
    contacts_per_week: int = 3
    explore: float = EXPLORE
    held_out: float = HELD_OUT

    def is_quiet(self, hour: int) -> bool:
        """Whether nothing is sent at this hour (0-23)."""
        if self.quiet_from <= self.quiet_until:
            return self.quiet_from <= hour < self.quiet_until
        return hour >= self.quiet_from or hour < self.quiet_until


@dataclass(frozen=True)
class Estimate:
    """What an offer is expected to change for a customer: uplift of the outcome, its standard error, net value in money.

    ``value_se``: the standard error of ``value``, in money.
    """

    uplift: float
    value: float
    value_se: float = 0.0


@dataclass(frozen=True)
class Situation:
    """A customer at a moment. ``at`` is in the customer's zone.

    ``reachable``: None where no channel was asked for. ``contacts_7d``: messages and offers sent in the last seven days.
    ``holds``: the offer that the customer holds already elsewhere. ``made``: offer -> how often made to this customer.
    ``left``: offer -> money left of its budget. ``without``: the outcome expected without an offer, where it is a
    probability. ``trouble``: what went wrong in service, in words.
    """

    at: datetime
    facts: Facts
    channel: str | None = None
    reachable: bool | None = None
    contacts_7d: int = 0
    holds: str | None = None
    made: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, float] = field(default_factory=dict)
    cart: Sequence[str] = ()
    without: float | None = None
    trouble: str | None = None


@dataclass(frozen=True)
class Terms:
    """What an offer's own rules need, read once and asked for every customer; see ``terms_of``.

    ``rule``: None where everybody is eligible; a text says why what was written is no rule. ``is_discount``: of the kinds
    percent, amount, coupon, free_shipping.
    """

    offer_id: str
    starts_at: datetime | None
    ends_at: datetime | None
    cost: float
    budget: float | None
    max_per_customer: int | None
    rule: Rule | str | None
    is_discount: bool
    product_ids: frozenset[str]


def terms_of(offer: Mapping[str, Any]) -> Terms:
    """The terms of a row of the table offers, times as ISO text.

    >>> terms_of({"offer_id": "ten", "kind": "percent", "cost": 2.0}).is_discount
    True
    """
    starts, ends = (offer.get(name) for name in ("starts_at", "ends_at"))
    return Terms(
        offer_id=offer["offer_id"],
        starts_at=None if starts is None else datetime.fromisoformat(starts),
        ends_at=None if ends is None else datetime.fromisoformat(ends),
        cost=float(offer.get("cost") or 0.0),
        budget=offer.get("budget"),
        max_per_customer=offer.get("max_per_customer"),
        rule=_rule(offer.get("eligibility")),
        is_discount=offer.get("kind") in DISCOUNTS,
        product_ids=frozenset(offer.get("product_ids") or ()),
    )


def why_closed(offer: Terms, now: Situation, rules: Rules) -> str | None:
    """Why a hard rule forbids making ``offer``; None where none does."""
    return (
        _dates(offer, now)
        or _limits(offer, now)
        or _contact(now, rules)
        or _eligible(offer, now)
        or _better_left(offer, now)
    )


def why_worthless(estimate: Estimate | None) -> str | None:
    """Why an offer that may be made is not worth making; None where it is."""
    if estimate is None:
        return "no effect was estimated for this customer"
    if estimate.uplift < 0:
        return "this customer is expected to answer it by doing less"
    return None


def is_held_out(customer_id: str, rules: Rules, *, salt: str = "regulars") -> bool:
    """Whether a customer is in the group that is never made an offer: drawn once, from the id, for good."""
    digest = hashlib.blake2b(f"{salt}:{customer_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 < rules.held_out


def probabilities(
    options: Mapping[str, Estimate], *, how: Explore, rules: Rules, rng: np.random.Generator
) -> dict[str | None, float]:
    """The probability of each of ``options`` and of none (None, of value 0), adding up to 1.

    off: the one of highest value, if above 0. epsilon: that one, but the share ``rules.explore`` is spread evenly.
    thompson: how often each was best in 200 draws of the values from normal distributions, then the same share spread.
    """
    names: list[str | None] = [None, *sorted(options)]
    values = np.array([0.0, *(options[name].value for name in names[1:] if name is not None)])
    share = np.zeros(len(names))
    if how == "thompson":
        errors = np.array([0.0, *(options[name].value_se for name in names[1:] if name is not None)])
        drawn = values + errors * rng.standard_normal((THOMPSON_DRAWS, len(values)))
        share += np.bincount(drawn.argmax(axis=1), minlength=len(values)) / THOMPSON_DRAWS
    else:
        share[values.argmax()] = 1.0
    if how != "off":
        share = (1 - rules.explore) * share + rules.explore / len(names)
    return dict(zip(names, share.tolist(), strict=True))


def draw(chances: Mapping[str | None, float], *, at: float) -> tuple[str | None, float]:
    """The option at ``at`` (0 to 1) of the cumulated probabilities, and its own probability.

    >>> draw({None: 0.25, "ten": 0.75}, at=0.5)
    ('ten', 0.75)
    """
    passed = 0.0
    for name, chance in chances.items():
        passed += chance
        if at < passed:
            return name, chance
    return max(chances.items(), key=lambda pair: pair[1])


def _rule(source: str | None) -> Rule | str | None:
    try:
        return compile_rule(source) if source else None
    except DataError as error:  # one kept before rules were checked may be no rule
        return str(error)


def _dates(offer: Terms, now: Situation) -> str | None:
    if offer.starts_at is not None and now.at < offer.starts_at:
        return "has not begun"
    return "is over" if offer.ends_at is not None and now.at >= offer.ends_at else None


def _limits(offer: Terms, now: Situation) -> str | None:
    if offer.budget is not None and offer.cost > now.left.get(offer.offer_id, offer.budget):
        return "its budget is spent"
    if offer.max_per_customer is not None and now.made.get(offer.offer_id, 0) >= offer.max_per_customer:
        return "was made to this customer as often as it may be"
    return None


def _contact(now: Situation, rules: Rules) -> str | None:
    if now.holds is not None:
        return f"one offer at a time: {now.holds} is held"
    if now.channel is None:
        return None
    if now.reachable is not True:
        return f"no consent to {now.channel}, or unsubscribed from it"
    if now.channel not in MESSAGES:
        return None
    if now.contacts_7d >= rules.contacts_per_week:
        return f"was written to {now.contacts_7d} times within a week, as often as may be"
    if rules.is_quiet(now.at.hour):
        return f"quiet hours: it is {now.at:%H:%M} for this customer"
    return None


def _eligible(offer: Terms, now: Situation) -> str | None:
    return offer.rule.why_not(now.facts) if isinstance(offer.rule, Rule) else offer.rule


def _better_left(offer: Terms, now: Situation) -> str | None:
    if not offer.is_discount:
        return None
    if now.trouble is not None:
        return f"help is due, not a discount: {now.trouble}"
    if offer.product_ids and offer.product_ids.issubset(now.cart):
        return "a discount on what is in the cart anyway"
    if now.without is not None and now.without >= ANYWAY:
        return f"a discount on what is bought anyway ({now.without:.0%} without it)"
    return None
