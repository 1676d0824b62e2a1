"""Rows of the table ``attributions``, and what they are made of: events, and what was shown to whom."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, case, delete, func, insert, select, text, union_all
from sqlalchemy.dialects import postgresql, sqlite

from serving.store.schema import attributions, events, identities, shown_recommendations, state

CURSOR = "attributed_events"
ONE_AT_A_TIME = 7_201_945  # of PostgreSQL's advisory locks: the one under which events are attributed


@dataclass(frozen=True)
class AttributionRow:
    """One click or one ordered product, and the recommendation it goes back to; see the table ``attributions``."""

    kind: str
    cause: str
    product_id: str
    recommendation_id: str
    placement: str
    touch: str
    occurred_at: datetime
    revenue: float | None


@dataclass(frozen=True)
class Visitors:
    """Ids by which somebody may have been shown something."""

    customers: Collection[str]
    visitors: Collection[str]
    sessions: Collection[str]


def next_events(
    connection: Connection, names: Sequence[str], *, received_before: datetime | None, limit: int
) -> list[Row[Any]]:
    """The next events of ``names`` that were not attributed yet, by number; nobody else attributes until the commit."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": ONE_AT_A_TIME})
    cursor = connection.execute(select(state.c.value).where(state.c.name == CURSOR)).scalar()
    wanted = select(events).where(events.c.seq > int(cursor or 0), events.c.name.in_(names))
    if received_before is not None:
        wanted = wanted.where(events.c.received_at < received_before)
    return list(connection.execute(wanted.order_by(events.c.seq).limit(limit)))


def move_cursor(connection: Connection, seq: int) -> None:
    """Everything up to event ``seq`` is attributed."""
    connection.execute(delete(state).where(state.c.name == CURSOR))
    connection.execute(insert(state).values(name=CURSOR, value=str(seq)))


def known_as(
    connection: Connection, *, customers: Collection[str], visitors: Collection[str]
) -> list[tuple[str, str, datetime]]:
    """(anonymous_id, customer_id, identified_at) of everybody among ``customers`` and ``visitors`` who was identified."""
    theirs = identities.c.customer_id.in_(customers) | identities.c.anonymous_id.in_(visitors)
    wanted = select(identities.c.anonymous_id, identities.c.customer_id, identities.c.identified_at).where(theirs)
    return [(row[0], row[1], row[2]) for row in connection.execute(wanted)]


def shown_rows(
    connection: Connection, who: Visitors, *, named: Collection[str], since: datetime, until: datetime
) -> list[Row[Any]]:
    """What was shown to ``who`` in [since, until], and the recommendations ``named``; oldest first."""
    shown = shown_recommendations
    within = shown.c.created_at.between(since, until)
    parts = [
        select(shown).where(column.in_(ids), within)
        for column, ids in (
            (shown.c.customer_id, who.customers),
            (shown.c.anonymous_id, who.visitors),
            (shown.c.session_id, who.sessions),
        )
        if ids
    ]
    if named:
        parts.append(select(shown).where(shown.c.recommendation_id.in_(named)))
    if not parts:
        return []
    found = union_all(*parts).order_by("created_at")
    return list({row.recommendation_id: row for row in connection.execute(found)}.values())


def clicked(connection: Connection, recommendation_ids: Collection[str]) -> dict[tuple[str, str], datetime]:
    """(recommendation_id, product_id) -> when it was clicked, of the clicks attributed to those recommendations."""
    mine = (attributions.c.kind == "click") & attributions.c.recommendation_id.in_(recommendation_ids)
    rows = connection.execute(select(attributions).where(mine))
    return {(row.recommendation_id, row.product_id): row.occurred_at for row in rows}


def keep_attributions(connection: Connection, rows: Sequence[AttributionRow]) -> None:
    """Write rows; a click or an ordered product that was attributed before stays as it was."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    if rows:
        added = dialect.insert(attributions).on_conflict_do_nothing()
        connection.execute(added, [row.__dict__ for row in rows])


@dataclass(frozen=True)
class Counted:
    """Clicks (kind "click") or orders of one placement; ``_clicked``: without what was only shown before."""

    kind: str
    placement: str
    clicks: int
    orders: int
    orders_clicked: int
    revenue: float
    revenue_clicked: float


def attributed_between(connection: Connection, start: datetime, end: datetime) -> list[Counted]:
    """Attributions in [start, end), summed; an order with several products counts once per placement."""
    columns = attributions.c
    by_click = columns.touch != "shown"
    wanted = (
        select(
            columns.kind,
            columns.placement,
            func.count(),
            func.count(columns.cause.distinct()),
            func.count(case((by_click, columns.cause)).distinct()),
            func.coalesce(func.sum(columns.revenue), 0.0),
            func.coalesce(func.sum(case((by_click, columns.revenue))), 0.0),
        )
        .where(columns.occurred_at >= start, columns.occurred_at < end)
        .group_by(columns.kind, columns.placement)
    )
    return [Counted(*row) for row in connection.execute(wanted)]
