"""Fits the stores that retrievers read: past visits, customers' baskets, what follows what, a linear model, words.

Every store is capped, so that it grows with the catalogue and with what happened lately, and none names a customer.
"""

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from regulars.models.retrievers.content import Content
from regulars.models.retrievers.followers import Followers
from regulars.models.retrievers.lookalikes import Lookalikes, basket_frequency
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.sessions import RECENT, Sessions
from training.visits import Visits

Ints = NDArray[np.int64]

MOST_SESSIONS, MOST_IN_SESSION = 100_000, 50
MOST_CUSTOMERS, MOST_OF_CUSTOMER, MOST_POSTINGS = 20_000, 300, 2_000
STEPS, FALLING = 5, 0.6
MOST_LINEAR, LINEAR_NEAREST = 5_000, 50
LEAST_L2, L2_PER_VISITOR = 10.0, 3.0
MOST_FRESH, MOST_WORDS = 500, 12
SHRINK = 5.0


def fit_sessions(visits: Visits, count: int) -> Sessions:
    """The newest visits (sessions, orders) of at least two products."""
    order = np.lexsort((visits.rows, visits.at, visits.baskets))
    pairs = pd.DataFrame({"basket": visits.baskets[order], "row": visits.rows[order], "at": visits.at[order]})
    pairs = pairs.assign(last=pairs.groupby("basket")["at"].transform("max")).drop_duplicates(["basket", "row"])
    size = pairs.groupby("basket")["row"].transform("size")
    pairs = pairs[(size > 1) & (size <= MOST_IN_SESSION)].sort_values(["last", "basket"], kind="stable")
    session = pairs["basket"].ne(pairs["basket"].shift()).cumsum().to_numpy(np.int64) - 1
    rows = pairs["row"].to_numpy(np.int64)
    total = int(session[-1]) + 1 if len(session) else 0
    kept = session >= total - MOST_SESSIONS
    session, rows = session[kept] - max(total - MOST_SESSIONS, 0), rows[kept]
    total = min(total, MOST_SESSIONS)
    holders = np.bincount(rows, minlength=count)
    postings, posting_starts, _ = _postings(rows, session, -session, np.ones(len(rows)), count=count, most=RECENT)
    return Sessions(
        products=rows.astype(np.int32),
        starts=np.searchsorted(session, np.arange(total + 1)),
        postings=postings,
        posting_starts=posting_starts,
        rarity=np.log(max(total, 1) / np.maximum(holders, 1)).astype(np.float32),
    )


def fit_lookalikes(visits: Visits, count: int) -> Lookalikes:
    """The baskets' frequency of the newest buyers."""
    bought = visits.newest & visits.bought
    last = np.zeros(len(visits.visitors), np.int64)
    np.maximum.at(last, visits.visitor[bought], visits.at[bought])
    buyers = np.unique(visits.visitor[bought])
    chosen = buyers[np.lexsort((buyers, -last[buyers]))][:MOST_CUSTOMERS]
    rows, values, sizes = [], [], []
    for visitor in chosen:
        part = slice(visits.starts[visitor], visits.starts[visitor + 1])
        own = bought[part]
        found, frequency = basket_frequency(visits.rows[part][own], visits.at[part][own])
        kept = np.sort(np.lexsort((found, -frequency))[:MOST_OF_CUSTOMER])
        rows.append(found[kept])
        values.append(frequency[kept])
        sizes.append(len(kept))
    flat, weights = _joined(rows, np.int64), _joined(values, float)
    customer = np.repeat(np.arange(len(sizes)), sizes)
    length = np.sqrt(np.bincount(customer, weights=weights**2, minlength=len(sizes)))
    share = weights / length[customer]
    postings, posting_starts, kept = _postings(flat, customer, -share, share, count=count, most=MOST_POSTINGS)
    return Lookalikes(
        rows=flat.astype(np.int32),
        values=weights.astype(np.float32),
        starts=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        postings=postings,
        posting_values=kept.astype(np.float32),
        posting_starts=posting_starts,
    )


def fit_followers(visits: Visits, count: int, *, most: int) -> Followers:
    """What comes later in the same visit, fading with the distance, and what the next order holds after this one."""
    kept = visits.newest
    within = _within_visits(visits, kept & ~visits.bought, count)
    after = _after_orders(visits, kept & visits.bought, count)
    return Followers(strongest_of(within + after, count, most=most))


def fit_linear(visits: Visits, count: int, *, most_products: int = MOST_LINEAR) -> Neighbours:
    """The strongest positive weights of EASE over the products that most visitors know.

    The penalty grows with how many visitors know a product on average, so that it means the same in every shop.

    Source: Steck (2019), Embarrassingly Shallow Autoencoders for Sparse Data, WWW, equation 8.
    """
    matrix = touched(visits, count)
    known = np.bincount(matrix.indices, minlength=count)
    rows = np.lexsort((np.arange(count), -known))[:most_products]
    rows = np.sort(rows[known[rows] >= 3])
    if not len(rows):
        return nobody_near(count)
    weights = linear_weights(matrix[:, rows], l2=max(LEAST_L2, L2_PER_VISITOR * float(known[rows].mean())))
    place = np.argpartition(-weights, min(LINEAR_NEAREST, len(rows) - 1), axis=1)[:, :LINEAR_NEAREST]
    found = np.take_along_axis(weights, place, axis=1)
    order = np.lexsort((place, -found), axis=1)
    place, found = np.take_along_axis(place, order, axis=1), np.take_along_axis(found, order, axis=1)
    near = nobody_near(count, most=LINEAR_NEAREST)
    near.rows[rows, : place.shape[1]] = np.where(found > 0, rows[place], -1)
    near.similarity[rows, : place.shape[1]] = np.maximum(found, 0)
    return near


def linear_weights(matrix: sparse.csr_matrix, *, l2: float) -> NDArray[np.float32]:
    """EASE's item-item weights, the diagonal 0; shape (n_products, n_products)."""
    gram = np.asfortranarray((matrix.T @ matrix).toarray(), dtype=np.float32)
    gram[np.diag_indices(len(gram))] += l2
    factor, _ = lapack.spotrf(gram, lower=1, overwrite_a=1)
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    weights = inverse / -np.diag(inverse)[None, :]
    weights[np.diag_indices(len(weights))] = 0
    return np.asarray(weights, dtype=np.float32)


def fit_content(products: pd.DataFrame, *, least_visitors: int) -> Content:
    """Tf-idf of each product's category, brand and words of its name; words of one product only say nothing."""
    said = [_words(*row) for row in products[["name", "category", "brand"]].itertuples(index=False)]
    sizes = np.array([len(words) for words in said], dtype=np.int64)
    flat = pd.Series([word for words in said for word in words], dtype="object")
    codes, names = pd.factorize(flat, sort=True)
    product = np.repeat(np.arange(len(said)), sizes)
    holders = np.bincount(codes, minlength=len(names))
    rarity = np.log(len(said) / np.maximum(holders, 1))
    kept = (holders[codes] > 1) if len(codes) else np.zeros(0, bool)
    codes, product = codes[kept], product[kept]
    weights = rarity[codes]
    length = np.sqrt(np.bincount(product, weights=weights**2, minlength=len(said)))
    seen = products["first_seen_at"].fillna(pd.Timestamp.max).to_numpy().astype("datetime64[s]").astype(np.int64)
    unknown = np.flatnonzero(products["count_customers"].to_numpy() < least_visitors)
    fresh = unknown[np.lexsort((unknown, -seen[unknown]))][:MOST_FRESH]
    return Content(
        words=codes.astype(np.int32),
        weights=(weights / np.maximum(length[product], 1e-12)).astype(np.float32),
        starts=np.searchsorted(product, np.arange(len(said) + 1)).astype(np.int64),
        fresh=fresh.astype(np.int32),
    )


def touched(visits: Visits, count: int) -> sparse.csr_matrix:
    """1 where a visitor touched a product; shape (n_visitors, n_products)."""
    kept = visits.newest
    shape = (len(visits.visitors), count)
    found = sparse.csr_matrix((np.ones(int(kept.sum())), (visits.visitor[kept], visits.rows[kept])), shape=shape)
    found.data[:] = 1.0
    return found


def strongest_of(found: sparse.spmatrix, count: int, *, most: int, scaled: bool = True) -> Neighbours:
    """Each row's ``most`` largest values, best first, ties by row, the product itself left out; ``scaled`` to at most 1."""
    table = found.tocoo()
    kept = (table.row != table.col) & (table.data > 0)
    rows, columns, values = table.row[kept], table.col[kept], table.data[kept]
    near = nobody_near(count, most=most)
    if not len(rows):
        return near
    order = np.lexsort((columns, -values, rows))
    rows, columns, values = rows[order], columns[order], values[order] / (values.max() if scaled else 1.0)
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    kept = place < most
    near.rows[rows[kept], place[kept]] = columns[kept]
    near.similarity[rows[kept], place[kept]] = values[kept]
    return near


def nobody_near(count: int, *, most: int = 1) -> Neighbours:
    """Neighbours of nothing."""
    return Neighbours(np.full((count, most), -1, np.int32), np.zeros((count, most), np.float32))


def _within_visits(visits: Visits, kept: NDArray[np.bool_], count: int) -> sparse.csr_matrix:
    """The chance that a product follows within five steps of one visit, a step further counting 0.6 times as much."""
    order = np.flatnonzero(kept)
    order = order[np.lexsort((order, visits.at[order], visits.baskets[order]))]
    rows, baskets = visits.rows[order], visits.baskets[order]
    found = sparse.csr_matrix((count, count))
    for step in range(1, STEPS + 1):
        same = (baskets[:-step] == baskets[step:]) & (rows[:-step] != rows[step:])
        weights = np.full(int(same.sum()), FALLING ** (step - 1))
        found = found + sparse.csr_matrix((weights, (rows[:-step][same], rows[step:][same])), shape=(count, count))
    left = np.bincount(rows, minlength=count)
    return sparse.diags(1 / (left + SHRINK)) @ found


def _after_orders(visits: Visits, kept: NDArray[np.bool_], count: int) -> sparse.csr_matrix:
    """How much more than by chance a product is in a customer's order after one with another product: a cosine."""
    orders = pd.DataFrame(
        {
            "visitor": visits.visitor[kept],
            "at": visits.at[kept],
            "basket": visits.baskets[kept],
            "row": visits.rows[kept],
        }
    )
    first = orders.groupby(["visitor", "basket"], sort=True).agg(at=("at", "min"), size=("row", "size")).reset_index()
    first = first.sort_values(["visitor", "at", "basket"], kind="stable", ignore_index=True)
    same = first["visitor"].eq(first["visitor"].shift(-1)).to_numpy(bool)
    small = first["size"].to_numpy() <= MOST_IN_SESSION
    usable = np.flatnonzero(same[:-1] & small[:-1] & small[1:]) if len(first) > 1 else np.zeros(0, np.int64)
    earlier, later = first["basket"].to_numpy()[usable], first["basket"].to_numpy()[usable + 1]
    held = sparse.csr_matrix(
        (np.ones(len(orders)), (orders["basket"], orders["row"])),
        shape=(int(visits.baskets.max(initial=-1)) + 1, count),
    )
    held.data[:] = 1.0
    before, after = held[earlier], held[later]
    counts = (before.T @ after).tocsr()
    counts.data[counts.data < 2] = 0
    counts.eliminate_zeros()
    left, right = (np.asarray(side.sum(axis=0)).ravel() + SHRINK for side in (before, after))
    return sparse.diags(1 / np.sqrt(left)) @ counts @ sparse.diags(1 / np.sqrt(right))


def _postings(
    products: Ints, holders: Ints, rank_by: NDArray, values: NDArray, *, count: int, most: int
) -> tuple[NDArray[np.int32], Ints, NDArray]:
    """Per product its holders, smallest ``rank_by`` first and at most ``most``: (holders, starts, their values)."""
    order = np.lexsort((holders, rank_by, products))
    products, holders, values = products[order], holders[order], values[order]
    place = np.arange(len(products)) - np.searchsorted(products, products)
    kept = place < most
    starts = np.searchsorted(products[kept], np.arange(count + 1)).astype(np.int64)
    return holders[kept].astype(np.int32), starts, values[kept]


def _words(name: object, category: object, brand: object) -> list[str]:
    words = [f"name:{word}" for word in re.findall(r"\w+", str(name).lower())] if isinstance(name, str) else []
    levels = [f"category:{level}" for level in str(category).split(" > ")] if isinstance(category, str) else []
    brands = [f"brand:{brand}"] if isinstance(brand, str) else []
    return list(dict.fromkeys([*levels, *brands, *words]))[:MOST_WORDS]


def _joined(parts: list[NDArray], dtype: type) -> NDArray:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)
