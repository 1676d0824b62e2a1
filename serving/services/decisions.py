"""Which offer to make, or none: the one of largest expected value, one time in ten drawn evenly; every decision is kept."""

import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from serving.services.customers import moment_text
from serving.services.shelf import Shelf
from serving.store.database import Store
from serving.store.decisions import DecisionRow, OutcomeRow, add_outcome, held_answer, hold, offers_made
from serving.store.published import profile_of

HOLDS = timedelta(hours=24)
EXPLORE_SHARE = 0.1
ANONYMOUS = "anonymous:"
SHOWN = ("offer_id", "kind", "name", "value", "category", "ends_at")
STOREFRONT_SEES = ("decision_id", "offer", "expires_at")

Values = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Question:
    """Who is asked about, and where the offer would be shown or sent (``channel``: email, sms, push, ads)."""

    customer_id: str | None
    anonymous_id: str | None
    placement: str
    channel: str | None = None

    @property
    def subject(self) -> str:
        return self.customer_id if self.customer_id is not None else f"{ANONYMOUS}{self.anonymous_id}"


def decide(
    store: Store, shelf: Shelf, question: Question, *, at: datetime, now: datetime, rng: random.Random
) -> dict[str, Any]:
    """The decision that holds, or a new one; ``at`` is the shop's time, ``now`` the clock's."""
    where = {"subject": question.subject, "placement": question.placement, "channel": question.channel or ""}
    for _ in range(2):
        held = held_answer(store, **where, at=now)
        if held is not None:
            return dict(json.loads(held))
        answer, propensity = _decide(store, shelf, question, at=at, now=now, rng=rng)
        made = DecisionRow(
            decision_id=answer["decision_id"],
            offer_id=answer["offer"]["offer_id"] if answer["offer"] else None,
            answer=json.dumps(answer),
            created_at=now,
            expires_at=now + HOLDS,
            propensity=propensity,
            **where,
        )
        if hold(store, made):
            return answer
    return answer


def record_outcome(store: Store, decision_id: str, *, kind: str, occurred_at: datetime, revenue: float | None) -> bool:
    """Whether there is such a decision; the same outcome twice is kept once."""
    return add_outcome(store, OutcomeRow(decision_id, kind, occurred_at, revenue))


def _decide(
    store: Store, shelf: Shelf, question: Question, *, at: datetime, now: datetime, rng: random.Random
) -> tuple[dict[str, Any], float]:
    values, barred = _values(store, question)
    considered, open_to = [], {}
    made_to_all = offers_made(store) if any(offer.get("budget") is not None for offer in shelf.offers) else {}
    made_to_one = offers_made(store, subject=question.subject)
    for offer in shelf.offers:
        name = offer["offer_id"]
        why = barred or _why_not(offer, values, at=at, all_made=made_to_all, one_made=made_to_one)
        if why is None:
            open_to[name] = values[name]
        uplift, value = values.get(name, (None, None))
        considered.append({"offer_id": name, "expected_uplift": uplift, "expected_value": value, "why_not": why})
    chosen, propensity = _choose(open_to, rng)
    for entry in considered:
        entry["made"] = entry["offer_id"] == chosen
        if entry["why_not"] is None and not entry["made"]:
            entry["why_not"] = (
                "not worth more than it costs" if entry["expected_value"] <= 0 else "another one was chosen"
            )
    uplift, value = open_to.get(chosen or "", (0.0, 0.0))
    offer = next((offer for offer in shelf.offers if offer["offer_id"] == chosen), None)
    answer = {
        "decision_id": f"dec_{uuid.uuid4().hex}",
        "offer": {name: offer[name] for name in SHOWN if offer.get(name) is not None} if offer else None,
        "expires_at": moment_text(now + HOLDS),
        "expected_uplift": uplift,
        "expected_value": value,
        "outcome": shelf.about.get("outcome"),
        "randomised": shelf.about.get("randomised"),
        "propensity": propensity,
        "policy_version": shelf.about.get("policy_version"),
        "considered": considered,
    }
    return answer, propensity


def _values(store: Store, question: Question) -> tuple[Values, str | None]:
    """Offer -> (expected uplift, expected value) for this customer, and why no offer may be made at all, if so."""
    row = profile_of(store, question.customer_id) if question.customer_id is not None else None
    if row is None:
        return {}, "nothing is known of this visitor"
    if question.channel is not None and not getattr(row, f"reachable_{question.channel}"):
        return {}, f"no consent to {question.channel}, or unsubscribed from it"
    found = json.loads(row.profile).get("offers", {})
    return {name: (uplift, value) for name, (uplift, value) in found.items()}, None


def _why_not(
    offer: Mapping[str, Any],
    values: Values,
    *,
    at: datetime,
    all_made: Mapping[str, int],
    one_made: Mapping[str, int],
) -> str | None:
    name = offer["offer_id"]
    starts, ends = (_moment(offer.get(field)) for field in ("starts_at", "ends_at"))
    if starts is not None and at < starts:
        return "has not begun"
    if ends is not None and at >= ends:
        return "is over"
    if offer.get("eligibility"):
        return "has an eligibility rule, which is not evaluated yet"
    if offer.get("max_per_customer") is not None and one_made.get(name, 0) >= offer["max_per_customer"]:
        return "was made to this customer as often as it may be"
    if offer.get("budget") is not None and (all_made.get(name, 0) + 1) * (offer.get("cost") or 0.0) > offer["budget"]:
        return "its budget is spent"
    if name not in values:
        return "no effect was estimated for this customer"
    return None


def _choose(open_to: Values, rng: random.Random) -> tuple[str | None, float]:
    """The offer to make, or None, and the probability with which just this was chosen."""
    best = max(open_to, key=lambda name: (open_to[name][1], name), default=None)
    if best is not None and open_to[best][1] <= 0:
        best = None
    options: list[str | None] = [None, *sorted(open_to)]
    share = EXPLORE_SHARE / len(options)
    drawn = rng.choice(options) if rng.random() < EXPLORE_SHARE else best
    return drawn, 1 - EXPLORE_SHARE + share if drawn == best else share


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
