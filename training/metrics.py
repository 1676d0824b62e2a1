"""How good scores and recommendations are, with bootstrap intervals over customers.

Churn metrics take ``labels`` (0 or 1) and ``scores`` (higher is likelier to be 1), both ``(n_customers,)``.
Recommendation metrics take one ranked list of product ids and one set of wanted ids per customer and return
one value per customer, so that a mean and its interval are one step further.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Metric = Callable[[Floats, Floats], float]

CLIP = 1e-6  # a probability of exactly 0 or 1 would make one surprise an infinite loss
BINS = 10


def auc(labels: Floats, scores: Floats) -> float:
    """The probability that a random churner is scored above a random stayer, ties half; nan for one class.

    >>> auc(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    values, place = np.unique(scores, return_inverse=True)
    ones = np.bincount(place, weights=labels, minlength=len(values))
    zeros = np.bincount(place, minlength=len(values)) - ones
    if not ones.sum() or not zeros.sum():
        return float("nan")
    below = np.cumsum(zeros) - zeros / 2
    return float((ones * below).sum() / (ones.sum() * zeros.sum()))


def average_precision(labels: Floats, scores: Floats) -> float:
    """The mean precision over the ranks at which churners are found; nan without churners.

    Equal scores are taken together.

    >>> round(average_precision(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0.1, 0.4, 0.35, 0.8])), 4)
    0.8333
    """
    if not labels.sum():
        return float("nan")
    values, place = np.unique(-scores, return_inverse=True)
    ones = np.bincount(place, weights=labels, minlength=len(values))
    found, asked = np.cumsum(ones), np.cumsum(np.bincount(place, minlength=len(values)))
    return float((ones * found / asked).sum() / ones.sum())


def brier(labels: Floats, scores: Floats) -> float:
    """The mean squared distance between probability and what happened.

    >>> brier(np.array([0.0, 1.0]), np.array([0.5, 1.0]))
    0.125
    """
    return float(np.mean((scores - labels) ** 2))


def log_loss(labels: Floats, scores: Floats) -> float:
    """The mean negative log-likelihood (nats); probabilities are kept ``CLIP`` away from 0 and 1.

    >>> round(log_loss(np.array([0.0, 1.0]), np.array([0.5, 0.5])), 4)
    0.6931
    """
    kept = np.clip(scores, CLIP, 1 - CLIP)
    return float(-np.mean(labels * np.log(kept) + (1 - labels) * np.log1p(-kept)))


def ece(labels: Floats, scores: Floats) -> float:
    """The expected calibration error over ten equal-count bins; equal scores stay in one bin.

    >>> ece(np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.5, 0.5, 0.75, 0.75]))
    0.125
    """
    edges = np.quantile(scores, np.arange(1, BINS) / BINS)
    place = np.searchsorted(edges, scores, side="left")
    gaps = np.bincount(place, weights=labels - scores, minlength=BINS)
    return float(np.abs(gaps).sum() / len(scores))


CHURN_METRICS: dict[str, Metric] = {
    "auc": auc,
    "average_precision": average_precision,
    "brier": brier,
    "ece": ece,
    "log_loss": log_loss,
}


def mean_absolute_error(truth: Floats, guess: Floats) -> float:
    """The mean distance between what was said and what came, in its unit.

    >>> mean_absolute_error(np.array([0.0, 3.0]), np.array([1.0, 1.0]))
    1.5
    """
    return float(np.mean(np.abs(truth - guess)))


def rank_correlation(truth: Floats, guess: Floats) -> float:
    """Spearman's rank correlation, equal values sharing their mean rank; nan where either is all one value.

    >>> rank_correlation(np.array([1.0, 2.0, 30.0]), np.array([0.1, 0.2, 0.3]))
    1.0
    """
    ranks = [_mean_ranks(values) for values in (truth, guess)]
    centred = [values - values.mean() for values in ranks]
    scale = float(np.sqrt((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float(centred[0] @ centred[1] / scale) if scale > 0 else float("nan")


def _mean_ranks(values: Floats) -> Floats:
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(count) - (count - 1) / 2)[place], dtype=float)


VALUE_METRICS: dict[str, Metric] = {"mae": mean_absolute_error, "rank_correlation": rank_correlation}


AT_ONCE = 200_000  # values drawn in one go


def bootstrap_interval(values: Floats, *, seed: int, draws: int = 1000, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval ``(low, high)`` of the mean of ``values``, one per customer; nan for none.

    >>> bootstrap_interval(np.ones(8), seed=0, draws=10)
    (1.0, 1.0)
    """
    if not len(values):
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    n, at_once = len(values), max(1, AT_ONCE // len(values))
    blocks = [min(at_once, draws - done) for done in range(0, draws, at_once)]
    means = [values[rng.integers(n, size=(block, n), dtype=np.int32)].mean(axis=1) for block in blocks]
    return _bounds(np.concatenate(means).tolist(), level)


def metric_interval(
    metric: Metric, labels: Floats, scores: Floats, *, seed: int, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """The percentile interval ``(low, high)`` of a metric, customers drawn with replacement.

    Draws of one class, where a metric is nan, are left out; nan where all are.

    >>> metric_interval(brier, np.array([0.0, 1.0]), np.array([0.5, 0.5]), seed=0, draws=10)
    (0.25, 0.25)
    """
    order = np.argsort(scores, kind="stable")
    labels, scores = labels[order], scores[order]
    return _bounds([metric(labels[rows], scores[rows]) for rows in resamples(len(labels), seed, draws)], level)


def difference_interval(
    metric: Metric,
    labels: Floats,
    ours: Floats,
    theirs: Floats,
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """The percentile interval of ``metric(ours) - metric(theirs)``, both on the same drawn customers.

    >>> scores = np.array([0.2, 0.7, 0.4, 0.6])
    >>> difference_interval(auc, np.array([0.0, 1.0, 0.0, 1.0]), scores, scores, seed=0, draws=20)
    (0.0, 0.0)
    """
    rows_drawn = resamples(len(labels), seed, draws)
    return _bounds(
        [metric(labels[rows], ours[rows]) - metric(labels[rows], theirs[rows]) for rows in rows_drawn], level
    )


def resamples(n: int, seed: int, draws: int) -> list[NDArray[np.int64]]:
    """Row numbers of ``draws`` bootstrap samples, each in rising order so that sorted input stays sorted."""
    rng = np.random.default_rng(seed)
    return [np.sort(rng.integers(n, size=n)) for _ in range(draws)]


def _bounds(values: Sequence[float], level: float) -> tuple[float, float]:
    finite = np.array([value for value in values if np.isfinite(value)])
    if not len(finite):
        return float("nan"), float("nan")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def ndcg_at(recommended: Sequence[Sequence[str]], targets: Sequence[set[str]], k: int) -> Floats:
    """NDCG@k per customer with binary gain; the ideal list has ``min(k, number of targets)`` hits.

    Raises:
        ValueError: where a customer has no target, or the two lists are not of one length.

    >>> ndcg_at([["a", "b"], ["c"]], [{"b"}, {"c"}], 2).round(4).tolist()
    [0.6309, 1.0]
    """
    gains = 1 / np.log2(np.arange(2, k + 2))
    hits = _hits(recommended, targets, k)
    ideal = np.cumsum(gains)[np.array([min(k, len(wanted)) - 1 for wanted in targets], dtype=int)]
    return np.asarray(hits @ gains / ideal, dtype=float)


def recall_at(recommended: Sequence[Sequence[str]], targets: Sequence[set[str]], k: int) -> Floats:
    """Hits among the first k per customer, over ``min(k, number of targets)``: the best list reaches 1.

    >>> recall_at([["a", "b"], ["c"]], [{"b", "d"}, {"c"}], 2).tolist()
    [0.5, 1.0]
    """
    possible = np.array([min(k, len(wanted)) for wanted in targets], dtype=float)
    return np.asarray(_hits(recommended, targets, k).sum(axis=1) / possible, dtype=float)


def hit_rate_at(recommended: Sequence[Sequence[str]], targets: Sequence[set[str]], k: int) -> Floats:
    """1.0 for each customer who has a target among the first k, else 0.0.

    >>> hit_rate_at([["a", "b"], ["c"]], [{"b"}, {"d"}], 1).tolist()
    [0.0, 0.0]
    """
    return np.asarray(_hits(recommended, targets, k).max(axis=1, initial=0.0), dtype=float)


def mrr_at(recommended: Sequence[Sequence[str]], targets: Sequence[set[str]], k: int) -> Floats:
    """One over the rank of the first target among the first k, per customer; 0.0 where there is none.

    >>> mrr_at([["a", "b"], ["c"]], [{"b"}, {"d"}], 2).tolist()
    [0.5, 0.0]
    """
    hits = _hits(recommended, targets, k)
    return np.asarray((hits / np.arange(1, k + 1)).max(axis=1, initial=0.0), dtype=float)


def _hits(recommended: Sequence[Sequence[str]], targets: Sequence[set[str]], k: int) -> Floats:
    """``(n_customers, k)``: 1.0 where the product at that rank is wanted and was not listed before."""
    if len(recommended) != len(targets) or not all(targets):
        raise ValueError(
            f"expected one list and one non-empty set of targets per customer, got {len(recommended)} lists, "
            f"{len(targets)} sets, {sum(not wanted for wanted in targets)} of them empty"
        )
    hits = np.zeros((len(targets), k))
    for row, (listed, wanted) in enumerate(zip(recommended, targets, strict=True)):
        seen: set[str] = set()
        for rank, product in enumerate(listed[:k]):
            hits[row, rank] = float(product in wanted and product not in seen)
            seen.add(product)
    return hits
