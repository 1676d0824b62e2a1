"""Batch decisions: which customer is made which running offer, under the shop's rules and budgets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.assignments import customers_at
from features.attributes import customer_attributes
from features.contacts import contacts
from features.offer_facts import DEFAULT_CHANNEL, DEFAULT_HOUR, offer_facts
from regulars.allocation import allocate
from regulars.as_of import Tables, known_tables
from regulars.eligibility import Facts, facts_of
from regulars.models.offers import OfferModel
from regulars.offering import DISCOUNTS, Rules, Situation, is_held_out, terms_of, why_closed

Floats = NDArray[np.float64]
Row = Mapping[str, Any]

ALL_OFFERS = "all offers"
BOUGHT = ("redeemed", "converted", "retained")


@dataclass(frozen=True)
class Decided:
    """``rows``: one per customer. ``prices``: offer (or "all offers") with a budget -> what one more unit of money brings.

    Columns of ``rows``: customer_id, offer_id (empty for none), expected_uplift, expected_value, propensity, reason (why
    none is made; empty where one is), channel, hour.
    """

    rows: pd.DataFrame
    prices: Mapping[str, float]


def running_offers(tables: Tables, *, as_of: datetime) -> list[dict[str, Any]]:
    """The offers that may be made at ``as_of`` (starts_at <= as_of < ends_at), in order, as the service sees them."""
    if "offers" not in tables:
        return []
    rows = known_tables({"offers": tables["offers"]}, as_of=as_of)["offers"].execute().sort_values("offer_id")
    at = pd.Timestamp(as_of).tz_convert("UTC").tz_localize(None)
    begun = rows["starts_at"].isna() | (rows["starts_at"] <= at)
    over = rows["ends_at"].notna() & (rows["ends_at"] <= at)
    found = rows[begun & ~over].drop(columns=["starts_at", "ends_at"]).to_dict("records")
    offers = [{str(name): value for name, value in row.items() if not pd.isna(value)} for row in found]
    return [row | {"product_ids": json.loads(row["product_ids"])} if "product_ids" in row else row for row in offers]


def offer_values(
    tables: Tables, model: OfferModel, *, as_of: datetime, customers: Sequence[str] | None = None
) -> pd.DataFrame:
    """Expected uplift and value of every running offer: one row per customer (default: all known) and offer.

    ``expected_without``, where the outcome is a probability and no mere visit: that of the outcome without an offer.
    """
    about = customers_at(tables, as_of=as_of)
    if customers is not None:
        about = about.reindex(pd.Index(customers, name="customer_id"))
    offers = running_offers(tables, as_of=as_of)
    values = model.decide(about, offers=[offer["offer_id"] for offer in offers], attributes=_terms(offers))
    if model.outcome in BOUGHT and len(values):
        values["expected_without"] = np.tile(model.expected_without(about), len(offers))
    return values


def decide_customers(
    tables: Tables,
    model: OfferModel,
    *,
    as_of: datetime,
    customers: Sequence[str],
    explore: bool,
    seed: int = 0,
    channel: str | None = None,
    budget: float | None = None,
    rules: Rules | None = None,
) -> Decided:
    """The offer of largest net value that the rules leave open to each customer, within every budget; else none.

    ``budget``: money for all offers together. With ``explore`` the held-out customers get none, and a share of decisions is
    spread evenly over what is open (under a budget: and costs no more than what would have been made). ``propensity`` is
    the probability with which the decision was made.
    """
    rules = replace(rules or Rules(), quiet_from=0, quiet_until=0)  # what is decided now is sent at a good hour
    about = customers_at(tables, as_of=as_of).reindex(pd.Index(customers, name="customer_id"))
    offers = running_offers(tables, as_of=as_of)
    names = [offer["offer_id"] for offer in offers]
    costs = np.array([float(offer.get("cost", 0.0)) for offer in offers])
    uplift, _, _ = model.uplifts(about, offers=names, attributes=_terms(offers))
    decided = model.decide(about, offers=names, attributes=_terms(offers))["expected_value"].to_numpy(float)
    value = decided.reshape(len(names), len(about)).T
    facts = offer_facts(tables, as_of=as_of).reindex(about.index)
    reasons = _closed(tables, model, about, facts, offers, as_of=as_of, channel=channel, rules=rules)
    shut = (reasons != "") | (uplift < 0)
    open_value = np.where(shut, -np.inf, value)
    budgets = _budgets(tables, offers, as_of=as_of, budget=budget)
    given = allocate(open_value, costs, budgets, order=uplift)
    chosen, propensity = given.chosen, np.ones(len(about))
    if explore:
        chosen, propensity = _explored(
            given.chosen, open_value, costs if budgets else 0 * costs, about.index, rules=rules, seed=seed
        )
    here = np.arange(len(about))
    made, place = chosen >= 0, np.maximum(chosen, 0)
    rows = pd.DataFrame(
        {
            "customer_id": about.index.to_numpy(),
            "offer_id": np.where(made, np.array([*names, ""], dtype=object)[np.where(made, chosen, len(names))], ""),
            "expected_uplift": np.where(made, uplift[here, place], 0.0) if names else 0.0,
            "expected_value": np.where(made, value[here, place], 0.0) if names else 0.0,
            "propensity": propensity,
            "reason": _why_none(made, reasons, uplift, open_value, explore=explore),
            "channel": facts["channel"].fillna(DEFAULT_CHANNEL).to_numpy(),
            "hour": facts["hour"].fillna(DEFAULT_HOUR).astype(int).to_numpy(),
        }
    )
    labels = {-1: ALL_OFFERS} | dict(enumerate(names))
    return Decided(rows, {labels[name]: price for name, price in given.prices.items()})


def _terms(offers: Sequence[Row]) -> pd.DataFrame:
    columns = ["offer_id", "kind", "value", "cost", "category"]
    return pd.DataFrame(list(offers), columns=columns).set_index("offer_id")


def _closed(
    tables: Tables, model: OfferModel, about: pd.DataFrame, facts: pd.DataFrame, offers: Sequence[Row], *,
    as_of: datetime, channel: str | None, rules: Rules,
) -> NDArray[Any]:  # fmt: skip
    """Why each offer may not be made to each customer (n_customers, n_offers), empty where it may."""
    found = np.full((len(about), len(offers)), "", dtype=object)
    now = _situations(tables, model, about, facts, offers, as_of=as_of, channel=channel)
    plain: dict[str, list[str]] = {}
    for column, offer in enumerate(offers):
        if _conditional(offer):
            found[:, column] = _whys(offer, now, rules)
            continue
        like = _like(offer)
        if like not in plain:
            plain[like] = _whys({"offer_id": "", "kind": like}, now, rules)
        found[:, column] = plain[like]
    return found


def _whys(offer: Row, now: Sequence[Situation], rules: Rules) -> list[str]:
    terms = terms_of(offer)
    return [why_closed(terms, one, rules) or "" for one in now]


def _conditional(offer: Row) -> bool:
    return any(offer.get(name) is not None for name in ("eligibility", "max_per_customer", "budget"))


def _like(offer: Row) -> str:
    """A kind for which the same rules hold as for this offer, where it has no conditions of its own."""
    return "percent" if offer["kind"] in DISCOUNTS else "content"


def _situations(
    tables: Tables, model: OfferModel, about: pd.DataFrame, facts: pd.DataFrame, offers: Sequence[Row], *,
    as_of: datetime, channel: str | None,
) -> list[Situation]:  # fmt: skip
    made = _made(tables, as_of=as_of)
    left = {name: limit - _spent_before(made, offers).get(name, 0.0) for name, limit in _limits(offers).items()}
    by_customer = {customer: dict(zip(group["offer_id"], group["n"], strict=True))
                   for customer, group in made.groupby("customer_id")}  # fmt: skip
    without: Sequence[float | None] = [None] * len(about)
    if model.outcome in BOUGHT:
        without = model.expected_without(about).tolist()
    reach: dict[str, bool] = {}
    if channel is not None:
        known = contacts(tables, as_of=as_of)
        told = zip(known.index, known[f"consent_{channel}"], known["unsubscribed"], strict=True)
        reach = {who: given is True and channel not in left_from for who, given, left_from in told}
    asked = any(offer.get("eligibility") for offer in offers)
    profiles = _profiles(tables, about, facts, as_of=as_of) if asked else [{}] * len(about)
    zones = facts["timezone"].tolist()
    contacted = facts["contacts_7d"].fillna(0).astype(int).tolist()
    trouble = [text if isinstance(text, str) else None for text in facts["trouble"]]
    found = []
    for place, customer in enumerate(about.index):
        local = as_of.astimezone(_zone(zones[place]))
        found.append(
            Situation(
                at=local,
                facts=Facts(facts_of(profiles[place], at=local)) if asked else NOTHING,
                channel=channel,
                reachable=reach.get(customer, False),
                contacts_7d=contacted[place],
                made=by_customer.get(customer, {}),
                left=left,
                without=without[place],
                trouble=trouble[place],
            )
        )
    return found


NOTHING = Facts({})


def _profiles(tables: Tables, about: pd.DataFrame, facts: pd.DataFrame, *, as_of: datetime) -> list[dict[str, Any]]:
    """What rules may speak of: features, what the shop wrote, its attributes by name."""
    attributes = customer_attributes(tables, as_of=as_of).to_dict("index")
    columns = about[[name for name in about if not str(name).startswith("attribute_")]].join(facts, rsuffix="_told")
    records = columns.astype(object).where(columns.notna(), None).to_dict("records")
    return [record | {"attributes": attributes.get(customer, {})}
            for customer, record in zip(about.index, records, strict=True)]  # fmt: skip


def _made(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """customer_id, offer_id and how often (n) it was made before ``as_of``."""
    if "assignments" not in tables:
        return pd.DataFrame({"customer_id": [], "offer_id": [], "n": []})
    rows = known_tables({"assignments": tables["assignments"]}, as_of=as_of)["assignments"]
    rows = rows.filter(rows.offer_id.notnull())
    counted: pd.DataFrame = rows.group_by(["customer_id", "offer_id"]).agg(n=rows.count()).execute()
    return counted


def _limits(offers: Sequence[Row]) -> dict[str, float]:
    return {offer["offer_id"]: float(offer["budget"]) for offer in offers if offer.get("budget") is not None}


def _spent_before(made: pd.DataFrame, offers: Sequence[Row]) -> dict[str, float]:
    times = made.groupby("offer_id")["n"].sum()
    return {
        offer["offer_id"]: float(times.get(offer["offer_id"], 0)) * float(offer.get("cost", 0.0)) for offer in offers
    }


def _budgets(tables: Tables, offers: Sequence[Row], *, as_of: datetime, budget: float | None) -> dict[int, float]:
    spent = _spent_before(_made(tables, as_of=as_of), offers)
    limits = _limits(offers)
    own = {k: max(0.0, limits[offer["offer_id"]] - spent[offer["offer_id"]])
           for k, offer in enumerate(offers) if offer["offer_id"] in limits}  # fmt: skip
    return own if budget is None else own | {-1: budget}


def _explored(
    chosen: NDArray[np.int64], open_value: Floats, costs: Floats, customers: pd.Index, *, rules: Rules, seed: int
) -> tuple[NDArray[np.int64], Floats]:
    """What is made instead, and the probability of it; nothing drawn costs more than what it replaces (``costs``)."""
    rng = np.random.default_rng(seed)
    affordable = np.append(costs, 0.0)[chosen]
    may = np.isfinite(open_value) & (costs <= affordable[:, None] + 1e-9)
    may = np.hstack([may, np.ones((len(chosen), 1), bool)])
    count = may.sum(axis=1)
    spread = may * (rules.explore / count)[:, None]
    spread[np.arange(len(chosen)), chosen] += 1 - rules.explore
    held = np.array([is_held_out(str(customer), rules) for customer in customers], bool)
    drawn = (rng.random(len(chosen))[:, None] >= np.cumsum(spread, axis=1)[:, :-1]).sum(axis=1)
    none = open_value.shape[1]
    made = np.where(held, none, drawn)
    share = spread[np.arange(len(chosen)), made] * (1 - rules.held_out)
    return np.where(made == none, -1, made), np.where(made == none, rules.held_out + share, share)


def _why_none(
    made: NDArray[np.bool_], reasons: NDArray[Any], uplift: Floats, open_value: Floats, *, explore: bool
) -> NDArray[Any]:
    """In words why a customer is made no offer: what closes most of them, or that none is worth it."""
    found = np.full(len(made), "", dtype=object)
    best = open_value.max(axis=1, initial=-np.inf)
    for row in np.flatnonzero(~made):
        texts = [text for text in reasons[row] if text]
        if best[row] > 0:
            found[row] = "held out or drawn to explore, or no budget was left" if explore else "no budget was left"
        elif texts and len(texts) == reasons.shape[1]:
            found[row] = max(dict.fromkeys(texts), key=texts.count)
        elif reasons.shape[1] == 0:
            found[row] = "no offer runs"
        else:
            found[row] = "none is worth more than it costs"
    return found


def _zone(name: object) -> ZoneInfo | Any:
    if not isinstance(name, str) or not name:
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
