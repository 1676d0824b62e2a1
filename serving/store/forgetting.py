"""Removing and handing over what the store holds of one customer."""

from typing import Any

from sqlalchemy import delete, select, text

from serving.store.database import Store
from serving.store.schema import decision_outcomes, decisions, held_decisions, histories, profiles

HELD = {"profiles": profiles, "histories": histories}
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
    _scrub(store)
    return {name: count for name, count in removed.items() if count}


def held_in_store(store: Store, customer_id: str) -> dict[str, list[dict[str, Any]]]:
    """Every row the store holds of a customer, by table."""
    wanted = {name: select(table).where(table.c.customer_id == customer_id) for name, table in HELD.items()}
    wanted |= {name: select(table).where(table.c.subject == customer_id) for name, table in BY_SUBJECT.items()}
    with store.reading() as connection:
        found = {name: connection.execute(query).mappings().all() for name, query in wanted.items()}
    return {name: [dict(row) for row in rows] for name, rows in found.items() if rows}


def _scrub(store: Store) -> None:
    """Deleted rows are overwritten (SQLite's secure_delete is on) or vacuumed; SQLite's log is emptied."""
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if store.is_sqlite:
            connection.execute(text("pragma wal_checkpoint(truncate)"))
            return
        for table in (*HELD, *BY_SUBJECT, "decision_outcomes"):
            connection.execute(text(f"vacuum (full) {table}"))
