"""Errors as RFC 9457 problem documents."""

import logging
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from regulars.errors import DataError, ModelMissing, StoreError

MEDIA_TYPE = "application/problem+json"

log = logging.getLogger(__name__)


class Place(BaseModel):
    """One wrong place of a request."""

    place: str = Field(examples=["query.limit"])
    detail: str = Field(examples=["Input should be less than or equal to 100"])


class ProblemDocument(BaseModel):
    """What every error answers (RFC 9457)."""

    type: str = Field(default="about:blank", examples=["about:blank"])
    title: str = Field(examples=["Unprocessable Content"])
    status: int = Field(examples=[422])
    detail: str = Field(examples=["query.limit: Input should be less than or equal to 100"])
    errors: list[Place] | None = None


class Problem(Exception):  # RFC 9457's word
    """An error that the caller is told as it is."""

    def __init__(self, status: int, detail: str, *, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers


def describe(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's ``responses``: the statuses beside 200 that it may answer."""
    return {
        status: {
            "model": ProblemDocument,
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {}},
        }
        for status in statuses
    }


def add_problem_handlers(
    app: FastAPI, *, away: Iterable[type[Exception]] = (), values: Iterable[type[Exception]] = ()
) -> None:
    """Make every error of ``app`` a problem document. By those in ``away`` a database says that it may be tried again, by those in
    ``values`` that it can hold no such value."""
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DataError, _data)
    app.add_exception_handler(StoreError, _not_ready)
    app.add_exception_handler(ModelMissing, _not_ready)
    for kind in away:
        app.add_exception_handler(kind, _away)
    for kind in values:
        app.add_exception_handler(kind, _no_value)
    app.add_exception_handler(Exception, _unexpected)


def document(
    status: int, detail: str, *, errors: Sequence[Place] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    """The response for an error."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
    }
    if errors:
        body["errors"] = [error.model_dump() for error in errors]
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def _problem(_: Request, error: Any) -> JSONResponse:
    return document(error.status, error.detail, headers=error.headers)


def _http(request: Request, error: Any) -> JSONResponse:
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND and detail == HTTPStatus.NOT_FOUND.phrase:
        detail = f"there is nothing at {request.url.path}; all calls are described at /docs"
    return document(error.status_code, detail, headers=error.headers)


def _invalid(_: Request, error: Any) -> JSONResponse:
    places = [
        Place(place=".".join(str(part) for part in found["loc"]), detail=str(found["msg"])) for found in error.errors()
    ]
    said = "; ".join(f"{place.place}: {place.detail}" for place in places)
    return document(HTTPStatus.UNPROCESSABLE_ENTITY, said, errors=places)


def _data(_: Request, error: Exception) -> JSONResponse:
    return document(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))


def _not_ready(_: Request, error: Exception) -> JSONResponse:
    return document(HTTPStatus.SERVICE_UNAVAILABLE, str(error), headers={"Retry-After": "5"})


def _away(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed: %s", request.method, request.url.path, " ".join(str(error).split()))
    detail = "the database does not answer now; try again"
    return document(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": "2"})


def _no_value(_: Request, error: Exception) -> JSONResponse:
    detail = "a value holds what no text in the database may, such as the character U+0000"
    return document(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return document(HTTPStatus.INTERNAL_SERVER_ERROR, "something went wrong here; the service's log says what")
