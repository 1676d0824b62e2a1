"""Removing and handing over what the store holds of one customer."""

from typing import Any
from uuid import uuid4

from sqlalchemy import Connection, Select, Update, delete, null, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.sql import ColumnElement

from serving.store.database import Store
from serving.store.schema import (
    changes,
    decision_outcomes,
    decisions,
    events,
    held_decisions,
    histories,
    identities,
    profiles,
    shown_recommendations,
    state,
)

FORGOTTEN = "forgotten"  # of the table ``state``
HELD = {"profiles": profiles, "histories": histories}
VISITS = {"events": events, "identities": identities}
BY_SUBJECT = {"held_decisions": held_decisions, "decisions": decisions}


def forget_in_store(store: Store, customer_id: str) -> dict[str, int]:
    """Table -> rows removed, in every generation; nothing of them stays in the database's file."""
    made = select(decisions.c.decision_id).where(decisions.c.subject == customer_id)
    removed: dict[str, int] = {}
    with store.writing() as connection:
        outcomes = delete(decision_outcomes).where(decision_outcomes.c.decision_id.in_(made))
        removed["decision_outcomes"] = connection.execute(outcomes).rowcount
        for name, table in BY_SUBJECT.items():
            removed[name] = connection.execute(delete(table).where(table.c.subject == customer_id)).rowcount
        for name, table in HELD.items():
            removed[name] = connection.execute(delete(table).where(table.c.customer_id == customer_id)).rowcount
        removed["shown_recommendations"] = connection.execute(_nobody(customer_id)).rowcount  # needs the identities
        for name, query in _visits(customer_id).items():
            removed[name] = connection.execute(delete(VISITS[name]).where(query)).rowcount
        removed["changes"] = connection.execute(delete(changes).where(_told(customer_id))).rowcount
        _mark(connection)
    _scrub(store)
    return {name: count for name, count in removed.items() if count}


def last_forgotten(store: Store) -> str | None:
    """A mark that is another one whenever a customer was forgotten, for who remembers visitors; None where nobody ever was."""
    with store.reading() as connection:
        return connection.execute(select(state.c.value).where(state.c.name == FORGOTTEN)).scalar()


def held_in_store(store: Store, customer_id: str) -> dict[str, list[dict[str, Any]]]:
    """Every row the store holds of a customer, by table."""
    wanted = {name: select(table).where(table.c.customer_id == customer_id) for name, table in HELD.items()}
    wanted |= {name: select(table).where(table.c.subject == customer_id) for name, table in BY_SUBJECT.items()}
    wanted |= {name: select(VISITS[name]).where(query) for name, query in _visits(customer_id).items()}
    wanted["shown_recommendations"] = select(shown_recommendations).where(_shown_to(customer_id))
    wanted["changes"] = select(changes).where(_told(customer_id))
    with store.reading() as connection:
        found = {name: connection.execute(query).mappings().all() for name, query in wanted.items()}
    return {name: [dict(row) for row in rows] for name, rows in found.items() if rows}


def known_visitors(store: Store, customer_id: str) -> list[str]:
    """The anonymous ids that turned out to be a customer's."""
    with store.reading() as connection:
        return list(connection.execute(_known_as(customer_id)).scalars())


def _shown_to(customer_id: str) -> ColumnElement[bool]:
    shown = shown_recommendations.c
    return (shown.customer_id == customer_id) | shown.anonymous_id.in_(_known_as(customer_id))


def _nobody(customer_id: str) -> Update:
    """What was shown stays, as shown to nobody, so that reports keep their sums."""
    names = ("customer_id", "anonymous_id", "session_id")
    return update(shown_recommendations).where(_shown_to(customer_id)).values(dict.fromkeys(names, null()))


def _known_as(customer_id: str) -> Select[tuple[str]]:
    return select(identities.c.anonymous_id).where(identities.c.customer_id == customer_id)


def _visits(customer_id: str) -> dict[str, ColumnElement[bool]]:
    """The events of a customer, and of the visitors who turned out to be them; then who those visitors were."""
    theirs = (events.c.customer_id == customer_id) | events.c.anonymous_id.in_(_known_as(customer_id))
    return {"events": theirs, "identities": identities.c.customer_id == customer_id}


def _told(customer_id: str) -> ColumnElement[bool]:
    return (changes.c.table_name == "customers") & (changes.c.row_key == customer_id)


def _mark(connection: Connection) -> None:
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    fresh = dialect.insert(state).values(name=FORGOTTEN, value=uuid4().hex)
    connection.execute(fresh.on_conflict_do_update(index_elements=["name"], set_={"value": fresh.excluded.value}))


def _scrub(store: Store) -> None:
    """Deleted rows are overwritten (SQLite's secure_delete is on) or vacuumed; SQLite's log is emptied."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if store.is_sqlite:
            connection.execute(text("pragma wal_checkpoint(truncate)"))
            return
        for table in (*HELD, *BY_SUBJECT, *VISITS, "changes", "decision_outcomes", "shown_recommendations"):
            connection.execute(text(f"vacuum (full) {table}"))
