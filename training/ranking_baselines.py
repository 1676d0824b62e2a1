"""The plain ways to recommend, measured beside the model in every table.

Each takes a snapshot and one setting and gives a list of up to ``n`` rows for each example. The setting is the one that did
best on an earlier snapshot.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from implicit.nearest_neighbours import BM25Recommender
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cholesky, solve_triangular

from regulars.models.retrievers.lookalikes import own_frequency
from regulars.models.retrievers.popular import HALF_LIVES_DAYS
from regulars.models.retrievers.reached import Reached, best, summed
from regulars.models.retrievers.repeat import Repeat
from training.lessons import Example, Snapshot
from training.metrics import ndcg_at
from training.retrieving import ALPHA, fit_factors, quietly
from training.stores import touched

Lists = list[list[int]]

MOST_LINEAR_PRODUCTS, MOST_LINEAR_VISITORS = 12_000, 6_000
TUNED_ON = 400
K = 20


@dataclass(frozen=True)
class Baseline:
    """``settings``: the values that are tried on an earlier snapshot; the first is used where there is none."""

    lists: Callable[[Snapshot, Sequence[Example], float, int, int], Lists]
    settings: tuple[float, ...]

    def tuned(self, earlier: Snapshot | None, *, seed: int) -> float:
        """The setting of highest NDCG@20 on up to 400 visitors of ``earlier``."""
        examples = [example for example in earlier.examples if len(example.targets)][:TUNED_ON] if earlier else []
        if earlier is None or not examples or len(self.settings) == 1:
            return self.settings[0]
        targets = [set(map(str, example.targets)) for example in examples]

        def reached(setting: float) -> float:
            found = self.lists(earlier, examples, setting, K, seed)
            return float(ndcg_at([list(map(str, one)) for one in found], targets, K).mean())

        return max(self.settings, key=reached)


def baseline_lists(
    snapshot: Snapshot, earlier: Snapshot | None, examples: Sequence[Example], *, n: int, seed: int
) -> dict[str, Lists]:
    """Name -> one list per example of ``snapshot``, of every baseline that fits the shop."""
    found = {}
    for name, baseline in BASELINES.items():
        if name == "TIFU-KNN" and not len(snapshot.retrieval.lookalikes.rows):
            continue
        if name == "VMIS-kNN" and not any(example.next_row >= 0 for example in examples):
            continue
        setting = baseline.tuned(earlier, seed=seed)
        found[name] = baseline.lists(snapshot, examples, setting, n, seed)
    return found


def popular(snapshot: Snapshot, examples: Sequence[Example], half_life: float, n: int, seed: int) -> Lists:
    """What everybody bought lately, the same for all."""
    counts = snapshot.retrieval.popular.counts[:, HALF_LIVES_DAYS.index(half_life)]
    order = list(map(int, np.lexsort((np.arange(len(counts)), -counts))[:n]))
    return [order for _ in examples]


def personal_top(snapshot: Snapshot, examples: Sequence[Example], half_life: float, n: int, seed: int) -> Lists:
    """Own purchases (in a shop without any: own views), counted with the half-life, filled up with popular products."""
    order = snapshot.retrieval.popular.order
    lists = []
    for example in examples:
        own = Repeat(half_life).candidates(example.known, n)
        own = own if len(own) else example.known.newest[:n]
        rest = order[: n + len(own)]
        lists.append([*map(int, own), *map(int, rest[~np.isin(rest, own)])][:n])
    return lists


def item_neighbours(snapshot: Snapshot, examples: Sequence[Example], nearest: float, n: int, seed: int) -> Lists:
    """BM25 item-kNN as implicit has it, over how often each visitor touched each product; repeats are not left out."""
    matrix = counted(snapshot)
    if not matrix.nnz:
        return [[] for _ in examples]
    model = BM25Recommender(K=int(nearest))
    with quietly():
        model.fit(matrix, show_progress=False)
    lists = []
    for example in examples:
        own = np.bincount(example.known.place, minlength=len(example.known.products)).astype(float)
        row = sparse.csr_matrix((own, example.known.products, [0, len(own)]), shape=(1, matrix.shape[1]))
        rows, scores = model.recommend(0, row, N=n, filter_already_liked_items=False)
        lists.append([int(found) for found, score in zip(rows, scores, strict=True) if found >= 0 and score > 0][:n])
    return lists


def factorisation(snapshot: Snapshot, examples: Sequence[Example], alpha: float, n: int, seed: int) -> Lists:
    """Matrix factorisation alone (implicit ALS, the visitor folded in); the first setting is the model's own retriever's."""
    retriever = snapshot.retrieval.factors
    if alpha != ALPHA:
        retriever = fit_factors(snapshot.visits, len(snapshot.retrieval.ids), alpha=alpha, seed=seed)
    return [list(map(int, retriever.candidates(example.known, n))) for example in examples]


def linear(snapshot: Snapshot, examples: Sequence[Example], l2: float, n: int, seed: int) -> Lists:
    """EASE (Steck 2019) over the 12,000 products that most visitors know, learnt from up to 6,000 visitors.

    Where visitors are fewer than products, (X'X + l2 I)^-1 is had from the smaller XX' by Woodbury's identity.
    """
    matrix = touched(snapshot.visits, len(snapshot.retrieval.ids))
    known = np.bincount(matrix.indices, minlength=matrix.shape[1])
    products = np.lexsort((np.arange(len(known)), -known))[:MOST_LINEAR_PRODUCTS]
    products = np.sort(products[known[products] > 0])
    if matrix.shape[0] > MOST_LINEAR_VISITORS:
        drawn = np.random.default_rng(seed).choice(matrix.shape[0], MOST_LINEAR_VISITORS, replace=False)
        matrix = matrix[np.sort(drawn)]
    learnt = matrix[:, products].astype(np.float32)
    asked = _rows_of(examples, products, matrix.shape[1])
    scores = linear_scores(learnt, asked, l2=l2)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return [list(map(int, products[row])) for row in top]


def linear_scores(learnt: sparse.csr_matrix, asked: sparse.csr_matrix, *, l2: float) -> NDArray[np.float32]:
    """What EASE learnt from ``learnt`` (n_visitors, n_products) says of each row of ``asked``; same shape as ``asked``.

    With P = (X'X + l2 I)^-1 the weights are -P / diag(P) with diagonal 0, so that a row q scores q - qP / diag(P).
    """
    few = learnt.shape[0] < learnt.shape[1]
    square = (learnt @ learnt.T if few else learnt.T @ learnt).toarray().astype(np.float32)
    square[np.diag_indices(len(square))] += np.float32(l2)
    lower = cholesky(square, lower=True, overwrite_a=True, check_finite=False)
    dense = asked.toarray()
    if few:
        half = solve_triangular(lower, learnt.toarray(), lower=True, overwrite_b=True, check_finite=False)
        left = solve_triangular(lower, (learnt @ asked.T).toarray(), lower=True, check_finite=False)
        diagonal = (1 - (half**2).sum(axis=0)) / l2
        projected = (dense - left.T @ half) / l2
    else:
        inverse = solve_triangular(lower, np.eye(len(lower), dtype=np.float32), lower=True, check_finite=False)
        diagonal = (inverse**2).sum(axis=0)
        projected = (asked @ inverse.T) @ inverse
    return np.asarray(dense - projected / diagonal, dtype=np.float32)


def frequent_baskets(snapshot: Snapshot, examples: Sequence[Example], share: float, n: int, seed: int) -> Lists:
    """TIFU-KNN (Hu et al. 2020): own temporal frequency, and that of the nearest customers."""
    retriever = snapshot.retrieval.lookalikes
    lists = []
    for example in examples:
        own, others = own_frequency(example.known), retriever.reached(example.known)
        lists.append(list(map(int, best(_blended(own, others, share), n))))
    return lists


def similar_sessions(snapshot: Snapshot, examples: Sequence[Example], nearest: float, n: int, seed: int) -> Lists:
    """VMIS-kNN (Kersbergen et al. 2022); the product looked at right now is left out."""
    lists = []
    for example in examples:
        found = best(
            snapshot.retrieval.sessions.all_reached(example.known, nearest=int(nearest))["sessions_rarity"], n + 1
        )
        lists.append([int(row) for row in found if row != example.known.looking_at][:n])
    return lists


def counted(snapshot: Snapshot) -> sparse.csr_matrix:
    """How often each visitor touched each product; shape (n_visitors, n_products)."""
    visits = snapshot.visits
    shape = (len(visits.visitors), len(snapshot.retrieval.ids))
    return sparse.csr_matrix((np.ones(len(visits.rows)), (visits.visitor, visits.rows)), shape=shape)


def _rows_of(examples: Sequence[Example], products: NDArray[np.int64], count: int) -> sparse.csr_matrix:
    sizes = [len(example.known.products) for example in examples]
    columns = np.concatenate([example.known.products for example in examples])
    starts = np.concatenate([[0], np.cumsum(sizes)])
    whole = sparse.csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(len(examples), count))
    return whole[:, products]


def _blended(own: Reached, others: Reached, share: float) -> Reached:
    rows = np.concatenate([own[0], others[0]])
    return summed(rows, np.concatenate([share * own[1], (1 - share) * others[1]]))


BASELINES = {
    "popular": Baseline(popular, (30.0, 7.0, 120.0)),
    "personal top": Baseline(personal_top, (60.0, 14.0, 30.0, 120.0, 365.0)),
    "BM25 item-kNN": Baseline(item_neighbours, (200.0, 50.0)),
    "implicit ALS": Baseline(factorisation, (ALPHA, ALPHA / 10, ALPHA * 10)),
    "EASE": Baseline(linear, (500.0, 100.0)),
    "TIFU-KNN": Baseline(frequent_baskets, (0.7, 0.5, 0.9)),
    "VMIS-kNN": Baseline(similar_sessions, (100.0, 500.0)),
}
