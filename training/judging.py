"""A ranker on a moment of which it saw nothing, beside the plain ways, and what its scores came to there."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.ids import Rows
from regulars.models.chances import Chances
from regulars.models.ranker import Ranker
from regulars.models.recommender import Recommender
from regulars.models.threads import one_thread
from regulars.models.weighing import Weigher
from training.lessons import BOUGHT, Example, Snapshot, fit_chances
from training.metrics import ece, metric_interval
from training.ranking_baselines import baseline_lists
from training.ranking_metrics import COLUMNS, ranking_table

Floats = NDArray[np.float64]
Lists = Mapping[str, Sequence[Sequence[int]]]

log = logging.getLogger(__name__)

K = 20
MOST_CALIBRATED, LEAST_CHECKED = 500, 100
MOST_LOOKED_THROUGH = 500
ONLY_NEW = ("ndcg", "recall", "hit rate")


@dataclass(frozen=True)
class Unseen:
    """A snapshot that the rankers did not learn from, an earlier one that baselines are tuned on, and visitors of the former."""

    test: Snapshot
    earlier: Snapshot | None
    examples: Sequence[Example]
    sold: bool


def judge(unseen: Unseen | None, ranker: Ranker | None, explorer: Ranker | None, *, seed: int) -> pd.DataFrame:
    """Every product known then is a candidate; empty where there is nobody to judge on.

    Metrics that end on ``repeat=never`` are of lists from which every method leaves out what the visitor had bought before.
    """
    if unseen is None or not unseen.examples:
        return pd.DataFrame(columns=[*COLUMNS, "split"])
    test, examples = unseen.test, unseen.examples
    split = (
        f"{len(examples):,} visitors with history at {test.at:%Y-%m-%d}, products {'bought' if unseen.sold else 'looked at'} "
        f"until {test.until:%Y-%m-%d}, {len(test.retrieval.ids):,} candidates; learnt before"
    )
    deepest = max(len(example.before) for example in examples) if unseen.sold else 0
    found = baseline_lists(test, unseen.earlier, examples, n=K + min(deepest, MOST_LOOKED_THROUGH), seed=seed)
    log.info("recommender: baselines are measured")
    table = _table(found | {"regulars": _ours(test, examples, ranker)}, test, examples, seed=seed)
    if unseen.sold:
        new = {label: _without(lists, examples) for label, lists in found.items()}
        new |= {"regulars": _without(_ours(test, examples, explorer or ranker, only_new=True), examples)}
        kept = {f"{name}@{K} of new": f"{name}@{K}, repeat=never" for name in ONLY_NEW}
        of_new = _table(new, test, examples, seed=seed)
        of_new = of_new[of_new["metric"].isin(kept)]
        table = pd.concat([table, of_new.assign(metric=of_new["metric"].map(kept))], ignore_index=True)
    return table.assign(split=split)


def said_chances(
    unseen: Unseen | None, ranker: Ranker | None, *, only_new: bool = False, seed: int = 0
) -> tuple[Chances | None, pd.DataFrame]:
    """What the ranker's scores came to, over all candidates of up to 500 visitors; and how true that is of others.

    The latter is the expected calibration error of the 20 best of up to 500 further visitors, a row as ``judge`` has them;
    none where there are fewer than 100 others.
    """
    nothing = pd.DataFrame(columns=[*COLUMNS, "split"])
    if unseen is None or ranker is None:
        return None, nothing
    order = np.random.default_rng(seed).permutation(len(unseen.examples))
    learnt, others = order[:MOST_CALIBRATED], order[MOST_CALIBRATED : 2 * MOST_CALIBRATED]
    if len(others) < LEAST_CHECKED:
        learnt, others = np.array_split(order, 2)
    scores, hits = _scored(unseen, learnt, ranker, only_new=only_new, best=None)
    chances = fit_chances(scores, hits)
    if chances is None or len(others) < LEAST_CHECKED:
        return chances, nothing
    shown, came = _scored(unseen, others, ranker, only_new=only_new, best=K)
    said, came = chances.of(shown), came.astype(float)
    low, high = metric_interval(ece, came, said, seed=seed, draws=200)
    metric = f"ece of score@{K}{', repeat=never' if only_new else ''}"
    split = f"the {K} best for each of {len(others):,} visitors, probabilities learnt from {len(learnt):,} others"
    row = {"model": "regulars", "metric": metric, "value": ece(came, said), "low": low, "high": high, "split": split}
    return chances, pd.DataFrame([row | dict.fromkeys(COLUMNS[5:], 0.0)])[[*COLUMNS, "split"]]


def _table(lists: Lists, test: Snapshot, examples: Sequence[Example], *, seed: int) -> pd.DataFrame:
    named = {label: [test.retrieval.ids.ids(one[:K]) for one in found] for label, found in lists.items()}
    return ranking_table(named, test, examples, ours="regulars", k=K, seed=seed)


def _without(lists: Sequence[Sequence[int]], examples: Sequence[Example]) -> list[list[int]]:
    """Each list without what was bought before."""
    return [
        [row for row in one if row not in old][:K]
        for one, old in zip(lists, (set(example.before.tolist()) for example in examples), strict=True)
    ]


@one_thread()
def _ours(
    test: Snapshot, examples: Sequence[Example], ranker: Ranker | None, *, only_new: bool = False
) -> list[list[int]]:
    model = Recommender(test.retrieval, ranker, about={})
    repeat = "never" if only_new else "auto"
    n = K + MOST_LOOKED_THROUGH if only_new else K
    return [model.rank(example.known, moment=example.moment, n=n, repeat=repeat).tolist() for example in examples]


@one_thread()
def _scored(
    unseen: Unseen, places: Rows, ranker: Ranker, *, only_new: bool, best: int | None
) -> tuple[Floats, NDArray[np.bool_]]:
    """Scores of the candidates of some examples, all or the ``best``, and whether each was a target."""
    weigher = Weigher(unseen.test.retrieval)
    scores, hits = [np.zeros(0)], [np.zeros(0, bool)]
    for example in (unseen.examples[place] for place in places):
        rows, features = weigher.featured(example.known, moment=example.moment, repeat="never" if only_new else "auto")
        kept = features[:, BOUGHT] == 0 if only_new else np.ones(len(rows), dtype=bool)
        rows, said = rows[kept], ranker.predict(features[kept])
        order = np.lexsort((rows, -said))[:best]
        scores.append(said[order])
        hits.append(np.isin(rows[order], example.targets))
    return np.concatenate(scores), np.concatenate(hits)
