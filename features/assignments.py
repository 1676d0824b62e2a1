"""Who was made which offer, what was known of them then, and what followed."""

from datetime import UTC, datetime, timedelta

import ibis
import numpy as np
import pandas as pd

from features.attributes import customer_attributes
from features.build import read_customer_features
from regulars.as_of import Tables, known_tables
from regulars.errors import MissingData

MOST_MOMENTS = 24
RECORDED = ("visited", "redeemed", "converted")


def assigned_rows(tables: Tables, *, as_of: datetime, horizon_days: int, outcome: str) -> pd.DataFrame:
    """One row per assignment whose window [assigned_at, assigned_at + horizon) had closed by ``as_of``.

    Columns: assignment_id, customer_id, assigned_at, offer_id (empty where nothing was offered), propensity (null where
    not known), outcome (0 or 1, or money for ``revenue``); sorted by assignment_id.

    Raises:
        MissingData: where no such row is known.
    """
    known = known_tables(tables, as_of=as_of)
    if "assignments" not in known:
        raise MissingData(
            "offers are learnt from assignments and outcomes; import them first: regulars import assignments FILE"
        )
    rows = known["assignments"].execute().sort_values("assignment_id", ignore_index=True)
    closed = rows[rows["assigned_at"] + pd.Timedelta(days=horizon_days) <= _naive(as_of)].reset_index(drop=True)
    if closed.empty:
        raise MissingData(
            f"none of {len(rows):,} assignments was made {horizon_days} days before {as_of.isoformat()}; "
            f"give a shorter --horizon or a later --as-of"
        )
    closed = closed.assign(offer_id=closed["offer_id"].fillna(""))
    return closed.assign(outcome=_outcome(known, closed, horizon_days=horizon_days, outcome=outcome))


def recorded_outcome(tables: Tables, *, as_of: datetime) -> str:
    """The outcome to learn where none is named.

    ``converted`` where customers without an offer have it too, else ``revenue`` from orders, else the commonest recorded.
    """
    known = known_tables(tables, as_of=as_of)
    kinds: list[str] = []
    if {"outcomes", "assignments"} <= set(known):
        seen = known["outcomes"].inner_join(known["assignments"].select("assignment_id", "offer_id"), "assignment_id")
        counted = seen.group_by("kind").agg(all=seen.count(), held_out=seen.offer_id.isnull().sum()).execute()
        if (counted.loc[counted["kind"] == "converted", "held_out"] > 0).any():
            return "converted"
        kinds = list(counted.sort_values(["all", "kind"], ascending=[False, True])["kind"])
    if "orders" in known:
        return "revenue"
    return kinds[0] if kinds else "visited"


def features_when_assigned(tables: Tables, rows: pd.DataFrame) -> pd.DataFrame:
    """What was known of each row's customer just before it was assigned, indexed as ``rows``.

    At more than 24 distinct moments, a row takes what was known at the latest of 24 chosen moments before it.
    """
    moments = _moments(rows["assigned_at"])
    chosen = np.searchsorted(moments, rows["assigned_at"].to_numpy(), side="right") - 1
    parts = []
    for at in np.unique(chosen):
        group = rows[chosen == at]
        about = customers_at(tables, as_of=pd.Timestamp(moments[at]).to_pydatetime().replace(tzinfo=UTC))
        parts.append(about.reindex(group["customer_id"]).set_index(group.index))
    return pd.concat(parts).loc[rows.index]


def customers_at(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """Order features and the shop's own attributes of every known customer, indexed by customer_id, in order.

    ``orders_segment``: none, 1, 2 to 5, 6 or more (where there are orders at all).
    """
    about = customer_attributes(tables, as_of=as_of)
    if "orders" not in tables:
        return about
    ordered = read_customer_features(tables, as_of=as_of).set_index("customer_id").sort_index()
    both = ordered.join(about.add_prefix("attribute_"), how="outer").sort_index()
    return both.assign(orders_segment=_orders_segment(both["count_orders"]))


def _orders_segment(count_orders: pd.Series) -> pd.Series:
    bins, labels = [-np.inf, 0, 1, 5, np.inf], ["none", "1", "2 to 5", "6 or more"]
    return pd.cut(count_orders.fillna(0), bins, labels=labels).astype(str)


def _moments(times: pd.Series) -> np.ndarray:
    distinct = np.unique(times.to_numpy())
    if len(distinct) <= MOST_MOMENTS:
        return distinct
    return distinct[np.linspace(0, len(distinct) - 1, MOST_MOMENTS).astype(int)]


def _outcome(known: dict[str, ibis.Table], rows: pd.DataFrame, *, horizon_days: int, outcome: str) -> np.ndarray:
    if outcome in RECORDED:
        return _recorded(known, rows, horizon_days=horizon_days, kind=outcome)
    if "orders" in known:
        return _from_orders(known["orders"], rows, horizon_days=horizon_days, outcome=outcome)
    if outcome == "revenue":
        return _recorded(known, rows, horizon_days=horizon_days, kind=None)
    raise MissingData(f"the outcome {outcome} needs the table orders; import it or name another --outcome")


def _recorded(known: dict[str, ibis.Table], rows: pd.DataFrame, *, horizon_days: int, kind: str | None) -> np.ndarray:
    if "outcomes" not in known:
        raise MissingData("no outcomes are known; import them first: regulars import outcomes FILE")
    outcomes = known["outcomes"].execute()
    chosen = outcomes if kind is None else outcomes[outcomes["kind"] == kind]
    if chosen.empty:
        found = ", ".join(sorted(outcomes["kind"].unique())) or "none"
        raise MissingData(f"no outcome of kind {kind} is known, found: {found}; name another --outcome")
    joined = chosen.merge(rows[["assignment_id", "assigned_at"]], on="assignment_id")
    after = joined["occurred_at"] - joined["assigned_at"]
    joined = joined[(after >= pd.Timedelta(0)) & (after < pd.Timedelta(days=horizon_days))]
    if kind is None:
        sums = joined.groupby("assignment_id")["revenue"].sum()
        return rows["assignment_id"].map(sums).fillna(0.0).to_numpy(float)
    return rows["assignment_id"].isin(joined["assignment_id"]).to_numpy(float)


def _from_orders(orders: ibis.Table, rows: pd.DataFrame, *, horizon_days: int, outcome: str) -> np.ndarray:
    sums = np.zeros(len(rows))
    for assigned_at, group in rows.groupby("assigned_at"):
        start = pd.Timestamp(str(assigned_at))
        end = start + timedelta(days=horizon_days)
        window = orders.filter((orders.ordered_at >= start.to_pydatetime()) & (orders.ordered_at < end.to_pydatetime()))
        cents = (window.quantity * window.unit_price * 10_000).round().cast("int64")
        spent = window.group_by("customer_id").agg(money=cents.sum()).execute().set_index("customer_id")["money"]
        found = group["customer_id"].map(spent)
        sums[group.index] = found.notna() if outcome == "retained" else found.fillna(0.0) / 10_000
    return sums


def _naive(as_of: datetime) -> pd.Timestamp:
    return pd.Timestamp(as_of).tz_convert("UTC").tz_localize(None)
