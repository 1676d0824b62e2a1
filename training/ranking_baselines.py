"""The plain ways to recommend, measured beside the model in every table.

Each takes a snapshot and gives one list of up to ``n`` rows for each of its examples.
"""

from typing import Protocol

import numpy as np
from implicit.nearest_neighbours import BM25Recommender
from scipy import sparse

from regulars.ids import Rows
from regulars.models.history import Known
from regulars.models.retrieval import Retrieval
from regulars.models.retrievers.repeat import Repeat
from training.metrics import ndcg_at
from training.retrieving import quietly
from training.visits import Visits

HALF_LIVES_DAYS = (14.0, 30.0, 60.0, 120.0, 365.0)
Lists = list[list[int]]


class Example(Protocol):
    """A history, and the rows that came after it."""

    known: Known
    targets: Rows


class Snapshot(Protocol):
    """What was known at a moment, and what came after it."""

    retrieval: Retrieval
    visits: Visits
    examples: tuple[Example, ...]


def tuned_half_life(snapshot: Snapshot | None) -> float:
    """The half-life in days with which personal top does best on an earlier snapshot; 60 without one."""
    examples = [example for example in snapshot.examples if len(example.targets)] if snapshot else []
    if not examples:
        return 60.0
    targets = [set(map(str, example.targets)) for example in examples]

    def reached(half_life: float) -> float:
        lists = [list(map(str, Repeat(half_life).candidates(example.known, 20))) for example in examples]
        return float(ndcg_at(lists, targets, 20).mean())

    return max(HALF_LIVES_DAYS, key=reached)


def popular(snapshot: Snapshot, *, half_life: float, n: int, seed: int) -> Lists:
    """What everybody bought lately, the same for all."""
    best = list(map(int, snapshot.retrieval.popular.order[:n]))
    return [best for _ in snapshot.examples]


def personal_top(snapshot: Snapshot, *, half_life: float, n: int, seed: int) -> Lists:
    """Own purchases (in a shop without any: own views), counted with the half-life, filled up with popular products."""
    order = snapshot.retrieval.popular.order
    lists = []
    for example in snapshot.examples:
        own = Repeat(half_life).candidates(example.known, n)
        own = own if len(own) else example.known.newest[:n]
        rest = order[: n + len(own)]
        lists.append([*map(int, own), *map(int, rest[~np.isin(rest, own)])][:n])
    return lists


def item_neighbours(snapshot: Snapshot, *, half_life: float, n: int, seed: int) -> Lists:
    """BM25 item-kNN as implicit has it, over how often each visitor touched each product; repeats are not left out."""
    matrix = counted(snapshot)
    if not matrix.nnz:
        return [[] for _ in snapshot.examples]
    model = BM25Recommender(K=50)
    with quietly():
        model.fit(matrix, show_progress=False)
    lists = []
    for example in snapshot.examples:
        own = np.bincount(example.known.place, minlength=len(example.known.products)).astype(float)
        row = sparse.csr_matrix((own, example.known.products, [0, len(own)]), shape=(1, matrix.shape[1]))
        rows, scores = model.recommend(0, row, N=n, filter_already_liked_items=False)
        lists.append([int(found) for found, score in zip(rows, scores, strict=True) if found >= 0 and score > 0][:n])
    return lists


def factorisation(snapshot: Snapshot, *, half_life: float, n: int, seed: int) -> Lists:
    """Matrix factorisation alone (implicit ALS, the visitor folded in)."""
    retriever = snapshot.retrieval.factors
    return [list(map(int, retriever.candidates(example.known, n))) for example in snapshot.examples]


def counted(snapshot: Snapshot) -> sparse.csr_matrix:
    """How often each visitor touched each product; shape (n_visitors, n_products)."""
    visits = snapshot.visits
    shape = (len(visits.visitors), len(snapshot.retrieval.ids))
    return sparse.csr_matrix((np.ones(len(visits.rows)), (visits.visitor, visits.rows)), shape=shape)


BASELINES = {
    "popular": popular,
    "personal top": personal_top,
    "BM25 item-kNN": item_neighbours,
    "implicit ALS": factorisation,
}
