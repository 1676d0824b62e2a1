"""How a customer may be reached: what they consented to, channel by channel, and where they unsubscribed."""

from datetime import datetime
from typing import Any

import pandas as pd

from regulars.as_of import Tables, known_tables

CHANNELS = ("email", "sms", "push", "ads")


def contacts(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """One row per customer that any table says something about, indexed by customer_id, in order.

    Columns ``consent_<channel>``: True, False, or None where it is not known. The newest row of ``consents`` for each
    purpose counts, all purposes must be given, and it replaces what ``customers`` says. ``unsubscribed``: the channels
    that were unsubscribed from after the newest consent, as a sorted list.
    """
    known = known_tables(
        {name: tables[name] for name in ("customers", "consents", "messages") if name in tables}, as_of=as_of
    )
    said = _said_by_customers(known["customers"].execute()) if "customers" in known else _empty()
    newest = _newest(known["consents"].execute()) if "consents" in known else _no_consents()
    left = _unsubscribed(known["messages"].execute(), newest) if "messages" in known else pd.Series(dtype=object)
    ids = said.index.union(pd.Index(newest["customer_id"])).union(left.index).sort_values()
    merged = said.reindex(ids)
    for channel in CHANNELS:
        rows = newest[newest["channel"] == channel].astype({"given": bool})
        given = rows.groupby("customer_id")["given"].all().astype(object)
        merged[f"consent_{channel}"] = given.reindex(ids).where(ids.isin(given.index), merged[f"consent_{channel}"])
    unsubscribed = left.reindex(ids)
    lists: list[Any] = [found if isinstance(found, list) else [] for found in unsubscribed]
    return merged.assign(unsubscribed=lists)


def _said_by_customers(customers: pd.DataFrame) -> pd.DataFrame:
    table = _empty(pd.Index(customers["customer_id"], name="customer_id"))
    for channel in CHANNELS:
        column = f"consent_{channel}"
        if column in customers:
            table[column] = [None if pd.isna(value) else bool(value) for value in customers[column]]
    return table


def _empty(index: pd.Index | None = None) -> pd.DataFrame:
    index = pd.Index([], name="customer_id", dtype=object) if index is None else index
    return pd.DataFrame({f"consent_{channel}": [None] * len(index) for channel in CHANNELS}, index=index, dtype=object)


def _no_consents() -> pd.DataFrame:
    return pd.DataFrame({"customer_id": [], "channel": [], "given": [], "at": []}, dtype=object)


def _newest(consents: pd.DataFrame) -> pd.DataFrame:
    """The newest row of every customer, channel and purpose."""
    return consents.sort_values("at").drop_duplicates(["customer_id", "channel", "purpose"], keep="last")


def _unsubscribed(messages: pd.DataFrame, newest: pd.DataFrame) -> pd.Series:
    left = messages.dropna(subset=["unsubscribed_at"])
    last = left.groupby(["customer_id", "channel"], as_index=False)["unsubscribed_at"].max()
    given = newest[newest["given"].astype(bool)].groupby(["customer_id", "channel"], as_index=False)["at"].max()
    joined = last.merge(given, on=["customer_id", "channel"], how="left")
    still = joined[joined["at"].isna() | (joined["at"] <= joined["unsubscribed_at"])]
    return still.groupby("customer_id")["channel"].agg(sorted)
