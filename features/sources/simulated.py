"""A simulated shop, of which the truth is known: tastes, rhythm, season, and when and why each customer left.

Customers order at gaps drawn from a gamma renewal process, stretched by the season; after each order they leave for good with
a chance of their own, larger after an incident (a late parcel). Orders follow sessions of browsing; deliveries, returns,
tickets and messages come with them, of which only late parcels make anybody leave. Parameter sets stand in ``simulated.json``
and were fixed before any model was tuned on them. Customers are made in chunks, each from a generator of its own, so that
memory does not grow.
"""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.sources.files import add_queries
from features.sources.simulated_offers import TABLES as OFFER_TABLES
from features.sources.simulated_offers import write_offers
from features.sources.simulated_service import (
    customers_named,
    deliveries,
    messages,
    minutes,
    moments,
    returns,
    tickets,
)
from regulars.errors import DataError
from regulars.intake import Report, literal, workspace
from regulars.lake import Lake
from regulars.progress import stage

CHUNK = 2_000
TABLES = ("orders", "events", "customers", "returns", "deliveries", "tickets", "messages")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Frames = dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Catalogue:
    """Products by number: category, price, share of units that break, popularity within the category (cumulative)."""

    category: Ints
    price: Floats
    quality: Floats
    first: Ints
    popularity: list[Floats]


def parameter_sets() -> dict[str, dict[str, Any]]:
    """The sets by name."""
    read: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text())
    return read


def import_simulated(
    lake: Lake,
    *,
    customers: int,
    seed: int,
    name: str,
    refused_folder: Path,
    truth_file: Path,
    offers: str | None = None,
) -> list[Report]:
    """What became of each table's rows; the truth goes to ``truth_file`` (Parquet), never into the lake.

    ``offers``: a set of ``features.sources.simulated_offers`` whose trial is added.

    Raises:
        DataError: where there is no parameter set ``name`` or ``offers``, or ``customers`` is not positive.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_simulated(folder, customers=customers, seed=seed, name=name)
        if offers is not None:
            write_offers(folder, name=offers, seed=seed)
        truth_file.parent.mkdir(parents=True, exist_ok=True)
        with workspace() as connection, lake.writing(connection) as batch:
            connection.execute(
                f"copy (select * from read_parquet({literal(str(folder / 'truth' / '*.parquet'))}) order by customer_id) "
                f"to {literal(str(truth_file))} (format parquet)"
            )
            queries = {
                table: f"select * from read_parquet({literal(str(folder / table / '*.parquet'))})"
                for table in ("products", *TABLES, *OFFER_TABLES)
                if (folder / table).exists()
            }
            return add_queries(
                batch,
                connection,
                queries,
                timezone="UTC",
                source=f"simulated-{name}-{customers}-{seed}-{offers or 'no offers'}",
                refused_folder=refused_folder,
            )


def write_simulated(folder: Path, *, customers: int, seed: int, name: str = "groceries") -> None:
    """Write one folder of Parquet files per table, and ``truth``, below ``folder``; equal for equal arguments."""
    sets = parameter_sets()
    if name not in sets:
        raise DataError(f"there is no simulated shop {name!r}; there are {', '.join(sets)}")
    if customers < 1:
        raise DataError(f"a simulated shop has at least one customer, got {customers}")
    parameters = sets[name]
    rng = np.random.default_rng([seed, customers])
    catalogue = _catalogue(parameters, rng)
    _write(folder, "products", 0, _products(catalogue, parameters, rng))
    for number, first in enumerate(range(0, customers, CHUNK)):
        count = min(CHUNK, customers - first)
        done = first / customers
        stage("simulating customers", begins=done, ends=done, within=lambda: 0.0)
        for table, rows in simulate(catalogue, parameters, first=first, count=count, rng=rng).items():
            if len(rows):
                _write(folder, table, number, rows)


def simulate(
    catalogue: Catalogue, parameters: dict[str, Any], *, first: int, count: int, rng: np.random.Generator
) -> Frames:
    """All tables of customers ``first`` to ``first + count``, and ``truth``: one row per customer with what is known of it.

    ``truth``: gap_days (mean, without season), regularity (shape), leave_per_order, left_at (null for who has not),
    incidents, favourite_category.
    """
    people = _people(parameters, count, rng)
    visits = _visits(people, parameters, rng)
    orders, lines = _orders(people, visits, catalogue, parameters, first=first, rng=rng)
    sessions = pd.DataFrame()
    if parameters.get("browsing", True):
        sessions = _sessions(people, orders, lines, catalogue, parameters, first=first, rng=rng)
    return {
        "orders": lines.drop(columns=["customer", "broken"]),
        "events": sessions,
        "customers": _customers(people, parameters, first=first),
        "returns": returns(lines, rng),
        "deliveries": deliveries(orders),
        "tickets": tickets(orders, parameters, first=first, rng=rng),
        "messages": messages(people, parameters, first=first, rng=rng),
        "truth": _truth(people, orders, first=first),
    }


def _catalogue(parameters: dict[str, Any], rng: np.random.Generator) -> Catalogue:
    count, categories = int(parameters["products"]), int(parameters["categories"])
    category = np.sort(rng.integers(categories, size=count))
    first = np.searchsorted(category, np.arange(categories + 1))
    popularity = []
    for group in range(categories):
        weights = 1 / np.arange(1, first[group + 1] - first[group] + 1) ** parameters["popularity_exponent"]
        popularity.append(np.cumsum(weights) / weights.sum() if len(weights) else np.zeros(0))
    price = np.round(rng.lognormal(np.log(parameters["price_median"]), parameters["price_sigma"], count), 2) + 0.1
    quality = np.minimum(rng.gamma(0.5, 2 * parameters["quality_return"], count), 0.5)
    return Catalogue(category, price, quality, first, popularity)


def _people(parameters: dict[str, Any], count: int, rng: np.random.Generator) -> pd.DataFrame:
    """One row per customer: what they are, before anything happens."""
    categories = int(parameters["categories"])
    rank = rng.zipf(1.7, size=count) % categories
    return pd.DataFrame(
        {
            "joined": rng.uniform(0, parameters["days"] * 0.9, count) * rng.uniform(0.3, 1.0, count),
            "gap": rng.lognormal(np.log(parameters["gap_median_days"]), parameters["gap_sigma"], count),
            "shape": parameters["regularity"] * rng.uniform(0.5, 2.0, count),
            "leave": rng.beta(parameters["leave_per_order_a"], parameters["leave_per_order_b"], count),
            "taste": rank,
            "second": rng.integers(categories, size=count),
            "consent": rng.random(count) < parameters["consent_share"],
            "country": rng.choice(["DE", "FR", "GB"], size=count, p=[0.6, 0.25, 0.15]),
            "seed": rng.integers(2**62, size=count),
        }
    )


def _visits(people: pd.DataFrame, parameters: dict[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    """One row per order: customer (place), day, late, and whether they left after it; rounds over all who are still there."""
    days = float(parameters["days"])
    here = np.arange(len(people))
    now = people["joined"].to_numpy().copy()
    gap, shape, leave = (people[name].to_numpy() for name in ("gap", "shape", "leave"))
    parts = []
    while len(here):
        late = rng.random(len(here)) < parameters["late_share"]
        chance = leave[here] + np.where(late, parameters["incident_leave"], 0.0)
        left = rng.random(len(here)) < chance
        parts.append(pd.DataFrame({"customer": here, "day": now[here], "late": late, "left": left}))
        here = here[~left]
        waited = np.maximum(rng.gamma(shape[here], gap[here] / shape[here]), 0.2)
        now[here] += waited / busyness(now[here], parameters)
        here = here[now[here] < days]
    return pd.concat(parts, ignore_index=True).sort_values(["customer", "day"], ignore_index=True)


def busyness(day: Floats, parameters: dict[str, Any]) -> Floats:
    """How busy a day is, 1 in the middle: most towards the end of the year, and on the week's last days."""
    year = 1 + parameters["year_amplitude"] * np.cos(2 * np.pi * (day - 345) / 365.25)
    return np.asarray(year * (1 + parameters["week_amplitude"] * np.cos(2 * np.pi * (day - 5.5) / 7)))


def _orders(
    people: pd.DataFrame,
    visits: pd.DataFrame,
    catalogue: Catalogue,
    parameters: dict[str, Any],
    *,
    first: int,
    rng: np.random.Generator,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Orders, and their lines."""
    owner = visits["customer"].to_numpy()
    number = visits.groupby("customer").cumcount().to_numpy()
    names = customers_named(owner + first)
    ids = "o" + pd.Series(owner + first).astype(str) + "-" + pd.Series(number).astype(str)
    orders = visits.assign(order_id=ids.to_numpy(), customer_id=names, at=moments(visits["day"].to_numpy()))
    sizes = 1 + rng.poisson(parameters["lines_per_order"] - 1, len(orders))
    place = np.repeat(np.arange(len(orders)), sizes)
    buyer = owner[place]
    product = _wanted(people, buyer, catalogue, parameters, rng)
    discounted = rng.random(len(place)) < parameters["discount_share"]
    price = catalogue.price[product]
    off = np.where(discounted, np.round(price * parameters["discount_depth"], 2), 0.0)
    broken = rng.random(len(place)) < catalogue.quality[product]
    lines = pd.DataFrame(
        {
            "order_id": orders["order_id"].to_numpy()[place],
            "line_id": np.char.add("l", (np.arange(len(place)) - np.searchsorted(place, place)).astype(str)),
            "customer_id": names[place],
            "product_id": _products_named(product),
            "ordered_at": orders["at"].to_numpy()[place],
            "quantity": 1.0 + rng.poisson(0.3, len(place)),
            "unit_price": np.round(price - off, 2),
            "discount": off,
            "channel": "online",
            "customer": buyer,
            "broken": broken,
        }
    )
    return orders, lines


def _wanted(
    people: pd.DataFrame, buyer: Ints, catalogue: Catalogue, parameters: dict[str, Any], rng: np.random.Generator
) -> Ints:
    """A product for each line: one of the buyer's favourites, or one from a category they like, by popularity."""
    favourites = int(parameters["favourites"])
    again = rng.random(len(buyer)) < parameters["repeat_share"]
    which = np.minimum(rng.geometric(0.25, len(buyer)) - 1, favourites - 1)
    draw = np.where(again, _hashed(people["seed"].to_numpy()[buyer], which), rng.random(len(buyer)))
    likes = np.where(again, _hashed(people["seed"].to_numpy()[buyer], which + 1_000), rng.random(len(buyer)))
    categories = len(catalogue.popularity)
    group = np.where(
        likes < 0.5,
        people["taste"].to_numpy()[buyer],
        np.where(likes < 0.75, people["second"].to_numpy()[buyer], (likes * 1e6).astype(int) % categories),
    )
    product = np.zeros(len(buyer), np.int64)
    for number, popularity in enumerate(catalogue.popularity):
        mine = group == number
        if len(popularity):
            product[mine] = catalogue.first[number] + np.searchsorted(popularity, draw[mine])
        else:
            product[mine] = (draw[mine] * len(catalogue.price)).astype(int)
    return np.minimum(product, len(catalogue.price) - 1)


def _sessions(
    people: pd.DataFrame,
    orders: pd.DataFrame,
    lines: pd.DataFrame,
    catalogue: Catalogue,
    parameters: dict[str, Any],
    *,
    first: int,
    rng: np.random.Generator,
) -> pd.DataFrame:
    """Browsing: before each order its products are viewed and put into the cart; other sessions only look."""
    bought = pd.DataFrame(
        {
            "session_id": "s-" + lines["order_id"],
            "customer": lines["customer"],
            "product_id": lines["product_id"],
            "end": lines["ordered_at"].to_numpy(),
        }
    )
    step = bought.groupby("session_id", sort=False).cumcount().to_numpy()
    viewed = bought.assign(name="Product Viewed", occurred_at=bought["end"] - minutes(30 - np.minimum(step, 12) * 2))
    carted = bought.assign(name="Product Added", occurred_at=bought["end"] - minutes(29 - np.minimum(step, 12) * 2))
    count = rng.poisson(parameters["browse_per_order"], len(orders))
    place = np.repeat(np.arange(len(orders)), count)
    day = orders["day"].to_numpy()[place] - rng.exponential(
        people["gap"].to_numpy()[orders["customer"].to_numpy()[place]] / 2
    )
    sizes = 1 + rng.poisson(parameters["views_per_session"] - 1, len(place))
    look = np.repeat(np.arange(len(place)), sizes)
    looker = orders["customer"].to_numpy()[place][look]
    within = np.arange(len(look)) - np.searchsorted(look, look)
    product = _wanted(people, looker, catalogue, parameters, rng)
    only = pd.DataFrame(
        {
            "session_id": f"b{first}-" + pd.Series(look).astype(str),
            "customer": looker,
            "product_id": _products_named(product),
            "name": "Product Viewed",
            "occurred_at": moments(np.maximum(day, 0.0)[look]) + minutes(within),
        }
    )
    events = pd.concat([viewed.drop(columns="end"), carted.drop(columns="end"), only], ignore_index=True)
    who = customers_named(events["customer"].to_numpy() + first)
    named = events["session_id"].str.startswith("s-").to_numpy()
    events = events.assign(
        event_id="e" + str(first) + "-" + pd.Series(np.arange(len(events))).astype(str),
        customer_id=pd.Series(who).where(named),
        anonymous_id="v-" + pd.Series(who),
    )
    return events.drop(columns="customer")


def _customers(people: pd.DataFrame, parameters: dict[str, Any], *, first: int) -> pd.DataFrame:
    names = customers_named(np.arange(len(people)) + first)
    return pd.DataFrame(
        {
            "customer_id": names,
            "created_at": moments(people["joined"].to_numpy()) - minutes(np.full(len(people), 60)),
            "name": "Simulated " + pd.Series(names),
            "email": pd.Series(names) + "@simulated.example",
            "country": people["country"].to_numpy(),
            "consent_email": people["consent"].to_numpy(),
        }
    )


def _truth(people: pd.DataFrame, orders: pd.DataFrame, *, first: int) -> pd.DataFrame:
    last = orders.groupby("customer").agg(day=("day", "max"), left=("left", "max"), incidents=("late", "sum"))
    last = last.reindex(range(len(people)))
    gone = last["left"].fillna(False).to_numpy(bool)
    return pd.DataFrame(
        {
            "customer_id": customers_named(np.arange(len(people)) + first),
            "gap_days": people["gap"].to_numpy(),
            "regularity": people["shape"].to_numpy(),
            "leave_per_order": people["leave"].to_numpy(),
            "left_at": pd.Series(moments(last["day"].fillna(0).to_numpy())).where(gone),
            "incidents": last["incidents"].fillna(0).to_numpy(int),
            "favourite_category": _categories_named(people["taste"].to_numpy()),
        }
    )


def _products(catalogue: Catalogue, parameters: dict[str, Any], rng: np.random.Generator) -> pd.DataFrame:
    count = len(catalogue.price)
    return pd.DataFrame(
        {
            "product_id": _products_named(np.arange(count)),
            "name": "Simulated product " + pd.Series(np.arange(count)).astype(str),
            "category": _categories_named(catalogue.category),
            "brand": "Brand " + pd.Series(rng.integers(50, size=count)).astype(str),
            "price": catalogue.price,
            "cost": np.round(catalogue.price * 0.6, 2),
            "available": rng.random(count) >= parameters["out_of_stock_share"],
            "created_at": moments(np.zeros(count)),
        }
    )


def _categories_named(numbers: Ints) -> NDArray[Any]:
    text = pd.Series(numbers)
    return ("Group " + (text // 5).astype(str) + " > Category " + text.astype(str)).to_numpy()


def _products_named(numbers: Ints) -> NDArray[Any]:
    return ("p" + pd.Series(numbers).astype(str)).to_numpy()


def _hashed(seed: Ints, number: Ints) -> Floats:
    """A number in [0, 1) that is always the same for a seed and a number (splitmix64, Steele et al. 2014)."""
    mixed = seed.astype(np.uint64) + (number.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray((mixed ^ (mixed >> np.uint64(31))) / np.float64(2**64), dtype=float)


def _write(folder: Path, table: str, number: int, rows: pd.DataFrame) -> None:
    target = folder / table
    target.mkdir(parents=True, exist_ok=True)
    rows.to_parquet(target / f"{number:05d}.parquet", index=False)
