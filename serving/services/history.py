"""A customer's newest interactions, packed for the store and unpacked for the recommender."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import orjson
import pandas as pd

from features.interactions import KINDS
from regulars.ids import IdMap, Numbered, joined
from regulars.models.history import NEWEST, NOTHING, History
from serving.services.shelf import Shelf
from serving.store.events import Touched, by_customer, by_visitor
from serving.store.prepared import Asked

KIND_IDS = IdMap(KINDS)
BYTES_EACH = 13
MICROSECONDS = 1_000_000
NAMED = b'{"products"'  # no moment begins with these bytes


def pack(rows: pd.DataFrame, ids: IdMap) -> bytes:
    """The newest 500 of one customer's interactions with products of ``ids``: product_id, occurred_at (UTC), kind; oldest first.

    Numbers only, since naming and finding hundreds of products again would take as long as ranking them: int64 seconds, int32
    places in ``ids``, uint8 places in ``KINDS``.
    """
    found = ids.rows(rows["product_id"])
    kept = np.flatnonzero(found >= 0)[-NEWEST:]
    seconds = rows["occurred_at"].to_numpy().astype("datetime64[s]").astype(np.int64)
    kinds = KIND_IDS.rows(rows["kind"])
    parts = (seconds[kept].astype("<i8"), found[kept].astype("<i4"), kinds[kept].astype(np.uint8))
    return b"".join(part.tobytes() for part in parts)


def unpack(body: bytes, ids: IdMap) -> History:
    """What ``pack`` packed with the same ``ids``, or what a version before it wrote."""
    if body.startswith(NAMED):
        read = orjson.loads(body)
        return History(read["products"], np.array(read["at"], dtype=np.int64), read["kinds"])
    count = interactions_in(body)
    rows = np.frombuffer(body, "<i4", count, 8 * count).astype(np.int64)
    kinds = np.frombuffer(body, np.uint8, count, 12 * count).astype(np.int64)
    return History(Numbered(ids, rows), np.frombuffer(body, "<i8", count).astype(np.int64), Numbered(KIND_IDS, kinds))


def interactions_in(body: bytes) -> int:
    """How many interactions ``pack`` packed."""
    return len(orjson.loads(body)["at"]) if body.startswith(NAMED) else len(body) // BYTES_EACH


@dataclass(frozen=True)
class Clock:
    """Now, in seconds since 1970: the clock's, ``at`` exactly, and as the published data sees it (``clock.service_time``)."""

    now: int
    shop: int
    at: datetime


Who = tuple[str | None, str | None, str | None]  # customer_id, anonymous_id, session_id


def newest_asked(shelf: Shelf, who: Who) -> Asked | None:
    """What finds what a customer did beyond the published history, else what a visitor without a name did, by anonymous_id or in a
    session; never what another named customer did. None of nobody. To be read by ``touched_in``."""
    customer_id, anonymous_id, session_id = who
    if customer_id:
        return by_customer(customer_id, covered=shelf.covered, limit=NEWEST)
    if anonymous_id or session_id:
        return by_visitor(anonymous_id=anonymous_id, session_id=session_id, limit=NEWEST)
    return None


def published_in(shelf: Shelf, body: bytes | None) -> History:
    """A history as ``shelf``'s generation holds it; empty where it holds none."""
    return NOTHING if body is None else unpack(body, shelf.published_ids)


def joined_by_time(first: History, then: History) -> History:
    """Of two that are in order, by time, those of one moment in their order; the newest 500 where both hold any."""
    if not len(first.occurred_at) or not len(then.occurred_at):
        return then if len(then.occurred_at) else first
    at = np.concatenate([first.occurred_at, then.occurred_at])
    order = np.argsort(at, kind="stable")[-NEWEST:]
    products, kinds = joined(first.product_ids, then.product_ids, order), joined(first.kinds, then.kinds, order)
    return History(products, at[order], kinds)


def happened(newest_first: Touched, clock: Clock) -> History:
    """The events, given as they came in, by the time they tell; what claims to be of the future happened just now."""
    if not newest_first:
        return NOTHING
    products, at, kinds = [], [], []
    for occurred_at, touched in reversed(newest_first):
        age = max(clock.now - occurred_at // MICROSECONDS, 1)
        for product_id, kind in orjson.loads(touched):
            products.append(product_id)
            at.append(clock.shop - age)
            kinds.append(kind)
    times = np.array(at, dtype=np.int64)
    order = np.argsort(times, kind="stable")
    return History([products[place] for place in order], times[order], [kinds[place] for place in order])
