"""Which offer to make, or none: hard rules, then a choice with a known probability; every decision is kept.

A decision holds for a day, or until its offer ends; one that quiet hours prevented until they are over. Two requests at
once get one decision: what a limit allows once is made once, since limits are looked at again when it is kept.
"""

import random
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import orjson

from regulars.eligibility import Facts, facts_of
from regulars.offering import (
    Estimate,
    Explore,
    Rules,
    Situation,
    draw,
    is_held_out,
    probabilities,
    why_closed,
    why_worthless,
)
from serving.services.customers import moment_text
from serving.services.shelf import Shelf
from serving.store.database import Store
from serving.store.decisions import Before, DecisionRow, Limits, OutcomeRow, add_outcome, decided_before, hold
from serving.store.published import deciding_facts

HOLDS = timedelta(hours=24)
WEEK = timedelta(days=7)
TRIES = 4
ANONYMOUS = "anonymous:"
SHOWN = ("offer_id", "kind", "name", "value", "category", "ends_at")
STOREFRONT_SEES = ("decision_id", "offer", "expires_at")
UNKNOWN = "nothing is known of this visitor"
LEFT_OUT = "held out for good, so that what offers change can be known"
DEFAULT_SEND = {"channel": "email", "hour": 10}


@dataclass(frozen=True)
class Question:
    """Who is asked about, and where the offer would be shown or sent (``channel``: email, sms, push, ads)."""

    customer_id: str | None
    anonymous_id: str | None
    placement: str
    channel: str | None = None
    cart: tuple[str, ...] = ()

    @property
    def subject(self) -> str:
        return self.customer_id if self.customer_id is not None else f"{ANONYMOUS}{self.anonymous_id}"


@dataclass(frozen=True)
class Known:
    """What is published of a customer, as far as decisions need it; ``barred``: why none may be made at all."""

    profile: Mapping[str, Any] = field(default_factory=dict)
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    reachable: bool | None = None
    timezone: str | None = None
    barred: str | None = None

    @property
    def told(self) -> Mapping[str, Any]:
        """What the shop's tables say beside the profile: trouble, contacts_7d, channel, hour, country and the like."""
        found: Mapping[str, Any] = self.profile.get("facts", {})
        return found


@dataclass(frozen=True)
class Choice:
    """The offer (None for none), with which probability just this came, and what became of every offer."""

    offer: Mapping[str, Any] | None
    propensity: float
    estimate: Estimate
    considered: Sequence[Mapping[str, Any]]


def decide(
    store: Store,
    shelf: Shelf,
    question: Question,
    *,
    at: datetime,
    now: datetime,
    rng: random.Random,
    rules: Rules | None = None,
    how: Explore = "epsilon",
) -> str:
    """The decision that holds, or a new one, as the JSON text that is kept; ``at`` is the shop's time, ``now`` the clock's."""
    rules = rules or Rules()
    where = {"subject": question.subject, "placement": question.placement, "channel": question.channel or ""}
    known = None
    for attempt in range(TRIES):
        before = decided_before(store, **where, at=now)
        if before.answer is not None:
            return before.answer
        known = known or _known(store, question)
        if attempt == TRIES - 1:  # others were faster each time: none is the answer that breaks no limit
            known = replace(known, barred="others were made it in the same moment")
        situation = _situation(shelf, question, known, before, at=at, now=now)
        choice = _choose(shelf, known, situation, question.subject, rng=rng, rules=rules, how=how)
        expires = now + _holds_for(choice, situation, rules)
        answer = _answer(shelf, known, situation, choice, expires=expires)
        made = DecisionRow(
            decision_id=answer["decision_id"],
            offer_id=answer["offer"]["offer_id"] if answer["offer"] else None,
            answer=orjson.dumps(answer).decode(),
            created_at=now,
            expires_at=expires,
            propensity=choice.propensity,
            **where,
        )
        if hold(store, made, limits=_limits(choice.offer)):
            break
    return made.answer


def for_storefronts(answer: str) -> str:
    """What a page sees of a decision: the offer, not what was expected of it."""
    told = orjson.loads(answer)
    return orjson.dumps({name: told[name] for name in STOREFRONT_SEES}).decode()


def record_outcome(
    store: Store, decision_id: str, *, kind: str, occurred_at: datetime, revenue: float | None, now: datetime
) -> bool:
    """Whether there is such a decision; the same outcome twice is kept once."""
    return add_outcome(store, OutcomeRow(decision_id, kind, occurred_at, revenue, now))


def _choose(
    shelf: Shelf,
    known: Known,
    situation: Situation,
    subject: str,
    *,
    rng: random.Random,
    rules: Rules,
    how: Explore,
) -> Choice:
    closed = {
        offer.offer_id: known.barred
        or why_closed(offer, situation, rules)
        or why_worthless(known.estimates.get(offer.offer_id))
        for offer in shelf.terms
    }
    options = {name: known.estimates[name] for name, why in closed.items() if why is None}
    chances = probabilities(options, how=how, rules=rules, rng=np.random.default_rng(rng.getrandbits(64)))
    held_out = is_held_out(subject, rules)
    name, chance = (None, chances[None]) if held_out else draw(chances, at=rng.random())
    chance *= 1 - rules.held_out
    considered = [_considered(each, known, why, made=each == name, out=held_out) for each, why in closed.items()]
    offer = next((offer for offer in shelf.offers if offer["offer_id"] == name), None)
    return Choice(
        offer=offer,
        propensity=chance + rules.held_out if name is None else chance,
        estimate=options[name] if name is not None else Estimate(0.0, 0.0),
        considered=considered,
    )


def _considered(name: str, known: Known, why: str | None, *, made: bool, out: bool) -> dict[str, Any]:
    estimate = known.estimates.get(name)
    if why is None and not made and estimate is not None:
        why = LEFT_OUT if out else "not worth more than it costs" if estimate.value <= 0 else "another one was chosen"
    return {
        "offer_id": name,
        "expected_uplift": None if estimate is None else estimate.uplift,
        "expected_value": None if estimate is None else estimate.value,
        "why_not": why,
        "made": made,
    }


def _answer(shelf: Shelf, known: Known, situation: Situation, choice: Choice, *, expires: datetime) -> dict[str, Any]:
    offer = choice.offer
    return {
        "decision_id": f"dec_{uuid.uuid4().hex}",
        "offer": {name: offer[name] for name in SHOWN if offer.get(name) is not None} if offer else None,
        "expires_at": moment_text(expires),
        "expected_uplift": choice.estimate.uplift,
        "expected_value": choice.estimate.value,
        "outcome": shelf.about.get("outcome"),
        "randomised": shelf.about.get("randomised"),
        "propensity": choice.propensity,
        "policy_version": shelf.about.get("policy_version"),
        "help": situation.trouble,
        "send": {name: known.told.get(name, usual) for name, usual in DEFAULT_SEND.items()},
        "considered": choice.considered,
    }


def _known(store: Store, question: Question) -> Known:
    row = deciding_facts(store, question.customer_id) if question.customer_id is not None else None
    if row is None:
        return Known(barred=UNKNOWN)
    profile = orjson.loads(row["profile"])
    estimates = {name: Estimate(*numbers) for name, numbers in profile.pop("offers", {}).items()}
    reachable = None if question.channel is None else bool(row[f"reachable_{question.channel}"])
    told = {name: row[name] for name in ("country", "risk", "predicted_value")}
    return Known(profile | told, estimates, reachable, row["timezone"])


def _situation(
    shelf: Shelf, question: Question, known: Known, before: Before, *, at: datetime, now: datetime
) -> Situation:
    local = at.astimezone(_zone(known.timezone))
    ruled = any(offer.rule is not None for offer in shelf.terms) and known.barred is None
    profile = {**known.told, **known.profile, "cart": list(question.cart)}
    left = {
        offer.offer_id: offer.budget - before.to_all.get(offer.offer_id, 0) * offer.cost
        for offer in shelf.terms
        if offer.budget is not None
    }
    recent = sum(1 for _, channel, when in before.to_one if channel and when > now - WEEK)
    counts: dict[str, int] = {}
    for name, _, _ in before.to_one:
        counts[name] = counts.get(name, 0) + 1
    return Situation(
        at=local,
        facts=Facts(facts_of(profile, at=local) if ruled else {}),
        channel=question.channel,
        reachable=known.reachable,
        contacts_7d=int(known.told.get("contacts_7d") or 0) + recent,
        holds=before.holds,
        made=counts,
        left=left,
        cart=question.cart,
        without=known.profile.get("without"),
        trouble=known.told.get("trouble"),
    )


def _holds_for(choice: Choice, situation: Situation, rules: Rules) -> timedelta:
    if choice.offer is not None:
        ends = choice.offer.get("ends_at")
        return HOLDS if ends is None else min(HOLDS, datetime.fromisoformat(ends) - situation.at)
    if situation.channel is None or not rules.is_quiet(situation.at.hour):
        return HOLDS
    until = situation.at.replace(hour=rules.quiet_until, minute=0, second=0, microsecond=0)
    return until + timedelta(days=until <= situation.at) - situation.at


def _limits(offer: Mapping[str, Any] | None) -> Limits:
    if offer is None:
        return Limits()
    cost, budget = offer.get("cost") or 0.0, offer.get("budget")
    most = None if budget is None or cost == 0 else int((budget + 1e-9) // cost)
    return Limits(in_all=most, per_subject=offer.get("max_per_customer"))


def _zone(name: str | None) -> Any:
    try:
        return ZoneInfo(name) if name else UTC
    except (KeyError, ValueError, OSError):
        return UTC
