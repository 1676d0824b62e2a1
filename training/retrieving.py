"""Fits what proposes products: popularity, item vectors, neighbours, and what is known of each product."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import numpy as np
import pandas as pd
from implicit.cpu.als import AlternatingLeastSquares
from implicit.nearest_neighbours import BM25Recommender, CosineRecommender
from numpy.typing import NDArray
from scipy import sparse
from threadpoolctl import threadpool_limits

from features.held_back import held_back
from features.interactions import interactions
from features.products import product_features
from regulars.as_of import Tables, known_tables
from regulars.errors import MissingData
from regulars.ids import IdMap
from regulars.models.history import DAY_S, STRENGTH, faded_by
from regulars.models.retrieval import ONWARD_FALLING, Catalogue, Retrieval
from regulars.models.retrievers.countries import Countries
from regulars.models.retrievers.factors import Factors, confidences
from regulars.models.retrievers.followers import Followers
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.popular import HALF_LIVES_DAYS, Popular
from training.onward import fit_onward
from training.paths import fit_embedding, fit_steps, read_paths
from training.stores import (
    fit_content,
    fit_followers,
    fit_linear,
    fit_lookalikes,
    fit_sessions,
    nobody_near,
    strongest_of,
)
from training.transitions import MOST_PLACES, fit_transitions
from training.visits import Visits, read_visits, seconds

Ints = NDArray[np.int64]

FACTORS, ITERATIONS, REGULARIZATION, ALPHA = 64, 10, 0.05, 20.0
LEAST_VISITORS = 3
PLACES_BESIDE_ORDERS = 10_000  # where orders say more than visits do, a quarter of the time must do for these
NEAREST = 50
SHRINK_CUSTOMERS = 5.0
MOST_FITTED_VISITORS = 200_000
RECENT_DAYS, LEAST_OF_COUNTRY, MOST_OF_COUNTRY = 90, 20, 50


def read_shop(tables: Tables, *, as_of: datetime) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Interactions and products known just before ``as_of``, each in a fixed order.

    Interactions carry their customer's ``country`` where one is known, products whether they are ``held_back``.

    Raises:
        MissingData: where nothing happened before ``as_of``.
    """
    rows = interactions(tables, as_of=as_of).execute()
    if rows.empty:
        raise MissingData(f"no order or event is known before {as_of.isoformat()}; give a later --as-of")
    order = ["visitor_id", "occurred_at", "product_id", "kind", "basket_id"]
    rows = rows.sort_values(order, kind="stable", ignore_index=True, na_position="last")
    products = product_features(tables, as_of=as_of).execute().sort_values("product_id", ignore_index=True)
    products["held_back"] = products["product_id"].isin(held_back(tables, as_of=as_of))
    rows["country"] = rows["customer_id"].map(_countries_of(tables, as_of=as_of)) if "customers" in tables else None
    return rows, products


def _countries_of(tables: Tables, *, as_of: datetime) -> dict[str, str]:
    customers = known_tables({"customers": tables["customers"]}, as_of=as_of)["customers"]
    known = customers.filter(customers.country.notnull()).select("customer_id", "country").execute()
    return dict(zip(known["customer_id"], known["country"], strict=True))


def fit_retrieval(rows: pd.DataFrame, products: pd.DataFrame, *, as_of: datetime, seed: int) -> Retrieval:
    """Everything but the ranker, from what ``read_shop`` gave."""
    ids = IdMap(products["product_id"].tolist())
    visits = read_visits(rows, ids)
    moment = int(as_of.timestamp())
    paths = read_paths(visits, len(ids))
    next_step, step_before, two_steps = fit_steps(paths)
    return Retrieval(
        ids=ids,
        catalogue=_catalogue(products, visits, moment=moment),
        popular=_popular(rows, ids, moment=moment),
        factors=fit_factors(visits, len(ids), seed=seed),
        baskets=_neighbours(visits.baskets, visits, len(ids), model=CosineRecommender(K=NEAREST + 1)),
        visitors=_neighbours(visits.visitor, visits, len(ids), model=BM25Recommender(K=NEAREST + 1, K1=1.2, B=0.75)),
        linear=fit_linear(visits, len(ids)),
        followers=fit_followers(visits, len(ids), most=2 * NEAREST),
        onward=Followers(fit_onward(visits, len(ids), most=2 * NEAREST), ONWARD_FALLING),
        next_step=next_step,
        step_before=step_before,
        two_steps=two_steps,
        embedding=fit_embedding(paths, seed=seed),
        transitions=fit_transitions(
            paths, seed=seed, most_places=PLACES_BESIDE_ORDERS if visits.bought.any() else MOST_PLACES
        ),
        sessions=fit_sessions(visits, len(ids)),
        lookalikes=fit_lookalikes(visits, len(ids)),
        content=fit_content(products, least_visitors=LEAST_VISITORS),
        countries=_countries(rows, ids, moment=moment),
    )


@contextmanager
def quietly() -> Iterator[None]:
    """For implicit: its threads and those of BLAS would take turns waiting, and it warns of its own conversions."""
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _catalogue(products: pd.DataFrame, visits: Visits, *, moment: int) -> Catalogue:
    category = products["category"].astype("string")
    parent = category.str.rsplit(" > ", n=1).str[0]
    seen = products["first_seen_at"]
    first = np.where(seen.notna(), seconds(seen.fillna(pd.Timestamp(0))), moment)
    again, gap = _repeats(visits, len(products))
    return Catalogue(
        category=_numbers(category),
        parent=_numbers(parent),
        brand=_numbers(products["brand"]),
        price=products["price"].to_numpy(np.float32),
        first_seen_at=first.astype(np.int64),
        count_customers=products["count_customers"].to_numpy(np.int32),
        repeat_rate=again,
        gap_days=gap,
        family=_families(products),
        held_back=products["held_back"].to_numpy(bool),
    )


def _families(products: pd.DataFrame) -> NDArray[np.int32]:
    """The number of the product that each is a variant of, also of that product itself; -1 where there are no variants."""
    parents = products["parent_id"].dropna().unique()
    named = products["parent_id"].where(products["parent_id"].notna(), products["product_id"])
    return _numbers(named.where(named.isin(parents)))


def _repeats(visits: Visits, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Per product the share of buyers who came back for it, shrunk towards the shop's, and their middle gap in days."""
    bought = pd.DataFrame(
        {
            "visitor": visits.visitor[visits.bought],
            "row": visits.rows[visits.bought],
            "day": visits.at[visits.bought] // DAY_S,
        }
    ).drop_duplicates()
    pairs = bought.groupby(["row", "visitor"])["day"].agg(["min", "max", "count"]).reset_index()
    again = pairs[pairs["count"] > 1]
    buyers = np.bincount(pairs["row"], minlength=count)
    repeaters = np.bincount(again["row"], minlength=count)
    overall = len(again) / max(len(pairs), 1)
    share = (repeaters + SHRINK_CUSTOMERS * overall) / (buyers + SHRINK_CUSTOMERS)
    gaps = ((again["max"] - again["min"]) / (again["count"] - 1)).groupby(again["row"]).median()
    return share.astype(np.float32), gaps.reindex(range(count)).to_numpy(np.float32)


def _popular(rows: pd.DataFrame, ids: IdMap, *, moment: int) -> Popular:
    """A product counts once per visitor and day; without a visitor once per row."""
    at = seconds(rows["occurred_at"])
    frame = pd.DataFrame(
        {
            "row": ids.rows(rows["product_id"].tolist()),
            "day": at // DAY_S,
            "strength": rows["kind"].map(STRENGTH).fillna(0.0),
        }
    )
    codes = pd.factorize(rows["visitor_id"])[0]
    frame["visitor"] = np.where(codes >= 0, codes, -1 - np.arange(len(rows)))
    once = frame.groupby(["row", "visitor", "day"], sort=True)["strength"].max().reset_index()
    age = moment / DAY_S - once["day"].to_numpy()
    columns = []
    for half_life in HALF_LIVES_DAYS:
        weights = once["strength"].to_numpy() * np.exp2(-age / half_life)
        sums = np.bincount(once["row"], weights=weights, minlength=len(ids))
        columns.append(1e4 * sums / max(float(sums.sum()), 1e-12))
    return Popular(np.column_stack(columns).astype(np.float32))


def _countries(rows: pd.DataFrame, ids: IdMap, *, moment: int) -> Countries:
    """Per country of at least 20 visitors the 50 products that most of them touched in the last 90 days."""
    recent = rows[rows["country"].notna() & (seconds(rows["occurred_at"]) >= moment - RECENT_DAYS * DAY_S)]
    recent = recent[["country", "visitor_id", "product_id"]].drop_duplicates()
    visitors = recent.groupby("country")["visitor_id"].nunique()
    names = sorted(visitors[visitors >= LEAST_OF_COUNTRY].index)
    best = np.full((len(names), MOST_OF_COUNTRY), -1, np.int32)
    counted = recent.groupby(["country", "product_id"]).size()
    for place, name in enumerate(names):
        found = counted[name]
        row, count = ids.rows(found.index.tolist()), found.to_numpy()
        order = np.lexsort((row, -count))[:MOST_OF_COUNTRY]
        best[place, : len(order)] = row[order]
    return Countries(tuple(map(str, names)), best)


def fit_factors(visits: Visits, count: int, *, alpha: float = ALPHA, seed: int) -> Factors:
    """Item vectors (count, 64) of implicit ALS; those of products with fewer than three visitors are zero."""
    matrix = _strengths(visits, count)
    enough = np.flatnonzero(np.bincount(matrix.indices, minlength=count) >= LEAST_VISITORS)
    vectors = np.zeros((count, FACTORS), np.float32)
    if len(enough) > FACTORS:
        matrix = matrix[:, enough]
        matrix.data = confidences(matrix.data, alpha)
        with quietly():
            model = AlternatingLeastSquares(
                factors=FACTORS,
                regularization=REGULARIZATION,
                alpha=1.0,
                iterations=ITERATIONS,
                random_state=seed,
                num_threads=2,
            )
            model.fit(matrix.astype(np.float32).tocsr(), show_progress=False)
        vectors[enough] = model.item_factors
    return Factors(vectors, REGULARIZATION, alpha)


def _strengths(visits: Visits, count: int) -> sparse.csr_matrix:
    """Visitors x products, summed as a history sums them (``Known.weights``)."""
    last = visits.at[visits.starts[1:] - 1][visits.visitor]
    kept = visits.newest & (visits.visitor < MOST_FITTED_VISITORS)
    faded = visits.strength * faded_by(visits.at, last)
    shape = (len(visits.visitors), count)
    return sparse.csr_matrix((faded[kept], (visits.visitor[kept], visits.rows[kept])), shape=shape)


def _neighbours(groups: Ints, visits: Visits, count: int, *, model: CosineRecommender | BM25Recommender) -> Neighbours:
    """The nearest products by the groups (baskets, or visitors) that they share."""
    kept = visits.newest
    shape = (int(groups.max(initial=-1)) + 1, count)
    matrix = sparse.csr_matrix((np.ones(int(kept.sum())), (groups[kept], visits.rows[kept])), shape=shape)
    matrix.data[:] = 1.0
    visitors = sparse.csr_matrix(
        (np.ones(int(kept.sum())), (visits.visitor[kept], visits.rows[kept])),
        shape=(len(visits.visitors), count),
    )
    rare = np.bincount(visitors.indices, minlength=count) < LEAST_VISITORS
    matrix = (matrix @ sparse.diags((~rare).astype(float))).tocsr()
    matrix.eliminate_zeros()
    if not matrix.nnz:
        return nobody_near(count, most=NEAREST)
    with quietly():
        model.fit(matrix, show_progress=False)
    return strongest_of(model.similarity.tocsr(), count, most=NEAREST)


def _numbers(values: pd.Series) -> NDArray[np.int32]:
    return np.asarray(pd.factorize(values, sort=True)[0], dtype=np.int32)
