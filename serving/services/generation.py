"""Publishing: everything the service answers from, written beside what answers now, then switched to at once."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pandas as pd

from features.attributes import customer_attributes
from features.build import read_customer_features
from features.contacts import contacts
from features.held_back import held_back
from features.interactions import interactions
from features.offer_facts import offer_facts
from features.products import product_features
from features.retention import By, retention
from features.standing import STANDING, customer_standing, stage_with_risk
from features.subscriptions import beside_customers, running_subscriptions
from regulars.as_of import Tables, known_tables
from regulars.errors import MissingData
from regulars.ids import IdMap
from regulars.models.cancellation import CancellationModel
from regulars.settings import Settings
from serving.services.attribution import SETTLED, WINDOW, attribute
from serving.services.history import pack
from serving.services.product_rules import ProductRule, matching, saved_rules
from serving.services.shelf import POPULAR
from serving.store.changes import remove_held_changes
from serving.store.database import Store
from serving.store.events import JOINED_WITHIN, Covered, remove_held
from serving.store.generations import add_rows, begin_generation, current_generation, flip_to, remove_older
from serving.store.schema import CHANNELS, figures, histories, offers, products, profiles
from serving.store.shown import KEPT, remove_shown

CHUNK = 1_000
MOST_POPULAR = 1_000
RETENTION = "retention-by-"
CONTACT = ("name", "email", "phone", "locale", "timezone", "country")
SCORES = ("churn_probability", "churn_low", "churn_high", "risk", "predicted_value")
PREDICTED = (
    "predicted_value",
    "predicted_orders",
    "predicted_value_365d",
    "predicted_orders_365d",
    "value_at_risk",
    "support_priority",
)
PRODUCT = ("name", "category", "brand", "price", "available", "parent_id", "url", "image_url")
TIMES = ("starts_at", "ends_at")
LISTED = ("product_ids",)

Row = dict[str, Any]


def publish_generation(
    store: Store,
    *,
    tables: Tables,
    scores: pd.DataFrame,
    offer_values: pd.DataFrame | None,
    as_of: datetime,
    about: Mapping[str, Any],
    now: datetime,
    attributed_within: timedelta = WINDOW,
    cancellation: CancellationModel | None = None,
) -> dict[str, int]:
    """The numbers of what was published: generation, customers, products, offers.

    ``scores``: a row per scored customer as ``regulars score`` writes it. ``offer_values``: customer_id, offer_id,
    expected_uplift, expected_value, and where known uplift_se and expected_without. ``attributed_within``: see
    ``attribute``. ``cancellation`` answers for everybody with a running subscription, whether they order or not. The
    generation that answered is kept until the next publishing, for readers of it.

    Raises:
        StoreError: where another publishing that began later has finished; nothing is changed then.
    """
    before = current_generation(store)
    rules = saved_rules(store)
    told = dict(about) | {"product_rules": [asdict(rule) for rule in rules]}
    generation = begin_generation(store, as_of=as_of, about=json.dumps(told))
    people = _profiles(tables, scores, offer_values, as_of=as_of, about=about, cancellation=cancellation)
    shown = list(_products(tables, rules, as_of=as_of))
    ids = IdMap(row["product_id"] for row in shown)
    counts = {
        "customers": add_rows(store, profiles, generation, chunked(people)),
        "products": add_rows(store, products, generation, chunked(iter(shown))),
        "offers": add_rows(store, offers, generation, chunked(_offers(tables, as_of=as_of))),
    }
    add_rows(store, histories, generation, chunked(_histories(tables, ids, as_of=as_of)))
    add_rows(store, figures, generation, chunked(_figures(tables, as_of=as_of)))
    flip_to(store, generation, published_at=now)
    remove_older(store, keep=before.generation if before else None)
    attribute(
        store, window=attributed_within, received_before=max(now - SETTLED, as_of)
    )  # before its events are removed
    remove_shown(store, before=now - KEPT)
    held = Covered(as_of, int(about.get("compacted_events", 0)))
    remove_held(store, held, visitors_before=now - JOINED_WITHIN)
    remove_held_changes(store, Covered(as_of, int(about.get("compacted_changes", 0))))
    return {"generation": generation, **counts}


def chunked(rows: Iterator[Row]) -> Iterator[Sequence[Row]]:
    """``rows`` a thousand at a time."""
    chunk: list[Row] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk


def _profiles(
    tables: Tables,
    scores: pd.DataFrame,
    offer_values: pd.DataFrame | None,
    *,
    as_of: datetime,
    about: Mapping[str, Any],
    cancellation: CancellationModel | None,
) -> Iterator[Row]:
    reach = contacts(tables, as_of=as_of)
    names = _about_customers(tables, as_of=as_of)
    bought = _bought(tables, as_of=as_of)
    stand = _standing(tables, bought, as_of=as_of, about=about)
    scored = scores.set_index("customer_id")
    made = _offers_by_customer(offer_values, worth=float(about.get("worth", 1.0)))
    facts = offer_facts(tables, as_of=as_of).to_dict("index")
    attributes = customer_attributes(tables, as_of=as_of).to_dict("index")
    ending = _cancelling(tables, bought, cancellation, as_of=as_of)
    everybody = reach.index.union(names.index).union(stand.index).union(scored.index).union(list(ending))
    told, known, standing = names.to_dict("index"), bought.to_dict("index"), stand.to_dict("index")
    answered, reached = scored.to_dict("index"), reach.to_dict("index")
    for customer in everybody:
        score, contact = answered.get(customer, {}), reached.get(customer, {})
        who = standing.get(customer, {"stage": "lead"})
        yield {
            "customer_id": customer,
            **{name: _value(score.get(name)) for name in SCORES},
            **{name: _value(told.get(customer, {}).get(name)) for name in CONTACT},
            **_reach(contact),
            "unsubscribed": json.dumps(contact.get("unsubscribed", [])),
            "segment": _value(who.get("segment")),
            "tier": _value(who.get("tier")),
            "reasons": score.get("reasons", "[]"),
            "profile": json.dumps(
                _profile(known.get(customer, {}), who, score, as_of)
                | {"cancellation_probability": ending.get(customer)}
                | made.get(customer, {})
                | {"facts": _facts(facts.get(customer, {}), attributes.get(customer, {}))}
            ),
        }


def _facts(told: Mapping[str, Any], attributes: Mapping[str, Any]) -> Row:
    """What decisions read of a customer, without what is not known."""
    known = {name: _value(value) for name, value in told.items()}
    named = {name: value for name, value in attributes.items() if _value(value) is not None}
    return {name: value for name, value in known.items() if value is not None} | (
        {"attributes": named} if named else {}
    )


def _reach(contact: Mapping[str, Any]) -> Row:
    given = {channel: _value(contact.get(f"consent_{channel}")) for channel in CHANNELS}
    left = contact.get("unsubscribed", [])
    consented = {f"consent_{channel}": given[channel] for channel in CHANNELS}
    reachable = {f"reachable_{channel}": given[channel] is True and channel not in left for channel in CHANNELS}
    return consented | reachable


def _profile(known: Mapping[str, Any], who: Mapping[str, Any], score: Mapping[str, Any], as_of: datetime) -> Row:
    """Who they are, value and rhythm; what is not known is null."""
    since, gap = _value(known.get("days_since_last_order")), _value(known.get("gap_mean_days"))
    first = _value(known.get("days_since_first_order"))
    last_at = None if since is None else as_of - timedelta(days=since)
    return {
        **{name: _value(who.get(name)) for name in STANDING},
        "stage": stage_with_risk(who["stage"], score.get("risk")),
        "value_so_far": _value(known.get("money_total")),
        "count_orders": None if not known else int(known["count_orders"]),
        "money_per_order": _value(known.get("money_per_order")),
        **{name: _value(score.get(name)) for name in PREDICTED},
        "first_order_at": None if first is None else _text(as_of - timedelta(days=first)),
        "last_order_at": None if last_at is None else _text(last_at),
        "rhythm_days": gap,
        **_next_order(last_at, gap, score),
    }


def _next_order(last_at: datetime | None, gap: float | None, score: Mapping[str, Any]) -> Row:
    """When the next order is expected, with the bounds of 80 % where a value model said so; else by the mean gap alone."""
    said = {name: _value(score.get(name)) for name in ("next_order_at", "next_order_low", "next_order_high")}
    if said["next_order_at"] is not None:
        middle, low, high = (_text(pd.Timestamp(at).to_pydatetime().replace(tzinfo=UTC)) for at in said.values())
        return {"next_order_expected_at": middle, "next_order_interval": [low, high]}
    due = None if last_at is None or gap is None else _text(last_at + timedelta(days=gap))
    return {"next_order_expected_at": due, "next_order_interval": None}


def _standing(tables: Tables, bought: pd.DataFrame, *, as_of: datetime, about: Mapping[str, Any]) -> pd.DataFrame:
    if bought.empty:
        return pd.DataFrame(index=bought.index)
    return customer_standing(
        tables,
        bought.reset_index(),
        as_of=as_of,
        lookback_days=int(about["lookback_days"]),
        loyal_orders=int(about.get("loyal_orders", Settings.loyal_orders)),
        tiers=about.get("tiers", Settings.tiers),
    )


def _cancelling(
    tables: Tables, bought: pd.DataFrame, model: CancellationModel | None, *, as_of: datetime
) -> dict[str, float]:
    """Customer -> the highest probability over their running subscriptions; empty without a model or subscriptions."""
    if model is None or "subscriptions" not in tables:
        return {}
    running = running_subscriptions(tables, as_of=as_of).execute()
    customers = beside_customers(running, bought.reset_index())
    return {str(name): float(chance) for name, chance in model.of_customers(customers).items()}


def _about_customers(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    if "customers" not in tables:
        return pd.DataFrame(columns=list(CONTACT), index=pd.Index([], name="customer_id", dtype=object))
    known = known_tables({"customers": tables["customers"]}, as_of=as_of)["customers"]
    return known.select("customer_id", *CONTACT).execute().set_index("customer_id")


def _bought(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    if "orders" not in tables:
        return pd.DataFrame(index=pd.Index([], name="customer_id", dtype=object))
    return read_customer_features(tables, as_of=as_of).set_index("customer_id")


def _offers_by_customer(values: pd.DataFrame | None, *, worth: float) -> dict[str, Row]:
    """Customer -> offers: [uplift, value, standard error of value], and what is expected without one."""
    if values is None or values.empty:
        return {}
    found: dict[str, Row] = {}
    errors = values["uplift_se"] * worth if "uplift_se" in values else pd.Series(0.0, values.index)
    names = ("customer_id", "offer_id", "expected_uplift", "expected_value")
    columns = (values[name].tolist() for name in names)
    for customer, offer, uplift, value, error in zip(*columns, errors.tolist(), strict=True):
        own = found.setdefault(customer, {"offers": {}})
        own["offers"][offer] = [round(uplift, 6), round(value, 6), round(error, 6)]
    if "expected_without" in values:
        first = values.drop_duplicates("customer_id")
        for customer, without in zip(first["customer_id"], first["expected_without"].tolist(), strict=True):
            found[customer]["without"] = round(without, 6)
    return found


def _products(tables: Tables, rules: Sequence[ProductRule], *, as_of: datetime) -> Iterator[Row]:
    """By product_id, as the store lists them, so that histories may number them."""
    rows = product_features(tables, as_of=as_of).select("product_id", *PRODUCT).execute()
    for row in rows.sort_values("product_id").to_dict("records"):
        known = {name: value for name in PRODUCT if (value := _value(row[name])) is not None}
        named = matching(rules, [known | {"product_id": row["product_id"]}])[0] if rules else []
        yield {"product_id": row["product_id"], "attributes": json.dumps(known | ({"rules": named} if named else {}))}


def _figures(tables: Tables, *, as_of: datetime) -> Iterator[Row]:
    """The most popular products; the retention figures by everything they can be asked by, none for a shop without orders."""
    yield {"name": POPULAR, "body": json.dumps(_popular(tables, as_of=as_of))}
    for by in get_args(By):
        try:
            rows = retention(tables, as_of=as_of, by=by)
        except MissingData:
            return
        kept = [{name: _value(value) for name, value in row.items()} for row in rows.to_dict("records")]
        yield {"name": f"{RETENTION}{by}", "body": json.dumps(kept)}


def _popular(tables: Tables, *, as_of: datetime) -> list[str]:
    """Ids of the products that most customers ordered or looked at, most first."""
    products = product_features(tables, as_of=as_of)
    back = sorted(held_back(tables, as_of=as_of))
    wanted = products.filter(products.count_customers > 0)
    wanted = wanted.filter(wanted.product_id.notin(back)) if back else wanted
    order = wanted.order_by(wanted.count_customers.desc(), wanted.product_id).limit(MOST_POPULAR)
    found: list[str] = order.select("product_id").execute()["product_id"].tolist()
    return found


def _offers(tables: Tables, *, as_of: datetime) -> Iterator[Row]:
    if "offers" not in tables:
        return
    rows = known_tables({"offers": tables["offers"]}, as_of=as_of)["offers"].execute()
    for row in rows.sort_values("offer_id").to_dict("records"):
        offer = {name: _value(value) for name, value in row.items()}
        offer |= {name: json.loads(row[name]) for name in LISTED if offer.get(name) is not None}
        offer |= {
            name: _text(row[name].to_pydatetime().replace(tzinfo=UTC)) for name in TIMES if offer.get(name) is not None
        }
        yield {"offer_id": row["offer_id"], "offer": json.dumps(offer, default=str)}


def _histories(tables: Tables, ids: IdMap, *, as_of: datetime) -> Iterator[Row]:
    rows = interactions(tables, as_of=as_of)
    rows = rows.filter(rows.customer_id.notnull()).select("customer_id", "product_id", "occurred_at", "kind").execute()
    order = ["customer_id", "occurred_at", "product_id", "kind"]
    for customer, group in rows.sort_values(order, kind="stable").groupby("customer_id", sort=False):
        yield {"customer_id": customer, "body": pack(group, ids)}


def _value(value: Any) -> Any:
    """None for whatever stands for a missing value."""
    return None if value is None or (not isinstance(value, list) and pd.isna(value)) else value


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")
