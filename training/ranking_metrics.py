"""Lists of recommendations against what came next: how good, for repeats and for new products apart, and how varied."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.lessons import Example, Snapshot
from training.metrics import bootstrap_interval, hit_rate_at, mrr_at, ndcg_at, recall_at

Floats = NDArray[np.float64]
Measure = Callable[[Sequence[Sequence[str]], Sequence[set[str]], int], Floats]

MEASURES: dict[str, Measure] = {"ndcg": ndcg_at, "recall": recall_at, "mrr": mrr_at, "hit rate": hit_rate_at}
COLUMNS = ("model", "metric", "value", "low", "high", "difference", "difference_low", "difference_high")


def ranking_table(
    lists: Mapping[str, Sequence[Sequence[str]]],
    snapshot: Snapshot,
    examples: Sequence[Example],
    *,
    ours: str | None,
    k: int,
    seed: int,
) -> pd.DataFrame:
    """One row per model and metric with ``COLUMNS``; differences are to ``ours``, paired, theirs minus ours.

    ``lists``: model -> one list of product ids per example. ``... of repeats`` and ``... of new`` count only what the visitor
    had touched before (in a shop that sells: bought), or had not, over the visitors who have such targets; ``... of next`` only
    the very next product of a session. ``novelty`` is the mean of -log2(share of visitors who know the product);
    ``popularity`` the mean rank of the products by popularity, 1 the most popular, 0 the least; ``coverage`` the share of the
    catalogue that is shown to anybody.
    """
    rows: list[tuple[object, ...]] = []
    for metric, each in _each(lists, snapshot, examples, k).items():
        for label, values in each.items():
            apart: tuple[float, ...] = (np.nan, np.nan, np.nan)
            if ours is not None:
                between = values - each[ours]
                apart = (float(between.mean()), *bootstrap_interval(between, seed=seed))
            rows.append((label, metric, float(values.mean()), *bootstrap_interval(values, seed=seed), *apart))
    shown = {
        label: len({p for one in found for p in one}) / len(snapshot.retrieval.ids) for label, found in lists.items()
    }
    for label, share in shown.items():
        apart = (share - shown[ours],) * 3 if ours is not None else (np.nan,) * 3
        rows.append((label, f"coverage@{k}", share, share, share, *apart))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _each(
    lists: Mapping[str, Sequence[Sequence[str]]], snapshot: Snapshot, examples: Sequence[Example], k: int
) -> dict[str, dict[str, Floats]]:
    """Metric -> model -> one value per visitor who counts for it."""
    ids = snapshot.retrieval.ids
    wanted = [set(example.wanted) for example in examples]
    before = [set(ids.ids(example.before)) for example in examples]
    sides = {
        "": wanted,
        " of repeats": [one & old for one, old in zip(wanted, before, strict=True)],
        " of new": [one - old for one, old in zip(wanted, before, strict=True)],
        " of next": [{example.wanted[0]} if example.next_row >= 0 else set() for example in examples],
    }
    found: dict[str, dict[str, Floats]] = {}
    for side, targets in sides.items():
        places = [place for place, one in enumerate(targets) if one]
        if not places:
            continue
        for name, measure in MEASURES.items():
            found[f"{name}@{k}{side}"] = {
                label: measure([listed[place] for place in places], [targets[place] for place in places], k)
                for label, listed in lists.items()
            }
    visitors = np.maximum(snapshot.retrieval.catalogue.count_customers, 0.5) / max(len(snapshot.visits.visitors), 1)
    surprise = -np.log2(np.minimum(visitors, 1.0))
    order = snapshot.retrieval.popular.order
    percentile = np.empty(len(order))
    percentile[order] = 1 - np.arange(len(order)) / max(len(order) - 1, 1)
    for name, values in (("novelty", surprise), ("popularity", percentile)):
        found[f"{name}@{k}"] = {
            label: np.array([values[ids.rows(one)].mean() if len(one) else 0.0 for one in listed])
            for label, listed in lists.items()
        }
    return found
