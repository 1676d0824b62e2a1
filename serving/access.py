"""Who asks: the scope of their key, and for storefronts which customer they may speak of."""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated

import jwt
from fastapi import Depends, Header, Request, Security
from fastapi.security import HTTPBearer

from serving.live import Live
from serving.problems import Problem
from serving.services.keys import key_asked, valid_key, valid_key_in
from serving.store.keys import KeyRow
from serving.store.prepared import Asked, Found

LONGEST_TOKEN_S = 3_600
# for the documentation's button only: a key may come in other ways, and what is wrong with it is said below
BEARER = HTTPBearer(auto_error=False, scheme_name="Key", description="A key of `regulars keys create`.")
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="regulars"'}


async def live_of(request: Request) -> Live:
    """The worker's state; async, since what does not wait needs no thread."""
    found: Live = request.app.state.live
    return found


Worker = Annotated[Live, Depends(live_of)]


@dataclass(frozen=True)
class Caller:
    """The scope of the key, and the customer whose valid token came along."""

    scope: str
    token_customer: str | None = None

    def check_customer(self, customer_id: str | None) -> None:
        """Raises Problem 403 where a storefront speaks of a customer without that customer's token."""
        if self.scope == "storefront" and customer_id is not None and customer_id != self.token_customer:
            raise Problem(
                403,
                "a storefront key may ask about an anonymous_id, or about the customer whose X-Customer-Token it sends",
            )


@dataclass(frozen=True)
class Allow:
    """A dependency that lets keys of ``scopes``, and ``admin``, in."""

    scopes: tuple[str, ...]

    async def __call__(
        self,
        request: Request,
        _: Annotated[object, Security(BEARER)],
        x_customer_token: Annotated[str | None, Header(description="For storefront keys: a JWT of the shop.")] = None,
    ) -> Caller:
        """``of``, with what the documentation says of it."""
        return await self.of(request)

    async def of(self, request: Request) -> Caller:
        """Who sends ``request``; raises Problem as ``caller_of``."""
        worker = await live_of(request)
        return await worker.look(partial(self.found, request))

    def found(self, request: Request) -> Caller:
        """The same, for a thread that may wait for the store."""
        worker: Live = request.app.state.live
        key, token = _header_key(request), _header(request, b"x-customer-token")
        return caller_of(worker, request, key, scopes=self.scopes, token=token)


@dataclass(frozen=True)
class Pending:
    """Who sends a request, for an endpoint that looks that up together with what it needs beside."""

    worker: Live
    request: Request
    scopes: tuple[str, ...]
    asked: Asked

    def caller(self, found: Found) -> Caller:
        """Who it is by what ``asked`` found; raises Problem as ``caller_of``."""
        token = _header(self.request, b"x-customer-token")
        return _caller(self.worker, self.request, valid_key_in(found), scopes=self.scopes, token=token)


def pending(worker: Live, request: Request, key: str | None, *, scopes: tuple[str, ...]) -> Pending:
    """Who sends ``request`` with ``key``, not looked up yet; raises Problem 401 without a key and 429 as ``caller_of``."""
    return Pending(worker, request, scopes, key_asked(_key_of(worker, request, key)))


class AllowLater(Allow):
    """The same for an endpoint that takes a ``Pending``."""

    async def of(self, request: Request) -> Pending:  # type: ignore[override]
        """Who sends ``request``, not looked up yet; raises Problem 401 without a key and 429 as ``caller_of``."""
        return pending(await live_of(request), request, _header_key(request), scopes=self.scopes)


def allow_later(*scopes: str) -> AllowLater:
    """``allow`` for an endpoint that finds out by itself who asks."""
    return AllowLater(scopes)


def allow(*scopes: str) -> Allow:
    """The dependency that lets keys of ``scopes``, and ``admin``, in."""
    return Allow(scopes)


def caller_of(
    worker: Live, request: Request, key: str | None, *, scopes: Sequence[str], token: str | None = None
) -> Caller:
    """Who asks with ``key``, where keys of ``scopes`` and ``admin`` are let in.

    Raises:
        Problem: 401 without a valid key or with a wrong token, 403 where the key's scope or origin does not fit, 429 where
            the address or the key asked too often.
    """
    row = valid_key(worker.store, _key_of(worker, request, key))
    return _caller(worker, request, row, scopes=scopes, token=token)


def _key_of(worker: Live, request: Request, key: str | None) -> str:
    _not_too_often(worker.per_address.wait((request.scope.get("client") or ("",))[0]), "this address")
    if key is None:
        raise Problem(401, "a key is expected: Authorization: Bearer KEY", headers=CHALLENGE)
    return key


def _caller(worker: Live, request: Request, row: KeyRow | None, *, scopes: Sequence[str], token: str | None) -> Caller:
    if row is None:
        raise Problem(401, "the key is not valid", headers=CHALLENGE)
    _not_too_often(worker.per_key.wait(row.key_id), "this key")
    if row.scope not in (*scopes, "admin"):
        raise Problem(403, f"a key of scope {row.scope} may not do this; it needs {' or '.join((*scopes, 'admin'))}")
    origin = _header(request, b"origin")
    if row.origins and origin is not None and origin not in row.origins:
        raise Problem(403, f"this key may not be used from {origin}")
    return Caller(row.scope, _customer(token, worker.settings.token_secret, worker.now()))


def _not_too_often(wait_s: int, who: str) -> None:
    if wait_s:
        raise Problem(429, f"{who} asks too often, again in {wait_s} s", headers={"Retry-After": str(wait_s)})


def _header_key(request: Request) -> str | None:
    return header_key(_header(request, b"authorization"))


def _header(request: Request, name: bytes) -> str | None:
    """What the header ``name`` (small letters) says; Starlette's way takes several times as long where there is none."""
    return next((value.decode("latin-1") for key, value in request.scope["headers"] if key == name), None)


def header_key(authorization: str | None) -> str | None:
    """The key of ``Bearer KEY``, or the user name of HTTP Basic, as Segment's libraries send it."""
    kind, _, rest = (authorization or "").partition(" ")
    if kind.lower() == "bearer" and rest.strip():
        return rest.strip()
    if kind.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[0] or None
        except (binascii.Error, UnicodeDecodeError):
            return None
    return None


def _customer(token: str | None, secret: str | None, now: datetime) -> str | None:
    """The customer that a JWT names; one that lasts longer than an hour would be as good as a password in a page."""
    if token is None:
        return None
    if secret is None:
        raise Problem(401, "X-Customer-Token cannot be checked: REGULARS_TOKEN_SECRET is not set")
    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], options={"require": ["exp", "sub"]})
    except jwt.PyJWTError as error:
        raise Problem(401, f"X-Customer-Token is not valid: {error}", headers=CHALLENGE) from error
    if claims["exp"] > now.timestamp() + LONGEST_TOKEN_S:
        raise Problem(401, "X-Customer-Token is not valid: it must expire within an hour", headers=CHALLENGE)
    return str(claims["sub"])
