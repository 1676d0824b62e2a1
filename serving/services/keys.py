"""Keys that programs ask with: made once, shown once, kept as a hash."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from regulars.errors import DataError
from serving.store.database import Store
from serving.store.keys import KeyRow, add_key, all_keys, by_hash, key_in, mark_revoked
from serving.store.prepared import Asked, Found, rows_of_each

SCOPES = ("storefront", "events", "lists", "models", "admin")
PREFIX = "rg"
_ORIGIN = re.compile(r"https?://[^/\s?#]+")


@dataclass(frozen=True)
class NewKey:
    """A key just made; ``key`` itself is not kept anywhere."""

    key: str
    key_id: str
    scope: str


def create_key(store: Store, *, scope: str, label: str, now: datetime, origins: Sequence[str] = ()) -> NewKey:
    """A new valid key of ``scope``; ``origins`` bind a storefront's key to web pages from there.

    Raises:
        DataError: where there is no such scope, or an origin is none.
    """
    if scope not in SCOPES:
        raise DataError(f"a key's scope is one of {', '.join(SCOPES)}, got {scope!r}")
    if origins and scope != "storefront":
        raise DataError(f"only a storefront key is bound to origins, got {', '.join(origins)} for scope {scope}")
    for origin in origins:
        if not _ORIGIN.fullmatch(origin):
            raise DataError(f"an origin is such as https://shop.example, without a path, got {origin!r}")
    key = f"{PREFIX}_{scope}_{secrets.token_urlsafe(32)}"
    key_id = f"key_{secrets.token_hex(6)}"
    add_key(store, key_hash=_hash(key), key_id=key_id, scope=scope, label=label, origins=origins, created_at=now)
    return NewKey(key, key_id, scope)


def list_keys(store: Store) -> list[KeyRow]:
    """Every key ever made, oldest first, without the keys themselves."""
    return all_keys(store)


def revoke_key(store: Store, *, key_id: str, now: datetime) -> None:
    """Make a key invalid from now on; a key revoked before stays as it is.

    Raises:
        DataError: where there is no such key.
    """
    if not mark_revoked(store, key_id=key_id, revoked_at=now):
        raise DataError(f"there is no key {key_id}; `regulars keys list` shows all")


def key_asked(key: str) -> Asked:
    """What finds the key that ``key`` is, by its hash, so that comparing takes equally long for all; see ``valid_key_in``."""
    return by_hash(_hash(key))


def valid_key_in(found: Found) -> KeyRow | None:
    """The valid key that ``key_asked`` found, or None."""
    row = key_in(found)
    return row if row is not None and row.revoked_at is None else None


def valid_key(store: Store, key: str) -> KeyRow | None:
    """The valid key that ``key`` is, or None."""
    return valid_key_in(rows_of_each(store, key_asked(key))[0])


def _hash(key: str) -> str:
    """Keys are random and long, so a plain hash gives nothing to guess."""
    return hashlib.sha256(key.encode()).hexdigest()
