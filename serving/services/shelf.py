"""The published generation in memory: products with their filters, offers, and what it was published with."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from regulars.ids import IdMap
from regulars.offering import Terms, terms_of
from serving.services.product_rules import MOST_PINNED, rule_of
from serving.services.remembered import Remembered
from serving.store.changes import changes_after, changes_not_in
from serving.store.database import Store
from serving.store.events import Covered
from serving.store.generations import GenerationRow
from serving.store.published import all_offers, all_products, figures_of

Mask = NDArray[np.bool_]
POPULAR = "popular"
MOST_ANSWERED = 6_000  # bodies of 1 to 4 KB; what they were chosen from takes ten times as much
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
    """One generation; loaded once, asked often, replaced as a whole. ``terms``: those of ``offers``, in their order.

    ``ids``: of the products, sorted, and behind them of those that were told of since.
    """

    generation: int
    as_of: datetime
    published_at: datetime
    about: Mapping[str, Any]
    ids: IdMap
    attributes: Sequence[str]
    offers: tuple[Mapping[str, Any], ...]
    popular: tuple[str, ...] = ()
    terms: tuple[Terms, ...] = ()
    _published: IdMap | None = field(default=None, repr=False)
    _masks: dict[tuple[IdMap, Filters], Mask | None] = field(default_factory=dict, repr=False)
    _steered: dict[tuple[IdMap, str], "Steering"] = field(default_factory=dict, repr=False)
    _names: dict[str, str | None] = field(default_factory=dict, repr=False)
    remembered: Remembered[Any] = field(default_factory=Remembered, repr=False, compare=False)
    answered: Remembered[Any] = field(default_factory=lambda: Remembered(most=MOST_ANSWERED), repr=False, compare=False)

    @property
    def published_ids(self) -> IdMap:
        """The products that were published, by which packed histories number them."""
        return self.ids if self._published is None else self._published

    @property
    def covered(self) -> Covered:
        """The events that the published histories hold."""
        return Covered(self.as_of, int(self.about.get("compacted_events", 0)))

    @property
    def covered_changes(self) -> Covered:
        """The changes that the published products hold."""
        return Covered(self.as_of, int(self.about.get("compacted_changes", 0)))

    def changed(self, told: Sequence[tuple[str, Mapping[str, Any]]]) -> "Shelf":
        """This shelf after products were told anew, in order: (product_id, the fields given); null takes a value away."""
        if not told:
            return self
        fresh = [product_id for product_id in dict(told) if self.ids.row(product_id) < 0]
        ids = IdMap([*self.ids.to_json(), *fresh]) if fresh else self.ids
        attributes = [*self.attributes, *("{}" for _ in fresh)]
        columns = {
            name: np.concatenate([column, np.full(len(fresh), _EMPTY[name], dtype=column.dtype)])
            for name, column in self._columns.items()
        }
        for product_id, fields in told:
            row = ids.row(product_id)
            known = orjson.loads(attributes[row]) | {name: fields[name] for name in FIELDS if name in fields}
            attributes[row] = json.dumps({name: value for name, value in known.items() if value is not None})
            for name, value in _columns_of(known).items():
                columns[name][row] = value
        changed = replace(
            self, ids=ids, attributes=attributes, _published=self.published_ids, _masks={}, _steered={}, _names={},
            remembered=Remembered(), answered=Remembered(most=MOST_ANSWERED),
        )  # fmt: skip
        changed.__dict__["_columns"] = columns
        return changed

    def forget_visitors(self) -> None:
        """Keep nothing of what visitors did, were weighed by and were answered."""
        self.remembered.forget()
        self.answered.forget()

    def product(self, product_id: str, fields: Sequence[str]) -> dict[str, Any]:
        """The asked attributes of a product that have a value; empty for an unknown one."""
        row = self.ids.row(product_id)
        if row < 0 or not fields:
            return {}
        known = orjson.loads(self.attributes[row])
        return {name: known[name] for name in fields if known.get(name) is not None}

    def name_of(self, product_id: str) -> str | None:
        """What the product is called, None where that is not known."""
        try:
            return self._names[product_id]
        except KeyError:
            if len(self._names) >= MOST_NAMES:
                self._names.clear()
            name = self._names[product_id] = self.product(product_id, ("name",)).get("name")
            return name

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
        for row, text in enumerate(self.attributes if rules else ()):
            if '"rules"' not in text:
                continue
            found = [rules[name] for name in orjson.loads(text).get("rules", ()) if name in rules]
            product_id = self.ids.ids([row])[0]
            place = ids.row(product_id)
            if found and place >= 0:
                factors[place] = np.prod([rule.strength for rule in found])
                if any(rule.kind == "pin" for rule in found):
                    pinned.append(product_id)
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
    def _columns(self) -> dict[str, NDArray[Any]]:
        rows = [orjson.loads(text) for text in self.attributes]
        told = [_columns_of(row) for row in rows]
        return {
            name: np.array([row[name] for row in told], dtype=dtype)
            for name, dtype in (("category", object), ("brand", object), ("price", float), ("available", bool))
        }


MOST_MASKS, MOST_NAMES = 256, 10_000
MOST_TOLD = 10_000


def _columns_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What filters look at, of one product's attributes."""
    return {
        "category": row.get("category"),
        "brand": row.get("brand"),
        "price": np.nan if row.get("price") is None else row["price"],
        "available": row.get("available") is not False,
    }


_EMPTY = _columns_of({})


def load_shelf(store: Store, generation: GenerationRow) -> Shelf:
    """Everything of ``generation`` that is the same for all customers."""
    products = list(all_products(store, generation.generation))
    offers = tuple(orjson.loads(offer) for offer in all_offers(store, generation.generation))
    shelf = Shelf(
        generation=generation.generation,
        as_of=generation.as_of,
        published_at=generation.published_at,
        about=orjson.loads(generation.about),
        ids=IdMap(product_id for product_id, _ in products),
        attributes=[attributes for _, attributes in products],
        offers=offers,
        popular=tuple(orjson.loads(figures_of(store, generation.generation, POPULAR) or "[]")),
        terms=tuple(map(terms_of, offers)),
    )
    shelf._columns  # noqa: B018 - read now, so that the first request does not wait for it
    return shelf


def told_since(store: Store, shelf: Shelf, *, seq: int | None) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    """What was told of products behind change ``seq``, or that the generation does not hold; and the newest number."""
    if seq is None:
        rows = changes_not_in(store, shelf.covered_changes, table="products")
        seq = 0
    else:
        rows = changes_after(store, seq, limit=MOST_TOLD, table="products")
    return [(row.row_key, orjson.loads(row.body)) for row in rows], max((row.seq for row in rows), default=seq)
