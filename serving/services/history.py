"""A customer's newest interactions, packed for the store and unpacked for the recommender."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import orjson
import pandas as pd

from regulars.models.history import NEWEST, NOTHING, History
from serving.store.database import Store
from serving.store.events import Covered, touched_by_customer, touched_by_visitor
from serving.store.published import history_body


def pack(rows: pd.DataFrame) -> bytes:
    """The newest 500 of one customer's interactions, given oldest first: product_id, occurred_at (UTC), kind."""
    newest = rows.tail(NEWEST)
    seconds = newest["occurred_at"].to_numpy().astype("datetime64[s]").astype(np.int64)
    body = {
        "products": newest["product_id"].tolist(),
        "at": seconds.tolist(),
        "kinds": newest["kind"].tolist(),
    }
    return orjson.dumps(body)


def unpack(body: bytes) -> History:
    """What ``pack`` packed."""
    read = orjson.loads(body)
    return History(read["products"], np.array(read["at"], dtype=np.int64), read["kinds"])


@dataclass(frozen=True)
class Clock:
    """Now, in seconds since 1970: the clock's, ``at`` exactly, and as the published data sees it (``clock.service_time``)."""

    now: int
    shop: int
    at: datetime


Newest = Sequence[tuple[datetime, str]]


def newest_of_customer(store: Store, customer_id: str, *, covered: Covered) -> Newest:
    """What a customer did beyond ``covered``, the events that the published history holds already; newest first."""
    return touched_by_customer(store, customer_id, covered=covered, limit=NEWEST)


def newest_of_visitor(store: Store, *, anonymous_id: str | None, session_id: str | None) -> Newest:
    """What a visitor without a name did, by anonymous_id, else in a session; never what a named customer did."""
    return touched_by_visitor(store, anonymous_id=anonymous_id, session_id=session_id, limit=NEWEST)


def history_of(store: Store, customer_id: str | None, newest: Newest, *, clock: Clock) -> History:
    """What is published of a customer (None: of nobody), and then ``newest``; empty where nothing is known."""
    body = None if customer_id is None else history_body(store, customer_id)
    return _followed_by(NOTHING if body is None else unpack(body), newest, clock)


def _followed_by(earlier: History, newest_first: Newest, clock: Clock) -> History:
    """``earlier`` and the events, oldest first; what claims to be of the future happened just now."""
    if not newest_first:
        return earlier
    products, at, kinds = (
        list(earlier.product_ids),
        [int(second) for second in earlier.occurred_at],
        list(earlier.kinds),
    )
    for occurred_at, touched in reversed(newest_first):
        age = max(clock.now - int(occurred_at.timestamp()), 1)
        for product_id, kind in orjson.loads(touched):
            products.append(product_id)
            at.append(clock.shop - age)
            kinds.append(kind)
    order = np.argsort(np.array(at, dtype=np.int64), kind="stable")[-NEWEST:]
    return History([products[i] for i in order], np.array(at, dtype=np.int64)[order], [kinds[i] for i in order])
