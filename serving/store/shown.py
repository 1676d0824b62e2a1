"""Recommendations given: what a next page may not show again."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select

from serving.store.database import Store
from serving.store.schema import shown_recommendations

KEPT = timedelta(days=30)


def add_shown(
    store: Store, recommendation_id: str, product_ids: Sequence[str], propensities: Sequence[float], *, at: datetime
) -> None:
    """Keep what was shown under ``recommendation_id``, pages before it included; nothing says to whom."""
    row = {
        "recommendation_id": recommendation_id,
        "product_ids": json.dumps(list(product_ids)),
        "propensities": json.dumps(list(propensities)),
        "created_at": at,
    }
    with store.writing() as connection:
        connection.execute(insert(shown_recommendations), row)


def shown_before(store: Store, recommendation_id: str) -> tuple[str, ...] | None:
    """All products up to and with that recommendation; None where it is not known (any more)."""
    wanted = select(shown_recommendations.c.product_ids)
    wanted = wanted.where(shown_recommendations.c.recommendation_id == recommendation_id)
    with store.reading() as connection:
        found = connection.execute(wanted).scalar()
    return None if found is None else tuple(json.loads(found))


def remove_shown(store: Store, *, before: datetime) -> None:
    """Remove what was shown before ``before``."""
    with store.writing() as connection:
        connection.execute(delete(shown_recommendations).where(shown_recommendations.c.created_at < before))
