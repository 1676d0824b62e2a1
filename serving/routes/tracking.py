"""Events in: Segment's HTTP tracking API, so that its client libraries work with only the host set."""

import zlib
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import orjson
from fastapi import APIRouter, Depends, Header, Request, Response, Security

from serving.access import BEARER, Worker, header_key, live_of, pending
from serving.live import Live
from serving.metrics import EVENTS, labelled
from serving.problems import Problem, describe
from serving.routes.direct import Direct
from serving.routes.durable import durable
from serving.services.tracking import Refused, Sender, read_event
from serving.store.events import EventRow, add_events
from serving.store.writer import Overloaded, Rows

router = APIRouter(prefix="/v1", tags=["events"], route_class=Direct)

LARGEST_BATCH = 500 * 1024
MOST_EVENTS = 2_500
SENDERS = ("storefront", "events")
EXAMPLE = {
    "success": False,
    "events": [
        {"messageId": "ajs-1", "status": "accepted"},
        {"messageId": "ajs-1", "status": "duplicate"},
        {"messageId": "ajs-2", "status": "rejected", "reason": "event: a track call needs the event's name"},
    ],
}
TRACK_EXAMPLE = {
    "type": "track",
    "event": "Product Viewed",
    "anonymousId": "visitor-1",
    "messageId": "ajs-1",
    "timestamp": "2024-05-01T10:00:00Z",
    "properties": {"product_id": "1082185"},
}
SHORT = {"track": "t", "identify": "i", "page": "p", "screen": "s", "group": "g", "alias": "a"}


Authorization = Annotated[str | None, Header(include_in_schema=False)]


class Sent:
    """A dependency: the JSON object that was sent, whatever its media type says: browsers send beacons as text."""

    async def __call__(
        self,
        request: Request,
        authorization: Authorization = None,
        content_encoding: Annotated[str | None, Header()] = None,
    ) -> dict[str, Any]:
        """``of``, with what the documentation says of it."""
        return await self.of(request)

    async def of(self, request: Request) -> dict[str, Any]:
        """What was sent with ``request``, read once."""
        if not hasattr(request.state, "sent"):
            request.state.sent = await self._read(request)
        sent: dict[str, Any] = request.state.sent
        return sent

    async def _read(self, request: Request) -> dict[str, Any]:
        try:
            return await _read_body(request, request.headers.get("content-encoding", ""))
        except Problem as problem:
            if header_key(request.headers.get("authorization")) is None:  # the key could have been in it
                raise Problem(401, "a key is expected: Authorization: Bearer KEY, or writeKey in the body") from problem
            raise


async def _read_body(request: Request, encoding: str) -> dict[str, Any]:
    packed = bytearray()
    async for part in request.stream():
        packed += part
        if len(packed) > LARGEST_BATCH:
            raise Problem(413, f"a request may have {LARGEST_BATCH // 1024} KB at most")
    raw = _unpacked(bytes(packed)) if encoding.lower() == "gzip" else bytes(packed)
    try:
        read = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"body: expected JSON, got something else: {error}") from error
    if not isinstance(read, dict):
        raise Problem(400, f"body: expected an object, got {type(read).__name__}")
    return read


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj(16 + zlib.MAX_WBITS)
    try:
        raw = unpacking.decompress(packed, LARGEST_BATCH + 1)
    except zlib.error as error:
        raise Problem(400, f"body: Content-Encoding is gzip, and this is not: {error}") from error
    if len(raw) > LARGEST_BATCH:
        raise Problem(413, f"a request may have {LARGEST_BATCH // 1024} KB at most, unpacked")
    if not unpacking.eof:
        raise Problem(400, "body: Content-Encoding is gzip, and the body ends too early")
    return raw


SENT = Sent()


class Sends:
    """A dependency: who sends; the key may stand in the body as ``writeKey``."""

    async def __call__(
        self,
        request: Request,
        _: Annotated[object, Security(BEARER)],
        authorization: Authorization = None,
        x_customer_token: Annotated[str | None, Header(description="For storefront keys: a JWT of the shop.")] = None,
    ) -> Sender:
        """``of``, with what the documentation says of it."""
        return await self.of(request)

    async def of(self, request: Request) -> Sender:
        """Who sends ``request``; raises Problem as ``caller_of``."""
        worker, body = await live_of(request), await SENT.of(request)
        written = body.get("writeKey")
        key = header_key(request.headers.get("authorization")) or (written if isinstance(written, str) else None)
        sender = pending(worker, request, key, scopes=SENDERS)
        try:
            (found,) = await worker.rows(sender.asked)
        except Overloaded as error:
            raise Problem(503, "too many send at once, try again", headers={"Retry-After": "1"}) from error
        caller = sender.caller(found)
        return Sender(trusted=caller.scope != "storefront", token_customer=caller.token_customer)


Body = Annotated[dict[str, Any], Depends(SENT)]
From = Annotated[Sender, Depends(Sends())]


def _documented(example: dict[str, Any]) -> dict[str, Any]:
    """What the generated documentation says of a body that is read by hand."""
    content = {"application/json": {"schema": {"type": "object"}, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


RESPONSES = {200: {"content": {"application/json": {"example": EXAMPLE}}}} | describe(400, 401, 403, 413, 429, 503)


@router.post(
    "/batch",
    summary="Many events at once",
    responses=RESPONSES,
    openapi_extra=_documented({"batch": [TRACK_EXAMPLE]}),
)
@router.post("/b", include_in_schema=False)
async def batch(worker: Worker, sender: From, body: Body) -> Response:
    """The good events of a batch are kept; the answer says of each what became of it. Accepted means durable."""
    listed = body.get("batch")
    if not isinstance(listed, list) or len(listed) > MOST_EVENTS:
        raise Problem(400, f"body.batch: expected a list of {MOST_EVENTS:,} events at most")
    return await _take(worker, sender, listed, call=None)


def _one(call: str) -> Any:
    async def take(worker: Worker, sender: From, body: Body) -> Response:
        """Accepted means durable."""
        return await _take(worker, sender, [body], call=call)

    take.__name__ = call
    return take


for _call, _letter in SHORT.items():
    _said = {"summary": f"Segment's {_call} call", "responses": RESPONSES}
    _example = TRACK_EXAMPLE if _call == "track" else {"userId": "1", "anonymousId": "visitor-1", "messageId": "ajs-3"}
    router.post(f"/{_call}", openapi_extra=_documented(_example), **_said)(_one(_call))
    router.post(f"/{_letter}", include_in_schema=False)(_one(_call))


async def _take(worker: Live, sender: Sender, listed: Sequence[Any], *, call: str | None) -> Response:
    now = worker.now()
    read = [_read(raw, call, sender, now, worker.zone) for raw in listed]
    rows = [row for row in read if isinstance(row, EventRow)]
    kept = await durable(worker, Rows(add_events, rows), what="events") if rows else []
    added = iter(kept)
    events: list[dict[str, Any]] = []
    for raw, row in zip(listed, read, strict=True):
        if isinstance(row, EventRow):
            events.append({"messageId": row.message_id, "status": "accepted" if next(added) else "duplicate"})
        else:
            told = raw.get("messageId") if isinstance(raw, dict) else None
            events.append({"messageId": told, "status": "rejected", "reason": row})
    for status, times in Counter(event["status"] for event in events).items():
        labelled(EVENTS, status).inc(times)
    told = {"success": all(event["status"] != "rejected" for event in events), "events": events}
    return Response(orjson.dumps(told), media_type="application/json")


def _read(raw: Any, call: str | None, sender: Sender, now: datetime, zone: ZoneInfo) -> EventRow | str:
    """The row of an event, or why it is refused."""
    try:
        return read_event(raw, call=call, sender=sender, received_at=now, zone=zone)
    except Refused as reason:
        return str(reason)
