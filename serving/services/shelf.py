"""The published generation in memory: products with their filters, offers, and what it was published with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regulars.ids import IdMap
from serving.services.product_rules import MOST_PINNED, rule_of
from serving.store.database import Store
from serving.store.generations import GenerationRow
from serving.store.published import all_offers, all_products

Mask = NDArray[np.bool_]
FIELDS = ("name", "category", "brand", "price", "available", "parent_id", "url", "image_url")


@dataclass(frozen=True)
class Filters:
    """What products must fulfil; an empty one is fulfilled by all that are available.

    ``category`` is met by "A" and everything below it, "A > B".
    """

    category: str | None = None
    brand: str | None = None
    price_min: float | None = None
    price_max: float | None = None
    available: bool = True


@dataclass(frozen=True)
class Steering:
    """``pinned`` products come first; ``factors`` (n_products,) multiply probabilities, None where all are 1."""

    pinned: tuple[str, ...]
    factors: NDArray[np.float64] | None


@dataclass(frozen=True)
class Shelf:
    """One generation; loaded once, asked often, replaced as a whole."""

    generation: int
    as_of: datetime
    published_at: datetime
    about: Mapping[str, Any]
    ids: IdMap
    attributes: Sequence[str]
    offers: tuple[Mapping[str, Any], ...]
    _masks: dict[tuple[IdMap, Filters], Mask | None] = field(default_factory=dict, repr=False)
    _steered: dict[tuple[IdMap, str], "Steering"] = field(default_factory=dict, repr=False)

    def product(self, product_id: str, fields: Sequence[str]) -> dict[str, Any]:
        """The asked attributes of a product that have a value; empty for an unknown one."""
        row = self.ids.row(product_id)
        if row < 0 or not fields:
            return {}
        known = json.loads(self.attributes[row])
        return {name: known[name] for name in fields if known.get(name) is not None}

    def steering(self, placement: str, ids: IdMap) -> "Steering":
        """What the shop's rules say of the model's products ``ids`` at ``placement``."""
        key = (ids, placement)
        if key not in self._steered:
            self._steered[key] = self._steering(placement, ids)
        return self._steered[key]

    def _steering(self, placement: str, ids: IdMap) -> "Steering":
        rules = {rule.name: rule for rule in map(rule_of, self.about.get("product_rules", ()))}
        rules = {name: rule for name, rule in rules.items() if rule.holds_in(placement)}
        factors, pinned = np.ones(len(ids)), []
        for row, names in enumerate(self._columns["rules"] if rules else ()):
            found = [rules[name] for name in names if name in rules]
            place = ids.row(self.ids.ids([row])[0]) if found else -1
            if place >= 0:
                factors[place] = np.prod([rule.strength for rule in found])
                if any(rule.kind == "pin" for rule in found):
                    pinned.append(self.ids.ids([row])[0])
        return Steering(tuple(pinned[:MOST_PINNED]), None if (factors == 1).all() else factors)

    def allowed(self, filters: Filters, ids: IdMap) -> Mask | None:
        """Which of the model's products ``ids`` fulfil the filters, shape (n_products,); None where all do.

        A product that was published but is not in the model, or the other way round, is not allowed.
        """
        key = (ids, filters)
        if key not in self._masks:
            if len(self._masks) >= MOST_MASKS:
                self._masks.clear()
            mask = self._allowed(filters, ids)
            self._masks[key] = None if mask.all() else mask
        return self._masks[key]

    def _allowed(self, filters: Filters, ids: IdMap) -> Mask:
        columns = self._columns
        kept = np.ones(len(self.ids), dtype=bool)
        if filters.available:
            kept &= columns["available"]
        if filters.category is not None:
            below = filters.category + " > "
            kept &= np.array([c == filters.category or str(c).startswith(below) for c in columns["category"]], bool)
        if filters.brand is not None:
            kept &= columns["brand"] == filters.brand
        if filters.price_min is not None:
            kept &= columns["price"] >= filters.price_min
        if filters.price_max is not None:
            kept &= columns["price"] <= filters.price_max
        here = self.ids.rows(ids.to_json())
        return np.where(here >= 0, kept[here], False) if len(kept) else np.zeros(len(ids), dtype=bool)

    @cached_property
    def _columns(self) -> dict[str, Any]:
        rows = [json.loads(text) for text in self.attributes]
        return {
            "category": np.array([row.get("category") for row in rows], dtype=object),
            "brand": np.array([row.get("brand") for row in rows], dtype=object),
            "price": np.array([np.nan if row.get("price") is None else row["price"] for row in rows], dtype=float),
            "rules": [row.get("rules", []) for row in rows],
            "available": np.array([row.get("available") is not False for row in rows], dtype=bool),
        }


MOST_MASKS = 256


def load_shelf(store: Store, generation: GenerationRow) -> Shelf:
    """Everything of ``generation`` that is the same for all customers."""
    products = list(all_products(store, generation.generation))
    shelf = Shelf(
        generation=generation.generation,
        as_of=generation.as_of,
        published_at=generation.published_at,
        about=json.loads(generation.about),
        ids=IdMap(product_id for product_id, _ in products),
        attributes=[attributes for _, attributes in products],
        offers=tuple(json.loads(offer) for offer in all_offers(store, generation.generation)),
    )
    shelf._columns  # noqa: B018 - read now, so that the first request does not wait for it
    return shelf
