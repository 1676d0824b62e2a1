"""Lists of customers, for e-mail tools: pages with a cursor, or all of it as a stream."""

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Row

from regulars.errors import DataError
from serving.services.customers import CONTACT, consents, moment_text
from serving.services.shelf import Shelf
from serving.store.database import Store
from serving.store.published import Order, count_scored, scored_conditions, scored_page
from serving.store.schema import CHANNELS

LISTS = {"at-risk": "Customers who are likely not to order within the horizon, most probable first"}
AT_RISK = ("medium", "high")
CHUNK = 500
REASONS = 3
OF_PROFILE = ("stage", "value_at_risk", "support_priority", "preferred_category", "next_order_expected_at")
COLUMNS = (
    "customer_id",
    *CONTACT,
    *(f"consent_{channel}" for channel in CHANNELS),
    "probability",
    "probability_low",
    "probability_high",
    "risk",
    *(f"reason_{number}" for number in range(1, REASONS + 1)),
    "segment",
    "tier",
    *OF_PROFILE,
)


@dataclass(frozen=True)
class Wanted:
    """Who belongs on the list. Without ``risk`` and probabilities: medium and high risk."""

    min_probability: float | None = None
    max_probability: float | None = None
    risk: tuple[str, ...] = ()
    country: str | None = None
    channel: str | None = None
    segment: str | None = None
    tier: str | None = None
    order_by: Order = "probability"


def page(store: Store, shelf: Shelf, wanted: Wanted, *, limit: int, cursor: str | None) -> dict[str, Any]:
    """The next ``limit`` items behind ``cursor``.

    Raises:
        DataError: where the cursor is not one of this list with these filters.
        StoreError: where its generation is no longer kept.
    """
    generation, after = _read(cursor, wanted) if cursor else (shelf.generation, None)
    conditions = _conditions(wanted)
    rows = scored_page(store, generation, conditions, order_by=wanted.order_by, limit=limit + 1, after=after)
    more = len(rows) > limit
    return {
        "items": [_item(row) for row in rows[:limit]],
        "next_cursor": _cursor(rows[limit - 1], wanted) if more else None,
        "as_of": moment_text(shelf.as_of),
        "total": count_scored(store, generation, conditions),
    }


def everybody(store: Store, generation: int, wanted: Wanted) -> Iterator[dict[str, Any]]:
    """Every item of the list as it is at the first one."""
    after = None
    while True:
        conditions = _conditions(wanted)
        rows = scored_page(store, generation, conditions, order_by=wanted.order_by, limit=CHUNK, after=after)
        yield from (_item(row) for row in rows)
        if len(rows) < CHUNK:
            return
        after = (rows[-1].churn_probability, rows[-1].customer_id)


def flat(item: dict[str, Any]) -> list[Any]:
    """An item as one line of a table with the columns ``COLUMNS``."""
    texts = [reason["text"] for reason in item["reasons"]][:REASONS]
    return [
        item["customer_id"],
        *(item[name] for name in CONTACT),
        *(item["consents"][channel] for channel in CHANNELS),
        item["probability"],
        *item["interval"],
        item["risk"],
        *texts,
        *[""] * (REASONS - len(texts)),
        *(item[name] for name in ("segment", "tier", *OF_PROFILE)),
    ]


def _conditions(wanted: Wanted) -> list[Any]:
    asked = asdict(wanted)
    bounded = wanted.risk or wanted.min_probability is not None or wanted.max_probability is not None
    risks = wanted.risk if bounded else AT_RISK
    return scored_conditions(
        risks=risks,
        **{
            name: asked[name]
            for name in ("min_probability", "max_probability", "segment", "tier", "country", "channel")
        },
    )


def _item(row: Row[Any]) -> dict[str, Any]:
    held = json.loads(row.profile)
    return {
        "customer_id": row.customer_id,
        **{name: getattr(row, name) for name in CONTACT},
        "consents": consents(row),
        "probability": row.churn_probability,
        "interval": [row.churn_low, row.churn_high],
        "risk": row.risk,
        "reasons": json.loads(row.reasons),
        "segment": row.segment,
        "tier": row.tier,
        **{name: held.get(name) for name in OF_PROFILE},
    }


def _cursor(row: Row[Any], wanted: Wanted) -> str:
    held = [row.generation, row.churn_probability, row.customer_id, _about(wanted)]
    return base64.urlsafe_b64encode(json.dumps(held).encode()).decode().rstrip("=")


def _read(cursor: str, wanted: Wanted) -> tuple[int, tuple[float, str]]:
    try:
        held = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        generation, probability, customer_id, about = held
        after = (float(probability), str(customer_id))
        generation = int(generation)
    except (ValueError, TypeError) as error:
        raise DataError("cursor expects a next_cursor of an earlier answer, got something else") from error
    if about != _about(wanted):
        raise DataError("cursor belongs to the same list with other filters; ask with the filters it came from")
    return generation, after


def _about(wanted: Wanted) -> str:
    return json.dumps(asdict(wanted), sort_keys=True)
