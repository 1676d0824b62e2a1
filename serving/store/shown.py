"""Recommendations given: what a next page may not show again."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy import delete, insert, select

from serving.store.database import Store
from serving.store.schema import shown_recommendations

KEPT = timedelta(days=30)


class ShownLog:
    """What one worker showed; nothing says to whom.

    On SQLite, which has one worker and one writer, rows are written by ``flush`` in groups and known before that from
    memory; a kill loses those of the last half second. On PostgreSQL each is written at once, so that every worker knows it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, dict[str, Any]] = {}
        self._flushing = Lock()

    def add(
        self, recommendation_id: str, product_ids: Sequence[str], propensities: Sequence[float], *, at: datetime
    ) -> None:
        """Keep what was shown under ``recommendation_id``, pages before it included."""
        row = {
            "recommendation_id": recommendation_id,
            "product_ids": json.dumps(list(product_ids)),
            "propensities": json.dumps(list(propensities)),
            "created_at": at,
        }
        self._waiting[recommendation_id] = row
        if not self._store.is_sqlite:
            self.flush()

    def before(self, recommendation_id: str) -> tuple[str, ...] | None:
        """All products up to and with that recommendation; None where it is not known (any more)."""
        waiting = self._waiting.get(recommendation_id)
        if waiting is not None:
            return tuple(json.loads(waiting["product_ids"]))
        wanted = select(shown_recommendations.c.product_ids)
        wanted = wanted.where(shown_recommendations.c.recommendation_id == recommendation_id)
        with self._store.reading() as connection:
            found = connection.execute(wanted).scalar()
        return None if found is None else tuple(json.loads(found))

    def flush(self) -> None:
        """Write what waits; where that fails it goes on waiting."""
        with self._flushing:
            rows = list(self._waiting.values())
            if not rows:
                return
            with self._store.writing() as connection:
                connection.execute(insert(shown_recommendations), rows)
            for row in rows:
                del self._waiting[row["recommendation_id"]]


def remove_shown(store: Store, *, before: datetime) -> None:
    """Remove what was shown before ``before``."""
    with store.writing() as connection:
        connection.execute(delete(shown_recommendations).where(shown_recommendations.c.created_at < before))
