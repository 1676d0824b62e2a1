"""Rules of the shop about products: which come first (pin), more often (boost) or less often (bury).

A rule is a condition in CEL (Common Expression Language) over ``product``: ``product.brand == "Own" && product.price < 5``. It
is compiled when it is saved and evaluated for every product when a generation is published, never while a page loads.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal

import cel

from regulars.conditions import read_condition
from serving.store.database import Store
from serving.store.product_rules import all_rules, put_rule

Kind = Literal["pin", "boost", "bury"]

STRONGEST = 100.0
MOST_PINNED = 50


@dataclass(frozen=True)
class ProductRule:
    """``placements``: where it holds; empty for everywhere. ``factor``: what a probability is multiplied with when boosted
    (above 1), or divided by when buried; a pin has none.
    """

    name: str
    kind: Kind
    condition: str
    placements: tuple[str, ...] = ()
    factor: float = 2.0

    @property
    def strength(self) -> float:
        """What the probability of a product is multiplied with."""
        return {"boost": self.factor, "bury": 1 / self.factor}.get(self.kind, 1.0)

    def holds_in(self, placement: str) -> bool:
        return not self.placements or placement in self.placements


def save_rule(store: Store, rule: ProductRule) -> None:
    """Keep ``rule`` for the publishings to come.

    Raises:
        DataError: where its condition cannot be compiled.
    """
    _compiled(rule.condition)
    put_rule(store, rule.name, json.dumps(asdict(rule)))


def saved_rules(store: Store) -> list[ProductRule]:
    """All rules, by name."""
    return [rule_of(json.loads(text)) for text in all_rules(store).values()]


def rule_of(body: Mapping[str, Any]) -> ProductRule:
    """What ``asdict`` made of a rule, as a rule."""
    return ProductRule(**{**body, "placements": tuple(body["placements"])})


@lru_cache(maxsize=1_000)
def _compiled(condition: str) -> Any:
    """The condition, ready to be asked; raises DataError as ``read_condition``."""
    return read_condition(condition, called="a product's condition")


def matching(rules: Sequence[ProductRule], products: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    """Per product the names of the rules whose condition is true; what it speaks of and is not known makes it not true."""
    programs = [(rule.name, _compiled(rule.condition)) for rule in rules]
    return [[name for name, program in programs if _true(program, product)] for product in products]


def _true(program: Any, product: Mapping[str, Any]) -> bool:
    context = cel.Context()
    context.add_variable("product", dict(product))
    try:
        return program.execute(context) is True
    except (KeyError, RuntimeError, TypeError, ValueError):
        return False
