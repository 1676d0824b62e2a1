"""Batch recommendations: the service's own model over customers of the lake or over given histories."""

import tempfile
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.interactions import KIND_OF_EVENT, interactions
from features.products import product_features
from regulars.as_of import Tables
from regulars.errors import DataError
from regulars.models.history import NEWEST, NOTHING, History
from regulars.models.recommender import Context, Recommender
from regulars.progress import stage
from training.tracking import Tracking, Version

CHUNK = 1_000
READ_AT_ONCE = 20_000  # customers


def load_recommender(tracking: Tracking, version: Version) -> Recommender:
    """The recommender of a registered version."""
    with tempfile.TemporaryDirectory() as scratch:
        return Recommender.load(tracking.fetch(version, Path(scratch)))


def recommend_customers(
    tables: Tables,
    model: Recommender,
    *,
    as_of: datetime,
    n: int,
    customers: Sequence[str] | None = None,
    placement: str = "home",
    repeat: str = "auto",
) -> Iterator[pd.DataFrame]:
    """customer_id, rank (from 1), product_id, score, reason: up to n rows per customer (default: all with history).

    In frames of some customers, made when asked for, so that memory does not grow with the number of customers. Products
    that the catalogue calls unavailable are left out.
    """
    known = interactions(tables, as_of=as_of)
    known = known.filter(known.customer_id.notnull()).rename(visitor="customer_id")
    wanted = sorted(known.visitor.as_table().distinct().execute()["visitor"]) if customers is None else customers
    wanted = list(dict.fromkeys(wanted))
    allowed = _available(tables, model, as_of=as_of)
    done = 0
    stage("recommending", begins=0.0, ends=1.0, within=lambda: done / max(len(wanted), 1))
    for start in range(0, max(len(wanted), 1), READ_AT_ONCE):
        part = wanted[start : start + READ_AT_ONCE]
        asked = ibis.memtable({"visitor": part}, schema={"visitor": "string"})
        rows = known.semi_join(asked, "visitor").execute()
        moment = np.full(len(part), int(as_of.timestamp()))
        for frame, count in _answers(
            model, rows, part, moment, n=n, placement=placement, repeat=repeat, allowed=allowed
        ):
            done += count
            yield frame.rename(columns={"visitor": "customer_id"})


def recommend_histories(
    model: Recommender, given: pd.DataFrame, *, n: int, placement: str, repeat: str, timezone: str
) -> Iterator[pd.DataFrame]:
    """history_id, rank (from 1), product_id, score, reason: up to n rows for every history, in frames of some histories.

    ``given``: history_id, product_id, occurred_at and optionally name. The moment of a history is just after its last row.
    """
    rows = pd.DataFrame(
        {
            "visitor": given["history_id"].astype(str),
            "product_id": given["product_id"].astype(str),
            "occurred_at": _times(given["occurred_at"], timezone),
            "kind": "view" if "name" not in given else given["name"].map(_kind),
        }
    )
    last = rows.groupby("visitor", sort=True)["occurred_at"].max()
    moment = _seconds(last) + 1
    done = 0
    stage("recommending", begins=0.0, ends=1.0, within=lambda: done / max(len(last), 1))
    for frame, count in _answers(
        model, rows, list(last.index), moment, n=n, placement=placement, repeat=repeat, allowed=None
    ):
        done += count
        yield frame.rename(columns={"visitor": "history_id"})


def _answers(
    model: Recommender,
    rows: pd.DataFrame,
    wanted: Sequence[str],
    moment: np.ndarray,
    *,
    n: int,
    placement: str,
    repeat: str,
    allowed: NDArray[np.bool_] | None,
) -> Iterator[tuple[pd.DataFrame, int]]:
    """Answers to some visitors at a time, and to how many."""
    ordered = rows.sort_values(["visitor", "occurred_at", "product_id", "kind"], kind="stable")
    by_visitor = {visitor: frame.tail(NEWEST) for visitor, frame in ordered.groupby("visitor", sort=False)}
    for start in range(0, max(len(wanted), 1), CHUNK):
        chunk = list(wanted[start : start + CHUNK])
        histories = [_history(by_visitor.get(visitor)) for visitor in chunk]
        contexts = [
            Context(moment=int(at), placement=placement, repeat=repeat, allowed=allowed)
            for at in moment[start : start + CHUNK]
        ]
        answers = model.recommend_many(histories, contexts, n=n)
        lines = [
            (visitor, item.rank, item.product_id, item.score, item.reason_code)
            for visitor, answer in zip(chunk, answers, strict=True)
            for item in answer.items
        ]
        yield pd.DataFrame(lines, columns=["visitor", "rank", "product_id", "score", "reason"]), len(chunk)


def _history(rows: pd.DataFrame | None) -> History:
    if rows is None:
        return NOTHING
    return History(tuple(rows["product_id"]), _seconds(rows["occurred_at"]), tuple(rows["kind"]))


def _available(tables: Tables, model: Recommender, *, as_of: datetime) -> NDArray[np.bool_] | None:
    products = product_features(tables, as_of=as_of)
    out = products.filter(~products.available).count().execute()
    if not out:
        return None
    return model.mask(products.filter(products.available).product_id.execute().tolist())


def _times(values: pd.Series, timezone: str) -> pd.Series:
    """UTC without zone; a value that names no zone is in ``timezone``."""
    try:
        if pd.api.types.is_datetime64_any_dtype(values):
            return _in_utc(values, timezone)
        text = values.astype(str).str.strip()
        zoned = text.str.contains(r":.*(?:Z|[+-]\d\d:?\d\d)$")
        times = pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]")
        times[zoned] = _in_utc(pd.to_datetime(text[zoned], format="ISO8601", utc=True), timezone)
        times[~zoned] = _in_utc(pd.to_datetime(text[~zoned], format="ISO8601"), timezone)
        return times
    except (ValueError, TypeError, AttributeError) as error:
        reason = str(error).split(". ", maxsplit=1)[0]
        raise DataError(f"occurred_at of the histories expects ISO 8601 times: {reason}") from error


def _in_utc(times: pd.Series, timezone: str) -> pd.Series:
    if times.dt.tz is None:
        times = times.dt.tz_localize(timezone, ambiguous=False, nonexistent="shift_forward")
    return times.dt.tz_convert("UTC").dt.tz_localize(None)


def _seconds(times: pd.Series) -> np.ndarray:
    return times.to_numpy().astype("datetime64[s]").astype(np.int64)


def _kind(name: object) -> str:
    return "purchase" if name in ("Order Completed", "purchase") else KIND_OF_EVENT.get(str(name), "view")
