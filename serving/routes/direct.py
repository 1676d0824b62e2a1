"""Routes that read a request by themselves: FastAPI describes them by their signature; resolving it took longer than answering."""

from collections.abc import Awaitable, Callable, Coroutine
from inspect import iscoroutinefunction
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import orjson
from fastapi import Request, Response, params
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

Read = Callable[[Request], Awaitable[Any]]


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
    lists = {name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}

    async def read(request: Request) -> BaseModel:
        said: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
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
