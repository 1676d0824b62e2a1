"""The shop's rules about products, each a JSON text under its name."""

from sqlalchemy import delete, insert, select

from serving.store.database import Store
from serving.store.schema import product_rules


def put_rule(store: Store, name: str, rule: str) -> None:
    """Keep ``rule`` under ``name``, in place of what was there."""
    with store.writing() as connection:
        connection.execute(delete(product_rules).where(product_rules.c.name == name))
        connection.execute(insert(product_rules), {"name": name, "rule": rule})


def all_rules(store: Store) -> dict[str, str]:
    """Name -> rule, by name."""
    with store.reading() as connection:
        rows = connection.execute(select(product_rules).order_by(product_rules.c.name)).all()
    return {row.name: row.rule for row in rows}


def remove_rule(store: Store, name: str) -> bool:
    """Whether there was such a rule."""
    with store.writing() as connection:
        return connection.execute(delete(product_rules).where(product_rules.c.name == name)).rowcount == 1
