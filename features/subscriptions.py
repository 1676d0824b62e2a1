"""Subscriptions that run at a moment, one row each: what a model of their cancellation reads."""

from datetime import datetime

import ibis
import pandas as pd

from features.arithmetic import DAY, count_where, microseconds, microseconds_at
from features.build import customer_features_by_slice, feature_names
from features.customers.season import FEATURES as SEASON
from features.customers.subscriptions import FEATURES as SUMMED
from features.customers.subscriptions import announced_then
from regulars.as_of import Tables, known_at
from regulars.errors import MissingData
from regulars.tables import TABLES

FEATURES = (
    "subscription_age_days",
    "subscription_days_to_renewal",
    "subscription_is_paused",
    "subscription_days_paused",
    "count_other_subscriptions",
    "count_other_subscriptions_paused",
    "count_subscriptions_cancelled",
    "days_since_subscription_cancelled",
)
NOT_READ = (*SUMMED, *SEASON)  # of a customer: said here by each subscription itself; the same for all of one moment


def cancellation_features(tables: Tables) -> tuple[str, ...]:
    """``FEATURES``, and where the shop has orders those of the customer but ``NOT_READ``."""
    of_customer = feature_names(tables) if "orders" in tables else ()
    return (*FEATURES, *(name for name in of_customer if name not in NOT_READ))


def running_subscriptions(tables: Tables, *, as_of: datetime) -> ibis.Table:
    """One row per subscription not cancelled just before ``as_of``: subscription_id, customer_id and ``FEATURES``, float64.

    Days are counted to ``as_of`` with fractions. What is of the customer counts other subscriptions: those that run, the
    paused ones among them, and those cancelled. A pause that ended is not known. ``subscription_days_to_renewal`` is null
    where no renewal is still to come, or nobody says when it was announced (``announced_then``).

    Raises:
        MissingData: where the shop has no subscriptions.

    >>> from datetime import datetime, timezone
    >>> from features.examples import lake_rows
    >>> rows = [{"subscription_id": "1", "customer_id": "ann", "started_at": "2024-05-01"},
    ...         {"subscription_id": "2", "customer_id": "ann", "started_at": "2024-05-03", "cancelled_at": "2024-05-08"}]
    >>> at = datetime(2024, 5, 11, tzinfo=timezone.utc)
    >>> row = running_subscriptions({"subscriptions": lake_rows("subscriptions", rows)}, as_of=at).execute().iloc[0]
    >>> [float(row[name]) for name in ("subscription_age_days", "count_other_subscriptions", "count_subscriptions_cancelled")]
    [10.0, 0.0, 1.0]
    """
    if "subscriptions" not in tables:
        raise MissingData(
            "a model of cancellation needs subscriptions; import them: regulars import subscriptions FILE"
        )
    rows = known_at(announced_then(tables["subscriptions"]), TABLES["subscriptions"], as_of=as_of)
    now = microseconds_at(as_of)
    rows = rows.select(
        "subscription_id",
        "customer_id",
        started=microseconds(rows.started_at),
        renews=microseconds(rows.renews_at),
        paused=microseconds(rows.paused_at),
        cancelled=microseconds(rows.cancelled_at),
    )
    runs = rows.cancelled.isnull()
    own = rows.group_by("customer_id").agg(
        running=count_where(rows, runs),
        running_paused=count_where(rows, runs & rows.paused.notnull()),
        count_subscriptions_cancelled=count_where(rows, rows.cancelled.notnull()),
        last=rows.cancelled.max(),
    )
    found = rows.filter(runs).inner_join(own, "customer_id")
    is_paused = found.paused.notnull().cast("float64")
    ahead = ibis.ifelse(found.renews >= now, found.renews, ibis.null("int64"))
    found = found.mutate(
        subscription_age_days=_days(now - found.started),
        subscription_days_to_renewal=_days(ahead - now),
        subscription_is_paused=is_paused,
        subscription_days_paused=_days(now - found.paused),
        count_other_subscriptions=found.running - 1.0,
        count_other_subscriptions_paused=found.running_paused - is_paused,
        days_since_subscription_cancelled=_days(now - found["last"]),
    )
    return found.select("subscription_id", "customer_id", *FEATURES).order_by("subscription_id")


def read_running_subscriptions(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """The rows of ``running_subscriptions`` beside their customers' features: ids and ``cancellation_features``.

    Raises:
        MissingData: where the shop has no subscriptions.
    """
    running = running_subscriptions(tables, as_of=as_of).execute()
    if "orders" not in tables:
        return running
    wanted = set(running["customer_id"])
    parts = [part[part["customer_id"].isin(wanted)] for part in customer_features_by_slice(tables, as_of=as_of)]
    return beside_customers(running, pd.concat(parts, ignore_index=True))


def beside_customers(running: pd.DataFrame, customers: pd.DataFrame) -> pd.DataFrame:
    """``running`` with the features in ``customers`` (one row each); missing for a customer who is not among them."""
    read = customers.drop(columns=[name for name in NOT_READ if name in customers])
    return running.merge(read, on="customer_id", how="left")


def _days(micros: ibis.Value) -> ibis.Value:
    return micros.cast("float64") / float(DAY)
