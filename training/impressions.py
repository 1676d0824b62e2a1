"""What was shown and then clicked or bought, as further lessons of the ranker, each product with the rank at which it stood.

Who looks at a list looks at its first places most, so that clicks say less of what stood below. ``training.lessons.fit_ranker``
estimates what each rank is worth beside the trees.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from features.impressions import GROUP, followed_impressions, histories_then
from regulars.as_of import Tables
from regulars.models.asking import SHELVES
from regulars.models.history import History, known_history
from regulars.models.retrieval import Retrieval
from regulars.models.threads import one_thread
from regulars.models.weighing import Weigher
from training.lessons import Lessons, Snapshot, positions_of
from training.visits import seconds

AT_ONCE = 500
MOST_RANK = 20


def with_impressions(lessons: Lessons, tables: Tables, snapshot: Snapshot, *, as_of: datetime, share: float) -> Lessons:
    """``lessons`` and those of slots shown in the snapshot's window, the newest first, at most ``share`` times as many.

    The same object where nothing that was shown in the window was followed, as in a shop without impressions.
    """
    found = impression_lessons(tables, snapshot, as_of=as_of, most=int(share * len(lessons.sizes)))
    return lessons if found is None else joined([lessons, found])


@one_thread()
def impression_lessons(tables: Tables, snapshot: Snapshot, *, as_of: datetime, most: int) -> Lessons | None:
    """Lessons of up to ``most`` slots shown in the snapshot's window and followed there, None where there are none.

    Features are what the snapshot's retrievers and the history known when it was shown say; the products are those that were
    shown, also the explored ones, among all candidates of that history. Beside a product or a cart the page decides what is
    shown, not the visitor: those slots are left out, as are visitors without history and products that came after the snapshot.
    """
    shown = followed_impressions(tables, start=snapshot.at, end=snapshot.until, as_of=as_of, most=most, without=SHELVES)
    if shown.empty:
        return None
    shown["number"] = shown.groupby(list(GROUP), sort=False).ngroup()
    starts = range(0, int(shown["number"].max()) + 1, AT_ONCE)  # so that their histories do not fill the memory
    chunks = [shown[shown["number"].between(first, first + AT_ONCE - 1)] for first in starts]
    parts = [part for chunk in chunks for part in _made(tables, chunk, snapshot.retrieval, as_of=as_of)]
    return joined(parts) if parts else None


def joined(parts: Sequence[Lessons]) -> Lessons:
    """One after the other."""
    return Lessons(
        np.vstack([part.features for part in parts]),
        np.concatenate([part.grades for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        positions_of(parts),
    )


def _made(tables: Tables, shown: pd.DataFrame, retrieval: Retrieval, *, as_of: datetime) -> Iterator[Lessons]:
    then = histories_then(tables, shown.drop_duplicates("number"), as_of=as_of)
    histories = {number: _history(rows) for number, rows in then.groupby("number")}
    weigher = Weigher(retrieval)
    for number, rows in shown.groupby("number"):
        made = _one(rows, histories[number], weigher) if number in histories else None
        if made is not None:
            yield made


def _one(shown: pd.DataFrame, history: History, weigher: Weigher) -> Lessons | None:
    """The products of one slot; None where nothing is known of the visitor, or what is known of the products orders nothing."""
    moment = int(seconds(shown["shown_at"])[0]) + 1  # everything in the history was known before, to the microsecond
    known = known_history(history, weigher.retrieval.ids, moment=moment)
    rows = weigher.retrieval.ids.rows(shown["product_id"].tolist())
    old = np.flatnonzero(rows >= 0)  # what came into the shop after the snapshot has no features
    grades, ranks, rows = (part[old] for part in (shown["grade"].to_numpy(), shown["rank"].to_numpy(), rows))
    if not len(known.products) or not len(rows) or grades.min() == grades.max():
        return None
    candidates, made = weigher.featured(known, moment=moment, also=rows)  # among which they stood when they were chosen
    return Lessons(
        made[np.searchsorted(candidates, rows)],
        grades.astype(np.int8),
        np.array([len(rows)]),
        np.minimum(ranks, MOST_RANK).astype(np.int32),
    )


def _history(rows: pd.DataFrame) -> History:
    return History(rows["product_id"].tolist(), seconds(rows["occurred_at"]), rows["kind"].tolist())
