"""Decisions of the service as a trial that offers are learnt from: who was drawn to which offer, and what followed.

Only what could have come out otherwise tells anything: a decision that the rules alone made is left out, so that the
propensities of the rest are those of a draw. Times have no numbers, so each time the last minutes are read again, and the lake
recognises what it has.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row

from serving.store.database import Store
from serving.store.decisions import Place, drawn_after, followed_after
from serving.store.events import compacted
from serving.store.schema import EPOCH

AGAIN = timedelta(minutes=5)
MICROSECOND = timedelta(microseconds=1)
DECISIONS, OUTCOMES = "compacted_decisions", "compacted_outcomes"
DECISION = ("created_at", "decision_id")
OUTCOME = ("received_at", "decision_id", "kind", "occurred_at")


@dataclass(frozen=True)
class Batch:
    """Rows of a lake table, how many of them are ``new``, and what to note as ``name`` once they are in the lake."""

    table: str
    rows: list[dict[str, Any]]
    new: int
    name: str
    upto: int


def trials(store: Store, *, at_once: int) -> Iterator[Batch]:
    """What is not known to be in the lake yet, and the last minutes of what is: assignments, then outcomes.

    A batch without anything new may still hold a row that was written late.
    """
    yield from _batches(store, "assignments", DECISIONS, drawn_after, _assignment, DECISION, at_once)
    yield from _batches(store, "outcomes", OUTCOMES, followed_after, _outcome, OUTCOME, at_once)


def _batches(
    store: Store,
    table: str,
    name: str,
    read: Callable[..., Sequence[Row[Any]]],
    row_of: Callable[[Row[Any]], dict[str, Any]],
    order: Sequence[str],
    at_once: int,
) -> Iterator[Batch]:
    held = EPOCH + compacted(store, name) * MICROSECOND
    place: Place = (max(held - AGAIN, EPOCH),)
    while rows := read(store, place, limit=at_once):
        place = tuple(getattr(rows[-1], column) for column in order)
        new = sum(getattr(row, order[0]) > held for row in rows)
        yield Batch(table, [row_of(row) for row in rows], new, name, (max(held, place[0]) - EPOCH) // MICROSECOND)


def _assignment(row: Row[Any]) -> dict[str, Any]:
    return {
        "assignment_id": row.decision_id,
        "customer_id": row.subject,
        "assigned_at": row.created_at.isoformat(),
        "received_at": row.created_at,
        "offer_id": row.offer_id,
        "propensity": row.propensity,
        "policy_version": json.loads(row.answer).get("policy_version"),
    }


def _outcome(row: Row[Any]) -> dict[str, Any]:
    return {
        "assignment_id": row.decision_id,
        "kind": row.kind,
        "occurred_at": row.occurred_at.isoformat(),
        "received_at": row.received_at,
        "revenue": row.revenue,
    }
