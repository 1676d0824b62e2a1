"""Which recommendation a click or an order goes back to, and what each placement brought.

A click is the first event about a product that was shown (viewed, clicked, put into the cart). An ordered product counts where
a server reports the order. Both go back to the recommendation that the event names by its ``recommendation_id``, where that
showed the product; else to the last touch: the recommendation that showed the product to this visitor last within the window,
one that was clicked before one that was only seen. What is counted twice by no rule is counted once: a click per recommendation
and product, an order per product.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from sqlalchemy import Connection, Row

from serving.services.event_names import ORDER
from serving.store.attribution import (
    AttributionRow,
    Visitors,
    attributed_between,
    clicked,
    keep_attributions,
    known_as,
    move_cursor,
    next_events,
    shown_rows,
)
from serving.store.database import Store
from serving.store.events import JOINED_WITHIN
from serving.store.shown import views_between

CLICKS = ("Product Clicked", "Product Viewed", "Product Added")
NAMED, CLICKED, SHOWN = "named", "clicked", "shown"
WINDOW = timedelta(days=7)
SETTLED = timedelta(seconds=2)
AT_ONCE = 1_000


@dataclass(frozen=True)
class Showing:
    """One slot of one recommendation."""

    recommendation_id: str
    placement: str
    at: datetime


@dataclass(frozen=True)
class Event:
    """One event as attribution sees it; ``lines``: product_id -> revenue, None for what is no order."""

    kind: str
    at: datetime
    keys: frozenset[str]
    recommendation_id: str | None
    lines: Mapping[str, float | None]
    order: str | None = None


@dataclass(frozen=True)
class Shown:
    """What was shown, by recommendation and product, and by visitor and product; ``clicks`` grows while events are read."""

    by_id: dict[tuple[str, str], Showing] = field(default_factory=dict)
    by_visitor: dict[tuple[str, str], list[Showing]] = field(default_factory=dict)
    clicks: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def add(self, row: Row[Any]) -> None:
        """One row of ``shown_recommendations``; rows come oldest first."""
        keys = _keys(row.customer_id, row.anonymous_id, row.session_id)
        for slot in orjson.loads(row.slots):
            showing = Showing(row.recommendation_id, slot["placement"], row.created_at)
            for product_id, *_ in slot["items"]:
                self.by_id[row.recommendation_id, product_id] = showing
                for key in keys:
                    self.by_visitor.setdefault((key, product_id), []).append(showing)


def attribute(store: Store, *, window: timedelta, received_before: datetime | None = None) -> int:
    """Attribute every event that was not yet (received before a moment, where one is given); the number of rows tried.

    Exactly once: the rows and how far they reach are written in one transaction.
    """
    tried = 0
    while True:
        with store.writing() as connection:
            rows = next_events(connection, (*CLICKS, ORDER), received_before=received_before, limit=AT_ONCE)
            if not rows:
                return tried
            keep_attributions(connection, list(_attributed(connection, rows, window)))
            move_cursor(connection, rows[-1].seq)
        tried += len(rows)


def last_touch(event: Event, shown: Shown, *, window: timedelta) -> Iterator[AttributionRow]:
    """A row for each product of the event that was shown before; clicks are remembered in ``shown``."""
    for product_id, revenue in event.lines.items():
        found = _touch(event, product_id, shown, window)
        if found is None:
            continue
        showing, touch = found
        cause = event.order
        if cause is None:
            cause = showing.recommendation_id
            shown.clicks.setdefault((showing.recommendation_id, product_id), event.at)
        yield AttributionRow(
            kind=event.kind,
            cause=cause,
            product_id=product_id,
            recommendation_id=showing.recommendation_id,
            placement=showing.placement,
            touch=touch,
            occurred_at=event.at,
            revenue=revenue,
        )


def _touch(event: Event, product_id: str, shown: Shown, window: timedelta) -> tuple[Showing, str] | None:
    if event.recommendation_id is not None:
        named = shown.by_id.get((event.recommendation_id, product_id))
        if named is not None:
            return named, NAMED
    seen = [s for key in event.keys for s in shown.by_visitor.get((key, product_id), ()) if s.at <= event.at]
    clicks = [(shown.clicks.get((showing.recommendation_id, product_id)), showing) for showing in seen]
    within = [(at, showing) for at, showing in clicks if at is not None and event.at - window <= at <= event.at]
    if event.order is not None and within:
        return max(within, key=lambda click: (click[0], click[1].at))[1], CLICKED
    recent = [showing for showing in seen if showing.at >= event.at - window]
    return (max(recent, key=lambda showing: showing.at), SHOWN) if recent else None


def _attributed(connection: Connection, rows: Sequence[Row[Any]], window: timedelta) -> Iterator[AttributionRow]:
    joined = known_as(
        connection,
        customers={row.customer_id for row in rows if row.customer_id},
        visitors={row.anonymous_id for row in rows if row.anonymous_id},
    )
    events = sorted(filter(None, (_event(row, joined) for row in rows)), key=lambda event: event.at)
    if not events:
        return
    shown = Shown()
    keys = {key for event in events for key in event.keys}
    who = Visitors(*({key[2:] for key in keys if key.startswith(kind)} for kind in ("c:", "v:", "s:")))
    named = {event.recommendation_id for event in events if event.recommendation_id}
    # a click that counts may lie a window back, and what was clicked another window before
    for row in shown_rows(connection, who, named=named, since=events[0].at - 2 * window, until=events[-1].at):
        shown.add(row)
    shown.clicks.update(clicked(connection, {recommendation_id for recommendation_id, _ in shown.by_id}))
    for event in events:
        yield from last_touch(event, shown, window=window)


def _event(row: Row[Any], joined: Sequence[tuple[str, str, datetime]]) -> Event | None:
    """None for an order that no server reported."""
    body = orjson.loads(row.body)
    at = min(row.occurred_at, row.received_at)
    near = [(v, c) for v, c, known_at in joined if abs(at - known_at) <= JOINED_WITHIN]
    keys = set(_keys(row.customer_id, row.anonymous_id, row.session_id))
    keys |= {f"c:{customer}" for visitor, customer in near if visitor == row.anonymous_id and not row.customer_id}
    keys |= {f"v:{visitor}" for visitor, customer in near if customer == row.customer_id}
    common = {"at": at, "keys": frozenset(keys), "recommendation_id": body.get("recommendation_id")}
    if row.name != ORDER:
        products = body.get("lines") or [product for product in (body.get("product_id"),) if product]
        return Event("click", lines=dict.fromkeys(products), **common)
    if "order" not in body:
        return None
    lines: dict[str, float | None] = {}
    for line in body["order"]["lines"]:
        before = lines.get(line["product_id"]) or 0.0
        lines[line["product_id"]] = before + line["quantity"] * line["unit_price"]
    order = hashlib.sha256(body["order"]["order_id"].encode()).hexdigest()
    return Event("order", lines=lines, order=order, **common)


def _keys(customer_id: str | None, anonymous_id: str | None, session_id: str | None) -> list[str]:
    known = (("c:", customer_id), ("v:", anonymous_id), ("s:", session_id))
    return [kind + value for kind, value in known if value]


def placement_report(store: Store, *, first: date, last: date, zone: ZoneInfo) -> list[dict[str, Any]]:
    """A row per placement, by name: what it showed and what that brought from day ``first`` to day ``last``, both included.

    ``views``: slots shown that were not empty; ``products``: products in them; ``clicks``; ``orders`` with at least one
    product that was shown; ``revenue`` of those products; ``orders_clicked``, ``revenue_clicked``: the part that was clicked,
    or named by the order. Days are the shop's, in ``zone``; each thing counts on the day it happened.
    """
    start = datetime.combine(first, time(), zone)
    end = datetime.combine(last + timedelta(days=1), time(), zone)
    with store.reading() as connection:
        views = views_between(connection, start, end)
        counted = attributed_between(connection, start, end)
    rows: dict[str, dict[str, Any]] = {}
    for view in views:
        row = rows.setdefault(view.placement, _nothing(view.placement))
        row["views"] += view.views
        row["products"] += view.products
    for count in counted:
        row = rows.setdefault(count.placement, _nothing(count.placement))
        if count.kind == "click":
            row["clicks"] = count.clicks
        else:
            row |= {name: getattr(count, name) for name in ("orders", "orders_clicked")}
            row |= {name: round(getattr(count, name), 2) for name in ("revenue", "revenue_clicked")}
    return [rows[name] for name in sorted(rows)]


def _nothing(placement: str) -> dict[str, Any]:
    counts = dict.fromkeys(("views", "products", "clicks", "orders"), 0)
    return {"placement": placement, **counts, "revenue": 0.0, "orders_clicked": 0, "revenue_clicked": 0.0}
