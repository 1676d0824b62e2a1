"""Routes that read a request by themselves: FastAPI describes them by their signature; resolving it took longer than answering."""

from collections.abc import Awaitable, Callable, Coroutine
from inspect import iscoroutinefunction
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from fastapi import Request, Response, params
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

Read = Callable[[Request], Awaitable[Any]]


class Direct(APIRoute):
    """A route for endpoints of the worker, the caller, strings of the path and a model of the query, in that order.

    What it answers, errors too, is what a plain route would; with a body it is a plain route.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        if self.body_field is not None:
            return super().get_route_handler()
        hints = get_type_hints(self.endpoint, include_extras=True)
        reads = {name: _read(name, hint) for name, hint in hints.items() if name != "return"}
        endpoint, waits = self.endpoint, iscoroutinefunction(self.endpoint)

        async def handle(request: Request) -> Response:
            said = {name: await read(request) for name, read in reads.items()}
            return await endpoint(**said) if waits else await run_in_threadpool(endpoint, **said)

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
    raise TypeError(f"expected a dependency, a model of the query or a string of the path, got {name}: {hint}")


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
