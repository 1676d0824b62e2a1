"""Routes that read a request by themselves: FastAPI describes them by their signature; resolving it took longer than answering."""

import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from inspect import isawaitable, iscoroutinefunction
from typing import Annotated, Any, cast, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Request, Response, params
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.middleware.cors import CORSMiddleware

from serving.limits import limited, too_large
from serving.metrics import count_request
from serving.services.remembered import Remembered

Read = Callable[[Request], Awaitable[Any]]
Handle = Callable[[Request], Awaitable[Response]]

MOST_READ, LONGEST_READ = 4_000, 256  # queries that are remembered, and characters of each
HANDLE = "regulars.handle"  # in the scope of a request: what answers it


class Json(Response):
    """A body that is JSON already, and nothing else to say."""

    media_type = "application/json"

    def init_headers(self, headers: Any = None) -> None:
        """The two that there are; Starlette's way looks for more."""
        length = str(len(self.body)).encode()
        self.raw_headers = [(b"content-length", length), (b"content-type", b"application/json")]


class _NotRead(Exception):
    """A body is not JSON, or not what the model asks for."""


class Direct(APIRoute):
    """A route for endpoints of the worker, the caller, strings of the path, a model of the query and one of the body.

    What it answers, errors too, is what a plain route would: whoever sends a body that cannot be read is answered by one.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        plain = super().get_route_handler()
        hints = get_type_hints(self.endpoint, include_extras=True)
        reads = {name: _read(name, hint) for name, hint in hints.items() if name != "return"}
        if self.body_field is not None:  # first, so that a plain route has the whole request where it is not read
            body = self.body_field.name
            reads = {body: reads.pop(body), **reads}
        endpoint, waits = self.endpoint, iscoroutinefunction(self.endpoint)
        # who asks is looked up in the thread that answers, where there is one: each way to a thread and back takes time
        found = {} if waits else {name: look for name, hint in hints.items() if (look := _found(hint)) is not None}
        reads = {name: read for name, read in reads.items() if name not in found}

        def answer(request: Request, said: dict[str, Any]) -> Response:
            response: Response = endpoint(**said, **{name: look(request) for name, look in found.items()})
            return response

        async def handle(request: Request) -> Response:
            try:
                said = {name: await read(request) for name, read in reads.items()}
            except _NotRead:
                return await plain(request)
            return await endpoint(**said) if waits else await run_in_threadpool(answer, request, said)

        return handle


class Straight:
    """An ASGI application before a FastAPI ``app``: answers by itself where the path of one of ``routers``' routes is fixed.

    Such a route is found by a look instead of a search, and asked without the layers between: it does by itself what those of this
    service do. They limit what may come (see ``Sizes``), allow other origins by ``cors`` (what Starlette's ``CORSMiddleware``
    takes; None: no other origin), and count (see ``Measured``). What it answers, errors too, is what ``app`` would. A plain route
    would read what it cannot (see ``Direct``), so those with a body of a model are left to ``app``.
    """

    def __init__(self, app: Any, *, routers: Iterable[APIRouter], cors: dict[str, Any] | None = None) -> None:
        routes = (route for router in routers for route in router.routes if isinstance(route, Direct))
        self._app = app
        self._elsewhere = self._answer if cors is None else CORSMiddleware(self._answer, **cors)
        self._here = [] if cors is None else [(b"vary", b"Origin")]  # what that says to who names no origin
        self._found: dict[tuple[str, str], tuple[Direct, Handle]] = {
            (method, route.path): (route, route.get_route_handler())
            for route in routes
            if route.body_field is None and not route.param_convertors
            for method in route.methods
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        found = None
        if scope["type"] == "http" and not scope.get("root_path"):
            found = self._found.get((scope["method"], scope["path"]))
        if found is None or too_large(scope) is not None:
            await self._app(scope, receive, send)
            return
        scope["route"], scope[HANDLE] = found
        if any(name == b"origin" for name, _ in scope["headers"]):
            await self._elsewhere(scope, receive, send)
        else:
            await self._answer(scope, receive, send, self._here)

    async def _answer(self, scope: Any, receive: Any, send: Any, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Answer with ``more`` headers."""
        began, status = time.perf_counter(), 500
        try:
            request = Request(scope, limited(receive), send)
            try:
                response = await scope[HANDLE](request)
            except Exception as error:
                response = await _handled(request, error)
            status = response.status_code
            response.raw_headers += more
            await response(scope, receive, send)
        finally:
            count_request(scope, status, time.perf_counter() - began)


async def _handled(request: Request, error: Exception) -> Response:
    """What the application says of ``error``; raises it again where it says nothing."""
    handlers = request.app.exception_handlers
    handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    if handler is None:
        raise error
    response = handler(request, error)
    return cast(Response, await response if isawaitable(response) else response)


def _read(name: str, hint: Any) -> Read:
    """How the parameter ``name`` is read from a request."""
    kind, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    for note in notes:
        if isinstance(note, params.Depends):
            return getattr(note.dependency, "of", note.dependency)
        if isinstance(note, params.Query):
            return _query(kind)
    if kind is str:
        return _path(name)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return _body(kind)
    raise TypeError(f"expected a dependency, a model or a string of the path, got {name}: {hint}")


def _found(hint: Any) -> Callable[[Request], Any] | None:
    """How a dependency is found by a thread that may wait for the store; None for what is no such dependency."""
    notes = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    found = (getattr(note.dependency, "found", None) for note in notes if isinstance(note, params.Depends))
    return next(found, None)


def _path(name: str) -> Read:
    async def read(request: Request) -> str:
        return str(request.path_params[name])

    return read


def _query(model: type[BaseModel]) -> Read:
    """What was read is remembered for a while, since the same is asked again: whoever takes it must not change it."""
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    known = Remembered[BaseModel](most=MOST_READ)

    async def read(request: Request) -> BaseModel:
        query = request.scope["query_string"]
        found = known.get(query, state=None)
        if found is None:
            found = parsed(query)
            if len(query) <= LONGEST_READ:
                known.put(query, found, state=None)
        return found

    def parsed(query: bytes) -> BaseModel:
        said: dict[str, Any] = {}
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            if name in lists:
                said.setdefault(name, []).append(value)
            else:
                said[name] = value
        try:
            return model.model_validate(said)
        except ValidationError as error:
            found = [{**told, "loc": ("query", *told["loc"])} for told in error.errors(include_url=False)]
            raise RequestValidationError(found) from error

    return read


def _body(model: type[BaseModel]) -> Read:
    async def read(request: Request) -> BaseModel:
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise _NotRead
        try:
            return model.model_validate(orjson.loads(await request.body()))
        except (orjson.JSONDecodeError, ValidationError) as error:
            raise _NotRead from error

    return read
