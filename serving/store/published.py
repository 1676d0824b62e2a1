"""Reading what the generation that answers holds: profiles, histories, products, offers."""

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from sqlalchemy import Row, Select, bindparam, func, select
from sqlalchemy.sql import ColumnElement

from regulars.errors import StoreError
from serving.store.database import Store
from serving.store.generations import generation_exists, pointed
from serving.store.prepared import Asked, Prepared, rows_of_each
from serving.store.schema import CHANNELS, figures, generations, histories, offers, products, profiles

Order = Literal["probability", "customer_id"]

_PROFILE = (
    select(profiles, generations.c.as_of, generations.c.about)
    .join(generations, generations.c.generation == profiles.c.generation)
    .where(profiles.c.generation == pointed())
)
_ONE_PROFILE = _PROFILE.where(profiles.c.customer_id == bindparam("customer_id"))
_SOME_PROFILES = _PROFILE.where(profiles.c.customer_id.in_(bindparam("customer_ids", expanding=True)))
_DECIDES = ("profile", "country", "risk", "predicted_value", "timezone", *(f"reachable_{name}" for name in CHANNELS))
_DECIDING = Prepared(
    select(*(profiles.c[name] for name in _DECIDES)).where(
        profiles.c.generation == pointed(), profiles.c.customer_id == bindparam("customer_id")
    )
)
_HISTORY = Prepared(
    select(histories.c.body).where(
        histories.c.generation == bindparam("generation"), histories.c.customer_id == bindparam("customer_id")
    )
)


def profile_of(store: Store, customer_id: str) -> Row[Any] | None:
    """A customer's row of ``profiles`` beside its generation's ``as_of`` and ``about``; None where not known."""
    with store.reading() as connection:
        return connection.execute(_ONE_PROFILE, {"customer_id": customer_id}).first()


def deciding_facts(store: Store, customer_id: str) -> dict[str, Any] | None:
    """What decisions need of a customer's row of ``profiles``, by column; None where not known."""
    row = _DECIDING.first(store, customer_id=customer_id)
    return None if row is None else dict(zip(_DECIDES, row, strict=True))


def profiles_of(store: Store, customer_ids: Sequence[str]) -> dict[str, Row[Any]]:
    """``profile_of`` for many, by customer_id; who is not known is absent."""
    with store.reading() as connection:
        rows = connection.execute(_SOME_PROFILES, {"customer_ids": list(customer_ids)}).all()
    return {row.customer_id: row for row in rows}


def history_asked(generation: int, customer_id: str) -> Asked:
    """What finds a customer's packed history in a generation."""
    return _HISTORY, {"generation": generation, "customer_id": customer_id}


def history_body(store: Store, generation: int, customer_id: str) -> bytes | None:
    """A customer's packed history in a generation, or None where there is none."""
    (found,) = rows_of_each(store, history_asked(generation, customer_id))
    return found[0][0] if found else None


def all_products(store: Store, generation: int) -> Iterator[tuple[str, str]]:
    """Every (product_id, attributes as JSON text) of a generation, by product_id."""
    wanted = select(products.c.product_id, products.c.attributes).where(products.c.generation == generation)
    with store.reading() as connection:
        for row in connection.execute(wanted.order_by(products.c.product_id)):
            yield row.product_id, row.attributes


def all_offers(store: Store, generation: int) -> list[str]:
    """Every offer of a generation as JSON text, by offer_id."""
    wanted = select(offers.c.offer).where(offers.c.generation == generation).order_by(offers.c.offer_id)
    with store.reading() as connection:
        return list(connection.execute(wanted).scalars())


def figures_of(store: Store, generation: int, name: str) -> str | None:
    """A table of figures as a JSON list of rows; None where the generation has none of that name."""
    wanted = select(figures.c.body).where(figures.c.generation == generation, figures.c.name == name)
    with store.reading() as connection:
        return connection.execute(wanted).scalar()


def scored_conditions(
    *,
    min_probability: float | None = None,
    max_probability: float | None = None,
    risks: Sequence[str] = (),
    segment: str | None = None,
    tier: str | None = None,
    country: str | None = None,
    channel: str | None = None,
) -> list[ColumnElement[bool]]:
    """What customers of a list must fulfil; ``channel``: only who may be written to there."""
    conditions: list[ColumnElement[bool]] = [profiles.c.churn_probability.is_not(None)]
    if min_probability is not None:
        conditions.append(profiles.c.churn_probability >= min_probability)
    if max_probability is not None:
        conditions.append(profiles.c.churn_probability <= max_probability)
    if risks:
        conditions.append(profiles.c.risk.in_(risks))
    for column, wanted in ((profiles.c.segment, segment), (profiles.c.tier, tier), (profiles.c.country, country)):
        if wanted is not None:
            conditions.append(column == wanted)
    if channel is not None:
        conditions.append(profiles.c[f"reachable_{channel}"].is_(True))
    return conditions


def count_scored(store: Store, generation: int, conditions: Sequence[ColumnElement[bool]]) -> int:
    wanted = select(func.count()).select_from(profiles).where(profiles.c.generation == generation, *conditions)
    with store.reading() as connection:
        return int(connection.execute(wanted).scalar_one())


def scored_page(
    store: Store,
    generation: int,
    conditions: Sequence[ColumnElement[bool]],
    *,
    order_by: Order,
    limit: int,
    after: tuple[float, str] | None = None,
) -> list[Row[Any]]:
    """The next ``limit`` customers behind ``after`` (probability, customer_id), most probable first or by customer_id.

    Raises:
        StoreError: where the generation was removed meanwhile, so that a page could be incomplete.
    """
    wanted = select(profiles).where(profiles.c.generation == generation, *conditions)
    with store.reading() as connection:
        rows = list(connection.execute(_ordered(wanted, order_by, after).limit(limit)).all())
        if len(rows) < limit and not generation_exists(connection, generation):
            raise StoreError("the list was replaced by a newer one while it was being read; ask for it again")
    return rows


def _ordered(wanted: Select[Any], order_by: Order, after: tuple[float, str] | None) -> Select[Any]:
    probability, customer = profiles.c.churn_probability, profiles.c.customer_id
    if order_by == "customer_id":
        behind = wanted if after is None else wanted.where(customer > after[1])
        return behind.order_by(customer)
    if after is not None:
        lower = (probability == after[0]) & (customer > after[1])
        wanted = wanted.where(probability <= after[0], (probability < after[0]) | lower)
    return wanted.order_by(probability.desc(), customer)
