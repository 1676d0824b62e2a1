"""The shop's rules about products: pinned, boosted, buried."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path
from pydantic import BaseModel, ConfigDict, Field

from regulars.conditions import LONGEST
from regulars.errors import DataError
from serving.access import Caller, Worker, allow
from serving.problems import Problem, describe
from serving.routes.recommendation_models import Placement
from serving.services.product_rules import STRONGEST, Kind, ProductRule, save_rule, saved_rules
from serving.store.product_rules import remove_rule

router = APIRouter(prefix="/v1/product-rules", tags=["recommendations"])

Asker = Annotated[Caller, Depends(allow("models"))]
Name = Annotated[str, Path(min_length=1, max_length=100)]
EXAMPLE = {"kind": "boost", "condition": "product.brand == 'Own' && product.price < 5.0", "factor": 1.5}


class Rule(BaseModel):
    """Which products, and what is done with them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    kind: Kind
    condition: str = Field(min_length=1, max_length=LONGEST, description="CEL over product, with the published fields.")
    placements: list[Placement] = Field(default=[], description="Where it holds; everywhere where empty.")
    factor: float = Field(default=2.0, gt=1, le=STRONGEST, description="How much a boost or a burying weighs.")


@router.get("", summary="All rules about products", responses=describe(401, 403))
def listed(worker: Worker, caller: Asker) -> dict[str, Any]:
    """By name."""
    return {"items": [asdict(rule) for rule in saved_rules(worker.store)]}


@router.put("/{name}", summary="Save a rule about products", responses=describe(401, 403, 422))
def saved(worker: Worker, caller: Asker, name: Name, asked: Rule) -> dict[str, Any]:
    """Compiled now, evaluated when the next generation is published: `regulars publish`."""
    rule = ProductRule(name, asked.kind, asked.condition, tuple(asked.placements), asked.factor)
    try:
        save_rule(worker.store, rule)
    except DataError as error:
        raise Problem(422, f"body.condition: {error}") from error
    return asdict(rule)


@router.delete("/{name}", summary="Remove a rule about products", responses=describe(401, 403, 404))
def removed(worker: Worker, caller: Asker, name: Name) -> dict[str, Any]:
    """It holds until the next generation is published."""
    if not remove_rule(worker.store, name):
        raise Problem(404, f"there is no product rule {name}")
    return {"removed": name}
