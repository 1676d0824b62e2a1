"""Routes that read a request by themselves answer what FastAPI's own would."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from regulars.errors import DataError, StoreError
from serving.app import CORS
from serving.limits import LARGEST_BODY, LONGEST_QUERY, Sizes
from serving.problems import Problem, add_problem_handlers
from serving.routes.direct import Direct, Straight
from serving.routes.recommendation_models import Asked

QUERIES = (
    "",
    "limit=7",
    "limit=0",
    "limit=x&price_min=nan&explore=1",
    "limit=",
    "limit=2&limit=3",
    "customer_id=",
    "customer_id=%C3%A4&country=DE",
    "product_id=tea&product_id=pot&exclude=axe",
    "product_id=",
    "available=no&diversity=0.5&price_max=3",
    "available=perhaps",
    "placement=attic&repeat=auto",
    "fields=name,price&fields=url",
    "colour=red&colour=blue",
    "&&=&limit",
)


BODIES = (
    ("application/json", b'{"limit": 7, "product_id": ["tea"], "placement": "cart"}'),
    ("application/json; charset=utf-8", '{"customer_id": "\u00e4", "brand": null}'.encode()),
    ("Application/JSON", b"{}"),
    ("application/json", b'{"limit": "3", "diversity": 1, "available": "no"}'),
    ("application/json", b'{"limit": 0, "placement": "attic"}'),
    ("application/json", b'{"colour": "red"}'),
    ("application/json", b'{"price_min": NaN}'),
    ("application/json", b'{"limit": 1, "limit": 2}'),
    ("application/json", b"[]"),
    ("application/json", b"{"),
    ("application/json", b"\xff"),
    ("application/json", b""),
    ("application/vnd.shop+json", b'{"limit": 2}'),
    ("text/plain", b'{"limit": 2}'),
    ("", b'{"limit": 2}'),
)


FAILURES = {
    "problem": Problem(429, "too often", headers={"Retry-After": "3"}),
    "http": HTTPException(413, "too large"),
    "lost": HTTPException(404),
    "data": DataError("wrong"),
    "store": StoreError("nothing is published"),
    "kind of data": type("Wrong", (DataError,), {})("wrong as well"),
    "unexpected": RuntimeError("nobody thought of this"),
}


class Failing(BaseModel):
    how: str


def app(route_class: type[APIRoute], *, straight: bool = False) -> FastAPI:
    made, router = FastAPI(), APIRouter(prefix="/v1", route_class=route_class)
    add_problem_handlers(made)

    @router.get("/products/{product_id}/beside", response_model=None)
    async def beside(product_id: str, asked: Annotated[Asked, Query()]) -> Response:
        return Response(f"{product_id} {asked.model_dump_json()}")

    @router.get("/in-a-thread", response_model=None)
    def in_a_thread(asked: Annotated[Asked, Query()]) -> Response:
        return Response(asked.model_dump_json())

    @router.post("/with-a-body", response_model=None)
    def with_a_body(asked: Asked) -> Response:
        return Response(asked.model_dump_json())

    @router.get("/fails/", response_model=None)
    async def fails(asked: Annotated[Failing, Query()]) -> Response:
        raise FAILURES[asked.how]

    if straight:
        made.add_middleware(Straight, routers=[router])
    made.include_router(router)
    return made


def answers(asked: FastAPI, paths: Sequence[str]) -> list[tuple[int, str, Any]]:
    async def ask() -> list[httpx.Response]:
        transport = httpx.ASGITransport(asked, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            return [await client.get(path) for path in paths]

    return [(found.status_code, found.headers.get("content-type", ""), found.text) for found in asyncio.run(ask())]


def posted(asked: FastAPI, kind: str, body: bytes) -> tuple[int, str, str]:
    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asked), base_url="http://shop") as client:
            return await client.post("/v1/with-a-body", content=body, headers={"content-type": kind} if kind else {})

    found = asyncio.run(ask())
    return found.status_code, found.headers.get("content-type", ""), found.text


@pytest.mark.parametrize(("kind", "body"), BODIES)
def test_a_body_is_answered_as_by_a_plain_route(kind: str, body: bytes) -> None:
    assert posted(app(Direct), kind, body) == posted(app(APIRoute), kind, body)


def test_a_body_of_json_is_read_without_the_plain_route(monkeypatch: pytest.MonkeyPatch) -> None:
    made = app(Direct)
    monkeypatch.setattr(Asked, "model_validate", lambda said: Asked(limit=said["limit"] + 1))
    assert '"limit":8' in posted(made, *BODIES[0])[2]


@pytest.mark.parametrize("path", ["/v1/products/a%20b/beside", "/v1/in-a-thread"])
def test_answers_and_errors_are_those_of_a_plain_route(path: str) -> None:
    paths = [f"{path}?{query}" for query in QUERIES]
    direct = answers(app(Direct), paths)
    assert direct == answers(app(APIRoute), paths)
    assert {status for status, _, _ in direct} == {200, 422}


def test_what_is_found_by_a_look_is_what_a_search_finds() -> None:
    paths = [f"/v1/in-a-thread?{query}" for query in QUERIES]
    paths += ["/v1/in-a-thread/", "/v1/nowhere", "/v1/with-a-body", "/v1/products/tea/beside"]
    straight = answers(app(Direct, straight=True), paths)
    assert straight == answers(app(APIRoute), paths)
    assert {status for status, _, _ in straight} == {200, 307, 404, 405, 422}
    for kind, body in BODIES:
        assert posted(app(Direct, straight=True), kind, body) == posted(app(APIRoute), kind, body)


def test_errors_are_those_of_a_plain_route() -> None:
    paths = [f"/v1/fails/?how={how.replace(' ', '%20')}" for how in FAILURES]
    straight = answers(app(Direct, straight=True), paths)
    assert straight == answers(app(APIRoute), paths)
    assert [status for status, _, _ in straight] == [429, 413, 404, 422, 503, 422, 500]


def test_only_fixed_paths_without_a_body_of_a_model_are_found_by_a_look() -> None:
    left: list[str] = []

    async def plain(scope: Any, receive: Any, send: Any) -> None:
        left.append(f"{scope['type']} {scope.get('root_path')}{scope.get('path')}")

    router = next(one.kwargs["routers"][0] for one in app(Direct, straight=True).user_middleware)
    straight = Straight(plain, routers=[router])
    assert set(straight._found) == {("GET", "/v1/in-a-thread"), ("GET", "/v1/fails/")}
    elsewhere = {"type": "http", "method": "GET", "path": "/v1/in-a-thread", "root_path": "/shop"}
    for scope in (elsewhere, {"type": "lifespan"}):
        asyncio.run(straight(scope, None, None))
    assert left == ["http /shop/v1/in-a-thread", "lifespan NoneNone"]


def test_who_comes_from_elsewhere_or_sends_too_much_is_answered_as_by_the_layers() -> None:
    def layered() -> FastAPI:
        made = app(APIRoute)
        made.add_middleware(Sizes)
        made.add_middleware(CORSMiddleware, **CORS)
        return made

    def straight() -> FastAPI:
        made = layered()
        routers = [one.kwargs["routers"][0] for one in app(Direct, straight=True).user_middleware]
        made.middleware_stack = Straight(made.build_middleware_stack(), routers=routers, cors=CORS)
        return made

    path, shop = "/v1/in-a-thread", {"origin": "https://shop.example"}
    asked = (
        ("GET", f"{path}?limit=3", {}),
        ("GET", f"{path}?limit=3", shop),
        ("GET", f"{path}?limit=0", shop),
        ("GET", f"{path}?limit=3", shop | {"cookie": "a=b"}),
        ("OPTIONS", path, shop | {"access-control-request-method": "GET"}),
        ("GET", f"{path}?country={'x' * LONGEST_QUERY}", {}),
        ("GET", f"{path}?limit=3", {"content-length": str(LARGEST_BODY + 1)}),
    )

    async def ask(made: FastAPI) -> list[tuple[int, str, dict[str, str]]]:
        transport = httpx.ASGITransport(made, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
            found = [await client.request(how, where, headers=more) for how, where, more in asked]
        return [(one.status_code, one.text, dict(one.headers)) for one in found]

    of_straight = asyncio.run(ask(straight()))
    assert of_straight == asyncio.run(ask(layered()))
    assert [status for status, _, _ in of_straight] == [200, 200, 422, 200, 200, 414, 413]
    assert of_straight[1][2]["access-control-allow-origin"] == "*"


def test_a_body_that_comes_in_parts_is_limited_as_well() -> None:
    router = APIRouter(route_class=Direct)

    @router.post("/take", response_model=None)
    async def take(request: Annotated[Request, Depends(whole)]) -> Response:
        return Response(str(len(await request.body())))

    made = FastAPI()
    add_problem_handlers(made)
    made.include_router(router)
    made.middleware_stack = Straight(made.build_middleware_stack(), routers=[router])

    async def parts() -> AsyncIterator[bytes]:
        for _ in range(LARGEST_BODY // 2**20 + 1):
            yield bytes(2**20)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(made), base_url="http://shop") as client:
            return await client.post("/take", content=parts())

    assert asyncio.run(ask()).status_code == 413


async def whole(request: Request) -> Request:
    await request.body()
    return request


def test_a_query_is_read_once_where_it_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    made, read = app(Direct, straight=True), list[Any]()
    validate = Asked.model_validate
    monkeypatch.setattr(Asked, "model_validate", lambda said: read.append(said) or validate(said))
    long = "x" * 300
    queries = ("limit=7", "limit=8", "limit=7", "limit=0", "limit=0", f"country={long}", f"country={long}")
    told = answers(made, [f"/v1/in-a-thread?{query}" for query in queries])
    assert told[0] == told[2] != told[1]
    assert [said.get("limit") for said in read] == ["7", "8", "0", "0", None, None]


def test_both_are_described_alike() -> None:
    assert app(Direct).openapi() == app(APIRoute).openapi() == app(Direct, straight=True).openapi()


def test_what_cannot_be_read_is_refused_when_it_is_declared() -> None:
    router = APIRouter(route_class=Direct)
    with pytest.raises(TypeError, match="limit"):

        @router.get("/")
        async def single(limit: int = 1) -> Response:
            return Response(str(limit))
