"""Learns what shoppers would like next: read, fit retrievers at several moments, rank, evaluate beside baselines, fit on all.

At each moment the retrievers see only what was known then; the ranker learns from what came in the horizon after it. A shop
without purchases of known customers learns the next products of a session instead.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from regulars.as_of import Tables
from regulars.errors import DataError
from regulars.models.history import NEWEST, History, known_rows
from regulars.models.recommender import Recommender
from regulars.models.retrieval import Retrieval
from training.impressions import with_impressions
from training.judging import Unseen, judge, said_chances
from training.lessons import LEAST_EXAMPLES, Example, Snapshot, fit_ranker, lessons_of
from training.results import Trained
from training.retrieving import fit_retrieval, read_shop
from training.visits import Visits, read_visits

log = logging.getLogger(__name__)

PARAMS: dict[str, Any] = {
    "models": 4,
    "trees": 60,
    "learning_rate": 0.15,
    "num_leaves": 31,
    "min_data_in_leaf": 100,
    "feature_fraction": 0.4,
    "bagging_fraction": 0.7,
    "lambda_l2": 5.0,
    "snapshots": 8,
    "visitors": 1_700,
    "examples": 6_500,
    "judged": 1_500,
    "negatives": 60,
    "impressions": 0.5,
}
T = TypeVar("T")
CUTS_PER_SESSION = 12
OF_SESSIONS = {
    "examples": 1.6,
    "negatives": 2.5,
}  # moments of a session are many and alike, and only one product is right
TOO_SMALL = (
    f"Fewer than {LEAST_EXAMPLES} visitors came back within the horizon before: products are ordered by the visitor's own "
    "purchases, their neighbours and popularity, without a ranker."
)


def train_recommender(
    tables: Tables,
    *,
    as_of: datetime,
    horizon_days: int = 28,
    seed: int = 0,
    params: Mapping[str, Any] | None = None,
) -> Trained:
    """The model fitted on all snapshots before ``as_of``, and a table of what it and its baselines reached.

    Judged on the newest snapshot, by a ranker that learnt only from those before it.

    Raises:
        MissingData: where neither orders nor events are known before ``as_of``.
        DataError: where ``params`` names a setting that does not exist.
    """
    chosen = _settings(params)
    rows, products = read_shop(tables, as_of=as_of)
    sold = _has_buyers(rows)
    if not sold:
        chosen |= {name: int(chosen[name] * times) for name, times in OF_SESSIONS.items()}
    moments = (
        _moments(rows, as_of, horizon_days, int(chosen["snapshots"]))
        if sold
        else _session_moments(rows, as_of, int(chosen["snapshots"]))
    )
    newest, earlier, lessons, count = None, None, [], 0
    for at, until in moments:
        taken = _snapshot(tables, rows, at, until, bought_only=sold, chosen=chosen, seed=seed)
        log.info("recommender: %s visitors came back after %s", len(taken.examples), f"{at:%Y-%m-%d}")
        newest, earlier = newest or taken, taken if newest and not earlier else earlier
        learnt = lessons_of(taken, negatives=int(chosen["negatives"]), seed=seed)
        lessons.append(with_impressions(learnt, tables, taken, as_of=as_of, share=float(chosen["impressions"])))
        count += len(learnt.sizes)
        if count > chosen["examples"]:
            break
    unseen = None
    if newest:
        unseen = Unseen(newest, earlier, _drawn(newest.examples, most=int(chosen["judged"]), seed=seed), sold)
    new = [part.of_new_products for part in lessons] if sold else []
    trial, trial_explorer = (fit_ranker(part[1:], chosen=chosen, seed=seed) for part in (lessons, new))
    judged = judge(unseen, trial, trial_explorer, seed=seed)
    chances, told = said_chances(unseen, trial, seed=seed)
    explorer_chances, told_of_new = said_chances(unseen, trial_explorer, only_new=True, seed=seed)
    judged = pd.concat([part for part in (judged, told, told_of_new) if len(part)] or [judged], ignore_index=True)
    log.info("recommender: judged beside its baselines")
    ranker, explorer = (fit_ranker(part, chosen=chosen, seed=seed) for part in (lessons, new))
    retrieval = fit_retrieval(rows, products, as_of=as_of, seed=seed)
    settings = {"horizon_days": horizon_days, "seed": seed}
    settings |= {"params": dict(params)} if params else {}
    wanted = f"probability of a purchase within {horizon_days} days" if sold else "probability of a look in this visit"
    model = Recommender(
        retrieval,
        ranker,
        explorer=explorer,
        chances=chances if ranker else None,
        explorer_chances=explorer_chances if explorer else None,
        about={"as_of": as_of.isoformat(), "horizon_days": horizon_days, "score": wanted},
    )
    model.warm_up()  # so that what only answering compiles is on disk before a service starts
    ours = judged[judged["model"] == "regulars"]
    metrics = {metric_name(str(row.metric)): float(row.value) for row in ours.itertuples()}
    metrics |= {"products": float(len(products))}
    return Trained(model, settings, metrics, judged, notes=() if ranker else (TOO_SMALL,))


def metric_name(metric: str) -> str:
    """A metric's name as MLflow takes it.

    >>> metric_name("recall@20, repeat=never")
    'recall_at_20 repeat never'
    """
    return metric.replace("@", "_at_").replace(",", "").replace("=", " ")


def snapshot_at(tables: Tables, start: datetime, end: datetime, *, seed: int) -> Snapshot:
    """What was known at ``start``, and what known visitors did in [start, end); for comparing models on it."""
    later, _ = read_shop(tables, as_of=end)
    return _snapshot(tables, later, start, end, bought_only=_has_buyers(later), chosen=PARAMS, seed=seed)


def _has_buyers(rows: pd.DataFrame) -> bool:
    return bool((rows["visitor_id"].notna() & (rows["kind"] == "purchase")).any())


def _settings(params: Mapping[str, Any] | None) -> dict[str, Any]:
    unknown = sorted(set(params or {}) - set(PARAMS))
    if unknown:
        raise DataError(f"recommender has no setting {', '.join(unknown)}; it has {', '.join(PARAMS)}")
    return PARAMS | dict(params or {})


def _moments(rows: pd.DataFrame, as_of: datetime, horizon_days: int, most: int) -> list[tuple[datetime, datetime]]:
    """Up to ``most`` windows [at, until) of the horizon, newest first, one after the other, each with history before it."""
    first = pd.Timestamp(rows["occurred_at"].min()).tz_localize("UTC").to_pydatetime()
    ends = [as_of - timedelta(days=horizon_days * number) for number in range(most)]
    windows = [(end - timedelta(days=horizon_days), end) for end in ends]
    return [(at, until) for at, until in windows if at >= first + timedelta(days=horizon_days)]


def _session_moments(rows: pd.DataFrame, as_of: datetime, most: int) -> list[tuple[datetime, datetime]]:
    """Up to ``most`` windows, newest first, each with a tenth of all interactions."""
    edges = rows["occurred_at"].quantile([1 - 0.1 * number for number in range(1, most + 1)])
    starts = [pd.Timestamp(edge).floor("s").tz_localize(UTC).to_pydatetime() for edge in edges]
    windows = list(zip(starts, [as_of, *starts[:-1]], strict=True))
    return [(at, until) for at, until in windows if at < until]


def _snapshot(
    tables: Tables,
    later: pd.DataFrame,
    at: datetime,
    until: datetime,
    *,
    bought_only: bool,
    chosen: Mapping[str, Any],
    seed: int,
) -> Snapshot:
    rows, products = read_shop(tables, as_of=at)
    retrieval = fit_retrieval(rows, products, as_of=at, seed=seed)
    visits = read_visits(rows, retrieval.ids)
    window = later[(later["occurred_at"] >= _naive(at)) & (later["occurred_at"] < _naive(until))]
    window = window[window["visitor_id"].notna()]
    most = int(chosen["visitors"])
    examples = (
        _bought(window, visits, retrieval, at=at, most=most, seed=seed)
        if bought_only
        else _followed(window, visits, retrieval, most=most, seed=seed)
    )
    return Snapshot(at, until, retrieval, visits, tuple(examples))


def _bought(
    window: pd.DataFrame, visits: Visits, retrieval: Retrieval, *, at: datetime, most: int, seed: int
) -> list[Example]:
    """Visitors with history who bought in the window, with what they bought."""
    came = window[window["kind"] == "purchase"].drop_duplicates(["visitor_id", "product_id"])
    wanted = {str(visitor): list(group) for visitor, group in came.groupby("visitor_id")["product_id"]}
    chosen = _drawn([visitor for visitor in wanted if visitor in visits.visitors], most=most, seed=seed)
    moment = int(at.timestamp())
    examples = []
    for visitor in chosen:
        row = visits.visitors.row(visitor)
        part = slice(visits.starts[row], visits.starts[row + 1])
        known = known_rows(
            visits.rows[part], visits.at[part], visits.bought[part], visits.strength[part], moment=moment
        )
        targets = np.sort(retrieval.ids.rows(wanted[visitor]))
        if len(known.products):
            wants = tuple(wanted[visitor])
            before = np.unique(visits.rows[part][visits.bought[part]])
            history = _history(visits, part, retrieval)
            examples.append(Example(known, moment, targets[targets >= 0], wants, history, before))
    return examples


def _followed(window: pd.DataFrame, visits: Visits, retrieval: Retrieval, *, most: int, seed: int) -> list[Example]:
    """Sessions of the window cut at random places: what came before, and the products that came after it."""
    now = read_visits(window.reset_index(drop=True), retrieval.ids)
    rng = np.random.default_rng(seed)
    examples = []
    for visitor in _drawn(now.visitors.to_json(), most=most, seed=seed):
        row, past = now.visitors.row(visitor), visits.visitors.row(visitor)
        part = slice(now.starts[row], now.starts[row + 1])
        old = slice(visits.starts[past], visits.starts[past + 1]) if past >= 0 else slice(0, 0)
        baskets, at, rows = now.baskets[part], now.at[part], now.rows[part]
        for cut in np.sort(rng.permutation(np.arange(1, len(rows)))[:CUTS_PER_SESSION]):
            after = np.flatnonzero((baskets[cut:] == baskets[cut - 1]) & (rows[cut:] != rows[cut - 1])) + cut
            targets = np.unique(rows[after])
            wants = tuple(dict.fromkeys(now.product_ids[part.start + place] for place in after))
            if not wants:
                continue
            moment = int(at[cut - 1]) + 1
            known = known_rows(
                np.concatenate([visits.rows[old], rows[:cut]]),
                np.concatenate([visits.at[old], at[:cut]]),
                np.concatenate([visits.bought[old], now.bought[part][:cut]]),
                np.concatenate([visits.strength[old], now.strength[part][:cut]]),
                moment=moment,
            )
            seen = _history(now, slice(part.start, part.start + int(cut)), retrieval)
            if len(known.products):
                history = _joined(_history(visits, old, retrieval), seen)
                before = np.unique(np.concatenate([visits.rows[old], rows[:cut]]))
                examples.append(
                    Example(
                        known, moment, targets[targets >= 0], wants, history, before[before >= 0], int(rows[after[0]])
                    )
                )
    return examples


def _history(visits: Visits, part: slice, retrieval: Retrieval) -> History:
    """A visitor's newest interactions by product id, as the service would be given them."""
    part = slice(max(part.start, part.stop - NEWEST), part.stop)
    return History(visits.product_ids[part], visits.at[part], visits.kinds[part])


def _joined(first: History, then: History) -> History:
    return History(
        [*first.product_ids, *then.product_ids],
        np.concatenate([first.occurred_at, then.occurred_at]),
        [*first.kinds, *then.kinds],
    )


def _drawn(given: Sequence[T], *, most: int, seed: int) -> list[T]:
    """``most`` of what is given, drawn evenly, in their order."""
    if len(given) <= most:
        return list(given)
    drawn = np.random.default_rng(seed).choice(len(given), size=most, replace=False)
    return [given[place] for place in np.sort(drawn)]


def _naive(at: datetime) -> pd.Timestamp:
    return pd.Timestamp(at).tz_convert("UTC").tz_localize(None)
