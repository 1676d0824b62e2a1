"""From a call of Segment's HTTP tracking API to a row of the store, or the reason why it is refused.

Source: https://segment.com/docs/connections/spec/ (the common fields, and the e-commerce events v2).
"""

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import orjson

from features.interactions import KIND_OF_EVENT
from serving.services.event_names import CANCELLED, NAME_OF_CALL, ORDER, REFUND, SEGMENT_NAME
from serving.store.events import EventRow

CALLS = ("track", *NAME_OF_CALL)
LARGEST_EVENT = 32 * 1024
DEEPEST = 12
LONGEST_ID = 512
MOST_LINES = 500
PAGE, SERVER = "page", "server"
TOLD_APART = ("category", "query", "recommendation_id", "decision_id")


class Refused(Exception):
    """Why an event is not taken."""


@dataclass(frozen=True)
class Sender:
    """Who sends: ``trusted`` with a server's key; else a page, speaking of ``token_customer`` or of nobody by name."""

    trusted: bool
    token_customer: str | None = None

    @property
    def origin(self) -> str:
        return SERVER if self.trusted else PAGE


def read_event(raw: Any, *, call: str | None, sender: Sender, received_at: datetime, zone: ZoneInfo) -> EventRow:
    """The row of one event; ``call`` is the kind of call where the address says it, else its ``type``.

    Times without a zone are in ``zone``; without a time it happened when it was received. Of a page, orders and refunds
    are browsing: they bring no purchase.

    Raises:
        Refused: what is wrong with it.
    """
    if not isinstance(raw, dict):
        raise Refused(f"an event must be an object, got {type(raw).__name__}")
    _check_size(raw)
    call = call or _text(raw, "type")
    if call not in CALLS:
        raise Refused(f"type must be one of {', '.join(CALLS)}, got {call!r}")
    about = _mapping(raw, "traits" if call in ("identify", "group") else "properties")
    context = _mapping(raw, "context")
    name = NAME_OF_CALL.get(call) or _event_name(raw)
    customer, visitor = _who(raw, call, context, sender)
    lines = list(_lines(about))
    product = _id(about, "product_id", "item_id") or (lines[0]["product_id"] if len(lines) == 1 else None)
    body: dict[str, Any] = {key: _text(about, key) for key in TOLD_APART if about.get(key) is not None}
    body |= {key: _number(about, key) for key in ("quantity", "price") if about.get(key) is not None}
    if product is not None:
        body["product_id"] = product
    if name == ORDER and sender.trusted:
        body["order"] = _order(about, lines)
    elif name in (REFUND, CANCELLED) and sender.trusted:
        body["order"] = _refund(about, lines)
    elif len(lines) > 1:
        body["lines"] = [line["product_id"] for line in lines]
    if call == "identify" and sender.trusted and customer is not None:
        body["traits"] = about
    body["properties"] = about
    return EventRow(
        origin=sender.origin,
        message_id=_id(raw, "messageId", "message_id") or uuid.uuid4().hex,
        received_at=received_at,
        occurred_at=_time(raw, received_at, zone),
        name=name,
        customer_id=customer,
        anonymous_id=visitor,
        session_id=_id(about, "session_id") or _id(context, "sessionId", "session_id"),
        touched=_touched(name, product, lines, trusted=sender.trusted),
        body=orjson.dumps(body).decode(),
    )


def _check_size(raw: Mapping[str, Any]) -> None:
    if len(orjson.dumps(raw)) > LARGEST_EVENT:
        raise Refused(f"an event may have {LARGEST_EVENT // 1024} KB at most")
    if _depth(raw) > DEEPEST:
        raise Refused(f"an event may be {DEEPEST} levels deep at most")


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level:
        depth += 1
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth


def _who(
    raw: Mapping[str, Any], call: str, context: Mapping[str, Any], sender: Sender
) -> tuple[str | None, str | None]:
    """(customer_id, anonymous_id); a page may name only the customer whose token it carries."""
    customer = _id(raw, "userId", "user_id")
    visitor = _id(raw, "anonymousId", "anonymous_id") or (_id(raw, "previousId") if call == "alias" else None)
    if call == "alias" and visitor == customer:
        raise Refused("alias needs a previousId other than the userId")
    if customer is not None and not sender.trusted and customer != sender.token_customer:
        raise Refused("a storefront key may send a userId only together with that customer's X-Customer-Token")
    if customer is None and visitor is None:
        raise Refused("userId or anonymousId: one of them must be given")
    if customer is None and call == "identify" and not sender.trusted:
        return sender.token_customer, visitor
    return customer, visitor


def _event_name(raw: Mapping[str, Any]) -> str:
    given = _text(raw, "event")
    if given is None:
        raise Refused("event: a track call needs the event's name")
    return SEGMENT_NAME.get(given, given)


def _lines(about: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The products of an event: Segment's ``products`` or Google Analytics' ``items``."""
    listed = about.get("products") if about.get("products") is not None else about.get("items")
    if listed is None:
        return
    if not isinstance(listed, list) or len(listed) > MOST_LINES:
        raise Refused(f"products must be a list of {MOST_LINES} at most")
    for number, item in enumerate(listed):
        if not isinstance(item, dict):
            raise Refused(f"products[{number}] must be an object")
        product = _id(item, "product_id", "item_id", "sku")
        if product is None:
            raise Refused(f"products[{number}].product_id: missing")
        yield {"product_id": product, "quantity": _number(item, "quantity"), "price": _number(item, "price")}


def _order(about: Mapping[str, Any], lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The order that an event tells of, as lines of the table ``orders``."""
    if not lines:
        raise Refused(f"{ORDER} needs products with product_id, quantity and price")
    kept = []
    for number, line in enumerate(lines):
        quantity = 1.0 if line["quantity"] is None else line["quantity"]
        if quantity <= 0 or line["price"] is None or line["price"] < 0:
            raise Refused(f"products[{number}]: needs a price of 0 or more, and a quantity above 0")
        kept.append({"product_id": line["product_id"], "quantity": quantity, "unit_price": line["price"]})
    told = {"coupon_id": _id(about, "coupon"), "channel": _text(about, "channel")}
    return {"order_id": _order_id(about), "lines": kept} | {key: said for key, said in told.items() if said}


def _refund(about: Mapping[str, Any], lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What an order's refund or cancelling tells; no lines mean the whole order."""
    kept = [{"product_id": line["product_id"], "quantity": line["quantity"], "amount": line["price"]} for line in lines]
    if any(line["quantity"] is not None and line["quantity"] <= 0 for line in kept):
        raise Refused("products: a quantity must be above 0")
    return {"order_id": _order_id(about), "lines": kept}


def _order_id(about: Mapping[str, Any]) -> str:
    found = _id(about, "order_id", "orderId", "transaction_id")
    if found is None:
        raise Refused("order_id: missing")
    return found


def _touched(name: str, product: str | None, lines: Sequence[dict[str, Any]], *, trusted: bool) -> str | None:
    """[product_id, kind] of everything that says something of taste, as JSON."""
    kind = "purchase" if name == ORDER and trusted else KIND_OF_EVENT.get(name)
    if kind is None:
        return None
    products = [line["product_id"] for line in lines] or ([product] if product is not None else [])
    return orjson.dumps([[found, kind] for found in products]).decode() if products else None


def _time(raw: Mapping[str, Any], received_at: datetime, zone: ZoneInfo) -> datetime:
    given = raw.get("timestamp")
    if given is None:
        return received_at
    try:
        if not isinstance(given, str):
            raise ValueError
        at = datetime.fromisoformat(given)
        at = at.replace(tzinfo=zone) if at.tzinfo is None else at
        if not 1970 <= at.year < 2200:
            raise ValueError
    except ValueError:
        raise Refused(f"timestamp must be an ISO 8601 time, got {given!r}") from None
    return at.astimezone(UTC)


def _mapping(raw: Mapping[str, Any], key: str) -> dict[str, Any]:
    found = raw.get(key)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Refused(f"{key} must be an object")
    return found


def _id(raw: Mapping[str, Any], *keys: str) -> str | None:
    """The first of ``keys`` that is given, as ids are kept: trimmed text; a whole number loses its ".0"."""
    for key in keys:
        found = raw.get(key)
        if found is None or found == "":
            continue
        if isinstance(found, float) and found.is_integer():
            found = int(found)
        if isinstance(found, bool) or not isinstance(found, str | int):
            raise Refused(f"{key} must be text")
        text = str(found).strip()
        if not text or len(text) > LONGEST_ID or "\x00" in text:
            raise Refused(f"{key} must be text of 1 to {LONGEST_ID} characters")
        return text
    return None


def _text(raw: Mapping[str, Any], key: str) -> str | None:
    found = raw.get(key)
    if found is None:
        return None
    if isinstance(found, bool | dict | list) or "\x00" in str(found):
        raise Refused(f"{key} must be text")
    return str(found).strip() or None


def _number(raw: Mapping[str, Any], key: str) -> float | None:
    """A finite number; text that reads as one is one."""
    found = raw.get(key)
    if found is None or found == "":
        return None
    try:
        number = math.nan if isinstance(found, bool) else float(found)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise Refused(f"{key} must be a number, got {found!r}")
    return number
