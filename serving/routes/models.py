"""Versions of the models, and which one is the champion."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from regulars.errors import DataError, ModelMissing
from serving.access import Caller, Worker, allow
from serving.champions import champions_folder
from serving.live import Live
from serving.problems import Problem, describe
from serving.services import models

router = APIRouter(prefix="/v1/models", tags=["models"])

Asker = Annotated[Caller, Depends(allow("models"))]
EXAMPLE = {
    "items": {
        "churn": [
            {
                "version": 3,
                "aliases": ["champion"],
                "as_of": "2024-06-01T00:00:00+00:00",
                "settings": {"horizon_days": 28, "lookback_days": 365, "seed": 0},
                "metrics": {"auc": 0.876, "ece": 0.017},
            }
        ]
    }
}


class Promotion(BaseModel):
    """Which version to make champion."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 4}]})

    version: int = Field(ge=1)
    force: bool = Field(default=False, description="Even where no comparison shows it to be better.")
    why: str = Field(default="over HTTP", max_length=500)


@router.get(
    "",
    summary="Versions, aliases, metrics",
    responses={200: {"content": {"application/json": {"example": EXAMPLE}}}} | describe(401, 403),
)
def listed(worker: Worker, caller: Asker) -> dict[str, Any]:
    """All versions of all models, newest first, a few seconds old at most."""
    return {"items": models.versions(champions_folder(worker.settings.home))}


@router.post("/{name}/promote", summary="Make a version the champion", responses=describe(401, 403, 404, 409, 422))
def promote(worker: Worker, caller: Asker, name: str, asked: Promotion) -> dict[str, Any]:
    """By the rule of `regulars promote`: only what a comparison showed to be better. 409 says what speaks against it."""
    _check(worker, name)
    return _moved(lambda: models.promote(name, asked.version, force=asked.force, why=asked.why))


@router.post("/{name}/rollback", summary="Back to the champion before", responses=describe(401, 403, 404, 409))
def rollback(worker: Worker, caller: Asker, name: str) -> dict[str, Any]:
    """In one move; 409 where there is no champion before."""
    _check(worker, name)
    return _moved(lambda: models.rollback(name))


def _moved(move: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    try:
        return move()
    except DataError as error:
        raise Problem(409, str(error)) from error


def _check(worker: Live, name: str) -> None:
    try:
        models.check_known(champions_folder(worker.settings.home), name)
    except ModelMissing as error:
        raise Problem(404, str(error)) from error
