"""The script that a shop's pages load."""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from serving.access import Worker, caller_of
from serving.problems import Problem, describe

router = APIRouter(tags=["page"])

SCRIPT = Path(__file__).parents[1] / "page" / "regulars.js"
KEPT_S = 3_600


@dataclass(frozen=True)
class Script:
    """The script as it is sent, plain and packed; ``etag`` changes with it."""

    plain: bytes
    packed: bytes
    etag: str


@router.get(
    "/regulars.js",
    summary="The script for a shop's pages",
    response_class=Response,
    responses={200: {"content": {"text/javascript": {}}}} | describe(401, 403, 429),
)
def regulars_js(
    worker: Worker, request: Request, key: Annotated[str | None, Query(description="A storefront key.")] = None
) -> Response:
    """`<script src=".../regulars.js?key=KEY" defer></script>`; it knows its key and its host by this address."""
    if caller_of(worker, request, key, scopes=("storefront",)).scope != "storefront":
        raise Problem(403, "only a storefront key may stand in a page; revoke this one, it can be read there")
    script = read_script()
    headers = {
        "ETag": script.etag,
        "Cache-Control": f"public, max-age={KEPT_S}",
        "Vary": "Accept-Encoding",
        "Cross-Origin-Resource-Policy": "cross-origin",
        "X-Content-Type-Options": "nosniff",
    }
    if script.etag in (tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")):
        return Response(status_code=304, headers=headers)
    packed = "gzip" in request.headers.get("accept-encoding", "")
    if packed:
        headers["Content-Encoding"] = "gzip"
    body = script.packed if packed else script.plain
    return Response(body, media_type="text/javascript; charset=utf-8", headers=headers)


@cache
def read_script() -> Script:
    """The script, read once."""
    plain = SCRIPT.read_bytes()
    return Script(plain, gzip.compress(plain, 9, mtime=0), f'"{hashlib.sha256(plain).hexdigest()[:32]}"')
