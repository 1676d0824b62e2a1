"""What deciding on an offer asks of a customer beside features: who they are, what went wrong, how they are reached best."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import ibis
import numpy as np
import pandas as pd

from regulars.as_of import Tables, known_tables, moment

ABOUT = ("country", "region", "city", "locale", "timezone", "birth_date", "acquisition_channel")
TROUBLE_DAYS = 60
UNHAPPY = 0.5
FAULTS = ("quality", "damaged", "late")
PRIOR_MESSAGES = 10
LEAST_ANSWERS = 3
DEFAULT_CHANNEL, DEFAULT_HOUR = "email", 10


def offer_facts(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """One row per customer that any of the tables names, indexed by customer_id, in order.

    Columns: ``ABOUT`` as the shop wrote them; trouble (what went wrong in service within 60 days, in words; null for
    nothing); contacts_7d (messages sent in [as_of - 7 days, as_of)); channel and hour (0-23, UTC) that the customer answers.
    """
    names = ("customers", "orders", "tickets", "deliveries", "returns", "messages")
    known = known_tables({name: tables[name] for name in names if name in tables}, as_of=as_of)
    at = moment(as_of)
    parts = []
    if "customers" in known:
        parts.append(known["customers"].select("customer_id", *ABOUT).execute().set_index("customer_id"))
    parts += [service_trouble(known, at=at).to_frame(), answered(known, at=at)]
    found = pd.concat([part[~part.index.duplicated()] for part in parts], axis=1, sort=True)
    found.index.name = "customer_id"
    columns = [*ABOUT, "trouble", "contacts_7d", "channel", "hour"]
    whole = found.reindex(columns=columns).astype(object)
    return whole.where(whole.notna(), None)


def service_trouble(known: Mapping[str, ibis.Table], *, at: datetime) -> pd.Series:
    """Customer -> the newest kind of trouble in words, named ``trouble``; who had none is absent."""
    since = at - timedelta(days=TROUBLE_DAYS)
    found: list[tuple[str, pd.Series]] = []
    if "returns" in known and "orders" in known:
        rows = known["returns"].filter((known["returns"].returned_at >= since) & known["returns"].reason.isin(FAULTS))
        owners = known["orders"].group_by("order_id").agg(buyer=known["orders"].customer_id.max())
        joined = rows.left_join(owners, "order_id")
        who = joined.select(customer_id=ibis.coalesce(joined.customer_id, joined.buyer)).distinct().execute()
        found.append(("something came broken, wrong or late and was sent back", who["customer_id"]))
    if "deliveries" in known and "orders" in known:
        late = known["deliveries"]
        late = late.filter(
            (late.delivered_at > late.promised_at + ibis.interval(days=1)) & (late.delivered_at >= since)
        )
        joined = late.select("order_id").inner_join(known["orders"].select("order_id", "customer_id"), "order_id")
        found.append(("a parcel came late", joined.select("customer_id").distinct().execute()["customer_id"]))
    if "tickets" in known:
        rows = known["tickets"].filter(known["tickets"].opened_at >= since)
        unhappy = rows.filter(rows.satisfaction < UNHAPPY).select("customer_id").distinct().execute()
        waiting = rows.filter(rows.resolved_at.isnull()).select("customer_id").distinct().execute()
        found.append(("the last answer of the support did not satisfy", unhappy["customer_id"]))
        found.append(("a question to the support is open", waiting["customer_id"]))
    told: dict[str, str] = {}
    for text, who in found:
        told.update(dict.fromkeys(who.dropna(), text))
    return pd.Series(told, dtype=object, name="trouble").rename_axis("customer_id")


def answered(known: Mapping[str, ibis.Table], *, at: datetime) -> pd.DataFrame:
    """Per customer with messages: contacts_7d, and the channel and hour (UTC) that they answer best.

    A channel's share of messages opened or clicked has a prior of ten messages at the share of all customers on it. The
    hour is that of most openings where there are three or more, else that of all customers' most openings, else 10.
    """
    empty = pd.DataFrame(columns=["contacts_7d", "channel", "hour"], index=pd.Index([], name="customer_id"))
    if "messages" not in known:
        return empty
    rows = known["messages"]
    answer = ibis.coalesce(rows.opened_at, rows.clicked_at)
    rows = rows.mutate(answered_at=answer, recent=(rows.sent_at >= at - timedelta(days=7)).cast("int64"))
    counted = rows.group_by(["customer_id", "channel"]).agg(
        sent=rows.count(), answers=rows.answered_at.count(), contacts_7d=rows.recent.sum()
    )
    by_channel = counted.execute()
    if by_channel.empty:
        return empty
    totals = by_channel.groupby("channel")[["sent", "answers"]].sum()
    usual = by_channel["channel"].map(totals["answers"] / totals["sent"])
    share = (by_channel["answers"] + PRIOR_MESSAGES * usual) / (by_channel["sent"] + PRIOR_MESSAGES)
    ranked = by_channel.assign(share=share).sort_values(
        ["customer_id", "share", "channel"], ascending=[True, False, True]
    )
    best = ranked.drop_duplicates("customer_id").set_index("customer_id")["channel"]
    opened = rows.filter(rows.answered_at.notnull())
    opened = opened.mutate(hour=opened.answered_at.hour())
    hours = opened.group_by(["customer_id", "hour"]).agg(n=opened.count()).execute()
    contacts = by_channel.groupby("customer_id")["contacts_7d"].sum()
    return pd.DataFrame({"contacts_7d": contacts, "channel": best, "hour": _hours(hours, contacts.index)})


def _hours(hours: pd.DataFrame, customers: pd.Index) -> pd.Series:
    if hours.empty:
        return pd.Series(DEFAULT_HOUR, customers)
    everyone = hours.groupby("hour")["n"].sum()
    usual = int(np.asarray(everyone.index)[everyone.to_numpy().argmax()])
    ranked = hours.sort_values(["customer_id", "n", "hour"], ascending=[True, False, True]).drop_duplicates(
        "customer_id"
    )
    enough = hours.groupby("customer_id")["n"].sum() >= LEAST_ANSWERS
    own = ranked.set_index("customer_id")["hour"]
    return own[enough.reindex(own.index)].reindex(customers).fillna(usual).astype(int)
