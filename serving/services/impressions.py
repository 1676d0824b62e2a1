"""What the service showed, as impressions of the lake: one row per product, which rankers learn from.

Times have no numbers, so each time the last hour is read again, and the lake recognises what it has: a recommendation is written
within a second, or as soon as the database takes it.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson
from sqlalchemy import Row

from serving.services.trials import MICROSECOND, Batch
from serving.store.database import Store
from serving.store.events import compacted
from serving.store.schema import EPOCH
from serving.store.shown import shown_after

AGAIN = timedelta(hours=1)
IMPRESSIONS = "compacted_impressions"


def impressions(store: Store, *, at_once: int) -> Iterator[Batch]:
    """What was shown since the last hour that is in the lake, ``at_once`` recommendations at a time, the oldest first.

    ``new`` counts the recommendations given later than all that are known to be there. A batch without any may still hold one
    that was written late.
    """
    held = EPOCH + compacted(store, IMPRESSIONS) * MICROSECOND
    at, last = max(held - AGAIN, EPOCH), ""
    while rows := shown_after(store, at, last, limit=at_once):
        at, last = rows[-1].created_at, rows[-1].recommendation_id
        new = sum(row.created_at > held for row in rows)
        shown = [product for row in rows for product in _products(row)]
        yield Batch("impressions", shown, new, IMPRESSIONS, (max(held, at) - EPOCH) // MICROSECOND)


def _products(row: Row[Any]) -> Iterator[dict[str, Any]]:
    told = {
        "recommendation_id": row.recommendation_id,
        "shown_at": row.created_at.isoformat(),
        "received_at": row.created_at,
        "customer_id": row.customer_id,
        "anonymous_id": row.anonymous_id,
        "session_id": row.session_id,
        "policy": row.policy,
    }
    for slot in orjson.loads(row.slots):
        for rank, (product_id, score, propensity) in enumerate(slot["items"], 1):
            shown = {"product_id": product_id, "rank": rank, "score": score, "propensity": propensity}
            yield {"placement": slot["placement"], **shown, **told}
