"""A customer's newest interactions, packed for the store and unpacked for the recommender."""

import numpy as np
import orjson
import pandas as pd

from regulars.models.history import NEWEST, NOTHING, History
from serving.store.database import Store
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


def history_of(store: Store, customer_id: str) -> History:
    """What is published of a customer; empty where nothing is."""
    body = history_body(store, customer_id)
    return NOTHING if body is None else unpack(body)
