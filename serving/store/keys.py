"""Rows of the table ``keys``."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, insert, select, update

from serving.store.database import Store
from serving.store.prepared import Asked, Found, Prepared
from serving.store.schema import keys


@dataclass(frozen=True)
class KeyRow:
    """What is kept of a key; ``key_id`` names it without giving it away."""

    key_id: str
    scope: str
    label: str
    origins: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


_COLUMNS = (keys.c.key_id, keys.c.scope, keys.c.label, keys.c.origins, keys.c.created_at, keys.c.revoked_at)
_BY_HASH = Prepared(select(*_COLUMNS).where(keys.c.key_hash == bindparam("key_hash")))


def add_key(
    store: Store, *, key_hash: str, key_id: str, scope: str, label: str, origins: Sequence[str], created_at: datetime
) -> None:
    row = {"key_hash": key_hash, "key_id": key_id, "scope": scope, "label": label, "created_at": created_at}
    row["origins"] = json.dumps(list(origins))
    with store.writing() as connection:
        connection.execute(insert(keys), row)


def by_hash(key_hash: str) -> Asked:
    """What finds the key with that hash, to be read by ``key_in``."""
    return _BY_HASH, {"key_hash": key_hash}


def key_in(found: Found) -> KeyRow | None:
    """The key that ``by_hash`` found, revoked or not, or None."""
    return _read(found[0]) if found else None


def all_keys(store: Store) -> list[KeyRow]:
    """Every key ever made, oldest first."""
    with store.reading() as connection:
        rows = connection.execute(select(*_COLUMNS).order_by(keys.c.created_at, keys.c.key_id)).all()
    return [_read(row) for row in rows]


def mark_revoked(store: Store, *, key_id: str, revoked_at: datetime) -> bool:
    """Whether there is such a key; one revoked before keeps its moment."""
    valid = (keys.c.key_id == key_id) & keys.c.revoked_at.is_(None)
    with store.writing() as connection:
        connection.execute(update(keys).where(valid).values(revoked_at=revoked_at))
        return connection.execute(select(keys.c.key_id).where(keys.c.key_id == key_id)).first() is not None


@lru_cache
def _read(row: Sequence[Any]) -> KeyRow:
    key_id, scope, label, origins, created_at, revoked_at = row
    return KeyRow(key_id, scope, label, tuple(json.loads(origins)), created_at, revoked_at)
