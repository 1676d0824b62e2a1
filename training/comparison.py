"""Versions and baselines on one common holdout, paired with the champion.

A holdout is a span [FROM, TO): features and histories are those known just before FROM, what came true is what happened
in it. A version whose training saw any of it is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.build import read_customer_features
from features.labels import churn_labels
from regulars.as_of import Tables, known_tables
from regulars.errors import DataError, MissingData
from regulars.models.churn import ChurnModel
from regulars.models.recommender import Context, Recommender
from training.churn import churn_baselines
from training.lessons import Snapshot
from training.metrics import CHURN_METRICS, metric_interval, resamples
from training.ranking_baselines import baseline_lists
from training.ranking_metrics import ranking_table
from training.recommender import snapshot_at

Floats = NDArray[np.float64]

K = 20
DRAWS = 500
COLUMNS = ("segment", "model", "metric", "value", "low", "high", "difference", "difference_low", "difference_high")
CHURN_REPORTED = ("log_loss", "auc", "brier", "ece")
SEGMENTS = ("frequency", "value", "country")
DECIDES = {
    "churn": ("log_loss", -1),
    "recommender": ("ndcg@20", 1),
    "offers": ("value", 1),
}  # what promotion goes by, and which sign is better
GUARDS = {
    "churn": ("ece", -1, 0.0),
    "recommender": ("coverage@20", 1, 0.1),
}  # what must not become worse, by what share


@dataclass(frozen=True)
class Compared:
    """``table``: one row per segment, model and metric with ``COLUMNS``; differences are to the champion, paired.

    ``refused``: version -> why it is not in the table. ``curves``: model -> calibration and gain points.
    """

    name: str
    start: datetime
    end: datetime
    champion: str | None
    table: pd.DataFrame
    refused: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Any] = field(default_factory=dict)

    def verdict(self, model: str) -> dict[str, Any]:
        """What promotion asks of ``model`` against the champion: the deciding difference, and the guards."""
        rows = self.table[(self.table["segment"] == "all") & (self.table["model"] == model)].set_index("metric")
        metric, sign = DECIDES[self.name]
        row = rows.loc[metric]
        worse = self._worse(rows)
        low, high = sorted((sign * row["difference_low"], sign * row["difference_high"]))
        return {
            "champion": self.champion,
            "holdout": [self.start.isoformat(), self.end.isoformat()],
            "metric": metric,
            "gain": float(sign * row["difference"]),
            "gain_low": float(low),
            "gain_high": float(high),
            "worse": worse,
        }

    def _worse(self, rows: pd.DataFrame) -> list[str]:
        """The guard, where it is surely worse by more than is allowed."""
        if self.name not in GUARDS:
            return []
        guard, direction, share = GUARDS[self.name]
        found = rows.loc[guard]
        best = max(direction * found["difference_low"], direction * found["difference_high"])
        return [guard] if best < -share * (found["value"] - found["difference"]) else []


def default_holdout(tables: Tables, *, horizon_days: int) -> tuple[datetime, datetime]:
    """The last ``horizon_days`` that are known whole, ending on a day's 00:00 UTC.

    Raises:
        MissingData: where nothing is known.
    """
    times = [tables[name][column].max().execute() for name, column in (("orders", "ordered_at"), ("events", "occurred_at"))
             if name in tables]  # fmt: skip
    last = max((pd.Timestamp(found) for found in times if found is not None and not pd.isna(found)), default=None)
    if last is None:
        raise MissingData("neither orders nor events are known; run: regulars import orders FILE")
    end = last.floor("D").to_pydatetime().replace(tzinfo=UTC)
    return end - timedelta(days=horizon_days), end


def compare_churn(
    tables: Tables,
    models: Mapping[str, ChurnModel],
    *,
    champion: str | None,
    start: datetime,
    end: datetime,
    by: str | None = None,
    seed: int = 0,
) -> Compared:
    """Every model of ``models`` (label -> model) beside the baselines, which learn from what was known before ``start``.

    Raises:
        DataError: where no model can be judged on [start, end), or there is no such segment.
        MissingData: where nobody was eligible at ``start``, or the span is not known whole.
    """
    horizon = round((end - start) / timedelta(days=1))
    fitting = {label: model for label, model in models.items() if not _why_not(model, start, horizon)}
    refused = {label: why for label, model in models.items() if (why := _why_not(model, start, horizon))}
    if not fitting:
        raise DataError(f"no version can be judged on {start:%Y-%m-%d}..{end:%Y-%m-%d}: {_said(refused)}")
    lookback = next(iter(fitting.values())).lookback_days
    everybody = read_customer_features(tables, as_of=start).set_index("customer_id").sort_index()
    labels = churn_labels(tables, as_of=start, horizon_days=horizon, lookback_days=lookback).execute()
    churned = labels.set_index("customer_id")["churned"].astype(float)
    features = everybody.loc[churned.index]
    if features.empty:
        raise MissingData(f"nobody had ordered in the {lookback} days before {start:%Y-%m-%d}; give another --holdout")
    chances = churn_baselines(
        tables, features, everybody=everybody, as_of=start, horizon_days=horizon, lookback_days=lookback, seed=seed
    )
    chances |= {label: model.predict(features)["churn_probability"].to_numpy() for label, model in fitting.items()}
    truth = churned.to_numpy()
    groups = {"all": np.arange(len(truth))} | _segments(tables, features, by, start)
    judge = champion if champion in fitting else None
    parts = [_churn_rows(name, rows, truth, chances, judge, seed) for name, rows in groups.items()]
    curves = {
        label: {"calibration": calibration(truth, chance), "gain": gain(truth, chance)}
        for label, chance in chances.items()
    }
    return Compared("churn", start, end, judge, pd.concat(parts, ignore_index=True), refused, curves)


def compare_recommenders(
    tables: Tables,
    models: Mapping[str, Recommender],
    *,
    champion: str | None,
    start: datetime,
    end: datetime,
    seed: int = 0,
) -> Compared:
    """Every model of ``models`` beside the baselines, on visitors who were known at ``start`` and came back before ``end``.

    Raises:
        DataError: where no model can be judged on [start, end).
        MissingData: where nobody came back.
    """
    refused = {label: _saw(str(model.about["as_of"])) for label, model in models.items()
               if datetime.fromisoformat(str(model.about["as_of"])) > start}  # fmt: skip
    fitting = {label: model for label, model in models.items() if label not in refused}
    if not fitting:
        raise DataError(f"no version can be judged on {start:%Y-%m-%d}..{end:%Y-%m-%d}: {_said(refused)}")
    snapshot = snapshot_at(tables, start, end, seed=seed)
    if not snapshot.examples:
        raise MissingData(f"no known visitor came back in {start:%Y-%m-%d}..{end:%Y-%m-%d}; give another --holdout")
    lists = _baseline_lists(snapshot, seed=seed)
    for label, model in fitting.items():
        lists[label] = _lists(model, snapshot)
    judge = champion if champion in fitting else None
    table = ranking_table(lists, snapshot, snapshot.examples, ours=judge, k=K, seed=seed).assign(segment="all")
    return Compared("recommender", start, end, judge, table[list(COLUMNS)], refused)


def calibration(truth: Floats, chance: Floats, *, bins: int = 10) -> list[dict[str, float]]:
    """Equal-count bins: mean probability said, share that came true, how many.

    >>> calibration(np.array([0.0, 1.0]), np.array([0.2, 0.6]), bins=2)
    [{'said': 0.2, 'came_true': 0.0, 'customers': 1.0}, {'said': 0.6, 'came_true': 1.0, 'customers': 1.0}]
    """
    order = np.argsort(chance, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return [
        {"said": float(chance[part].mean()), "came_true": float(truth[part].mean()), "customers": float(len(part))}
        for part in parts
    ]


def gain(truth: Floats, chance: Floats, *, steps: int = 10) -> list[dict[str, float]]:
    """Cumulative gain: the share of those who left that the riskiest share of customers holds.

    >>> gain(np.array([0.0, 1.0]), np.array([0.2, 0.6]), steps=2)
    [{'share': 0.5, 'found': 1.0}, {'share': 1.0, 'found': 1.0}]
    """
    order = np.argsort(-chance, kind="stable")
    found = np.cumsum(truth[order]) / max(truth.sum(), 1.0)
    places = [max(round(len(truth) * step / steps), 1) for step in range(1, steps + 1)]
    return [{"share": place / len(truth), "found": float(found[place - 1])} for place in places]


def _why_not(model: ChurnModel, start: datetime, horizon: int) -> str | None:
    if datetime.fromisoformat(model.as_of) > start:
        return _saw(model.as_of)
    if model.horizon_days != horizon:
        return f"it predicts {model.horizon_days} days, the holdout is {horizon}"
    return None


def _saw(as_of: str) -> str:
    return f"its training saw data up to {as_of}, which lies in the holdout"


def _said(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{label}: {why}" for label, why in refused.items()) or "there is none"


def _churn_rows(
    segment: str, rows: NDArray[np.int64], truth: Floats, chances: Mapping[str, Floats], champion: str | None, seed: int
) -> pd.DataFrame:
    if not len(rows):
        return pd.DataFrame(columns=list(COLUMNS))
    drawn = resamples(len(rows), seed, DRAWS)
    lines = []
    labels = truth[rows]
    for metric in CHURN_REPORTED:
        measure = CHURN_METRICS[metric]
        reference = chances[champion][rows] if champion else None
        base = None if reference is None else measure(labels, reference)
        base_drawn = None if reference is None else [measure(labels[d], reference[d]) for d in drawn]
        for label, chance in chances.items():
            mine = chance[rows]
            value = measure(labels, mine)
            low, high = metric_interval(measure, labels, mine, seed=seed, draws=DRAWS)
            apart = (np.nan, np.nan, np.nan)
            if base is not None and base_drawn is not None:
                each = np.array([measure(labels[d], mine[d]) for d in drawn]) - np.array(base_drawn)
                known = each[np.isfinite(each)]
                bounds = np.quantile(known, [0.025, 0.975]) if len(known) else (np.nan, np.nan)
                apart = (value - base, *bounds)
            lines.append((segment, label, metric, value, low, high, *apart))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _segments(tables: Tables, features: pd.DataFrame, by: str | None, start: datetime) -> dict[str, NDArray[np.int64]]:
    if by is None:
        return {}
    if by == "frequency":
        names = pd.cut(
            features["count_orders"], [0, 1, 5, np.inf], labels=["1 order", "2 to 5 orders", "6 orders or more"]
        )
    elif by == "value":
        ranks = features["money_total"].rank(method="first")
        names = pd.qcut(
            ranks, min(4, len(features)), labels=["lowest", "low", "high", "highest"][: min(4, len(features))]
        )
        names = names.astype(str) + " quarter of spend"
    elif by == "country" and "customers" in tables:
        known = known_tables({"customers": tables["customers"]}, as_of=start)["customers"]
        said = known.select("customer_id", "country").execute().set_index("customer_id")["country"]
        names = said.reindex(features.index).fillna("no country known")
    else:
        raise DataError(f"--by expects one of {', '.join(SEGMENTS)} (country needs the table customers), got {by!r}")
    found = pd.Series(names.astype(str).to_numpy())
    return {str(name): np.asarray(group.index, dtype=np.int64) for name, group in found.groupby(found)}


def _baseline_lists(snapshot: Snapshot, *, seed: int) -> dict[str, list[list[str]]]:
    ids = snapshot.retrieval.ids
    found = baseline_lists(snapshot, None, snapshot.examples, n=K, seed=seed)
    return {name: [ids.ids(rows) for rows in lists] for name, lists in found.items()}


def _lists(model: Recommender, snapshot: Snapshot) -> list[list[str]]:
    histories = [example.history for example in snapshot.examples]
    contexts = [Context(moment=example.moment) for example in snapshot.examples]
    answers = model.recommend_many(histories, contexts, n=K)
    return [[item.product_id for item in answer.items] for answer in answers]
