"""How much one key, one address and one request may ask of a worker."""

import json
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from http import HTTPStatus
from threading import Lock
from typing import Any

from starlette.exceptions import HTTPException

from serving.problems import MEDIA_TYPE

BURST_S = 2.0
MOST_REMEMBERED = 100_000
LARGEST_BODY = 4 * 1024 * 1024
LONGEST_QUERY = 32 * 1024

Scope = dict[str, Any]


class Rate:
    """Token buckets by name: ``per_second`` requests each in the long run, two seconds' worth at once; 0: no limit.

    The 100,000 buckets used last are remembered; who is forgotten begins with a full one. ``clock`` gives seconds.
    """

    def __init__(self, per_second: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._clock = per_second, clock
        self._full = max(1.0, per_second * BURST_S)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def wait(self, name: str) -> int:
        """Take a token: 0 where there was one, else the whole seconds until there is."""
        if not self._rate:
            return 0
        now = self._clock()
        with self._lock:
            tokens, at = self._buckets.pop(name, (self._full, now))
            tokens = min(self._full, tokens + (now - at) * self._rate)
            left = tokens - 1 if tokens >= 1 else tokens
            self._buckets[name] = (left, now)
            if len(self._buckets) > MOST_REMEMBERED:
                self._buckets.popitem(last=False)
        return 0 if tokens >= 1 else math.ceil((1 - tokens) / self._rate)


class Sizes:
    """An ASGI application before another one: refuses bodies above 4 MB (413) and queries above 32 KB (414)."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        refused = too_large(scope) if scope["type"] == "http" else None
        if refused is None:
            await self._app(scope, limited(receive), send)
        else:
            await _refuse(send, *refused)


def too_large(scope: Scope) -> tuple[int, str] | None:
    """The status and the reason where a request is refused for what it says of itself."""
    if len(scope["query_string"]) > LONGEST_QUERY:
        return 414, f"a query may have {LONGEST_QUERY // 1024} KB at most"
    return (413, _TOO_LARGE) if _told_length(scope) > LARGEST_BODY else None


def limited(receive: Any) -> Any:
    """``receive``, which raises HTTPException 413 once too much came: a body need not tell its length."""
    taken = 0

    async def counted() -> Any:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > LARGEST_BODY:
            raise HTTPException(413, _TOO_LARGE)
        return message

    return counted


_TOO_LARGE = f"a request may have {LARGEST_BODY // 1024 // 1024} MB at most"


def _told_length(scope: Scope) -> int:
    told = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(told) if told.isdigit() else 0


async def _refuse(send: Any, status: int, detail: str) -> None:
    problem = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    body = json.dumps(problem).encode()
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
