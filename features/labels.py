"""What came true after a moment: the labels that models learn."""

from datetime import UTC, datetime, timedelta

import ibis
import pandas as pd

from features.arithmetic import as_money, day_number, microseconds, money_units
from regulars.as_of import Tables, known_tables, moment
from regulars.errors import MissingData

END_OF_TIME = datetime(9999, 1, 1, tzinfo=UTC)


def churn_labels(
    tables: Tables,
    *,
    as_of: datetime,
    horizon_days: int,
    lookback_days: int,
    label_as_of: datetime | None = None,
) -> ibis.Table:
    """One row per customer with an order in [as_of - lookback, as_of): customer_id, churned (int8).

    Churned is 1 where no order follows in [as_of, as_of + horizon). Who is eligible is what was known at ``as_of``; what
    followed is what was known at ``label_as_of``, by default all that the lake holds.

    Raises:
        MissingData: where the horizon ends after what is known, so that the labels are not known either.

    >>> from datetime import datetime, timezone
    >>> from features.examples import order_lines
    >>> tables = order_lines([("1", "ann", "tea", "2024-05-01", 1, 3.0), ("2", "bob", "tea", "2024-05-02", 1, 3.0),
    ...                       ("3", "bob", "tea", "2024-05-20", 1, 3.0)])
    >>> at = datetime(2024, 5, 10, tzinfo=timezone.utc)
    >>> labels = churn_labels(tables, as_of=at, horizon_days=10, lookback_days=365).execute()
    >>> dict(zip(labels["customer_id"], labels["churned"].tolist()))  # the 20th is outside [10th, 20th)
    {'ann': 1, 'bob': 1}
    """
    if "orders" not in tables:
        raise MissingData("churn labels need orders; import them first: regulars import orders FILE")
    orders = {"orders": tables["orders"]}
    start = moment(as_of)
    end = start + timedelta(days=horizon_days)
    _check_known(orders, end, label_as_of)
    before = known_tables(orders, as_of=as_of)["orders"]
    after = known_tables(orders, as_of=label_as_of or END_OF_TIME)["orders"]
    began = ibis.literal(start - timedelta(days=lookback_days), "timestamp")
    eligible = (
        before.filter(before.customer_id.notnull() & (before.ordered_at >= began)).select("customer_id").distinct()
    )
    window = (after.ordered_at >= ibis.literal(start, "timestamp")) & (
        after.ordered_at < ibis.literal(end, "timestamp")
    )
    came = after.filter(after.customer_id.notnull() & window).select(came_id=after.customer_id).distinct()
    joined = eligible.left_join(came, eligible.customer_id == came.came_id)
    labels = joined.select("customer_id", churned=ibis.ifelse(joined.came_id.isnull(), 1, 0).cast("int8"))
    return labels.order_by("customer_id")


def cancellation_labels(
    tables: Tables, *, as_of: datetime, horizon_days: int, label_as_of: datetime | None = None
) -> ibis.Table:
    """One row per customer with a running subscription just before ``as_of``: customer_id, cancelled (int8).

    Cancelled is 1 where one of those subscriptions is cancelled in [as_of, as_of + horizon). What runs is what was known at
    ``as_of``; what followed is what was known at ``label_as_of``, by default all that the lake holds.

    Raises:
        MissingData: where the shop has no subscriptions, or the horizon ends after what is known.

    >>> from datetime import datetime, timezone
    >>> from features.examples import lake_rows, order_lines
    >>> began = {"subscription_id": "1", "started_at": "2024-01-01"}
    >>> rows = [began | {"customer_id": "ann", "cancelled_at": "2024-05-12"}]
    >>> rows += [began | {"customer_id": "bob", "subscription_id": "2"}]
    >>> tables = order_lines([("1", "ann", "tea", "2024-06-01", 1, 3.0)]) | {"subscriptions": lake_rows("subscriptions", rows)}
    >>> at = datetime(2024, 5, 10, tzinfo=timezone.utc)
    >>> labels = cancellation_labels(tables, as_of=at, horizon_days=10).execute()
    >>> dict(zip(labels["customer_id"], labels["cancelled"].tolist()))
    {'ann': 1, 'bob': 0}
    """
    labels = subscription_labels(tables, as_of=as_of, horizon_days=horizon_days, label_as_of=label_as_of)
    return labels.group_by("customer_id").agg(cancelled=labels.cancelled.max()).order_by("customer_id")


def subscription_labels(
    tables: Tables, *, as_of: datetime, horizon_days: int, label_as_of: datetime | None = None
) -> ibis.Table:
    """One row per subscription that ran just before ``as_of``: subscription_id, customer_id, cancelled (int8).

    Cancelled is 1 where it is cancelled in [as_of, as_of + horizon). What is known when is as for ``cancellation_labels``.

    Raises:
        MissingData: where the shop has no subscriptions, or the horizon ends after what is known.

    >>> from datetime import datetime, timezone
    >>> from features.examples import lake_rows
    >>> rows = [{"subscription_id": place, "customer_id": "ann", "started_at": "2024-01-01", "cancelled_at": ended}
    ...         for place, ended in (("1", "2024-05-09"), ("2", "2024-05-12"), ("3", None))]
    >>> tables, at = {"subscriptions": lake_rows("subscriptions", rows)}, datetime(2024, 5, 10, tzinfo=timezone.utc)
    >>> labels = subscription_labels(tables, as_of=at, horizon_days=10).execute()
    >>> dict(zip(labels["subscription_id"], labels["cancelled"].tolist()))
    {'2': 1, '3': 0}
    """
    if "subscriptions" not in tables:
        raise MissingData("cancellation labels need subscriptions; import them: regulars import subscriptions FILE")
    start = moment(as_of)
    end = start + timedelta(days=horizon_days)
    if "orders" in tables or label_as_of is not None:
        _check_known(tables, end, label_as_of)
    rows = {"subscriptions": tables["subscriptions"]}
    before = known_tables(rows, as_of=as_of)["subscriptions"]
    after = known_tables(rows, as_of=label_as_of or END_OF_TIME)["subscriptions"]
    running = before.filter(before.cancelled_at.isnull()).select("subscription_id", "customer_id")
    window = (after.cancelled_at >= ibis.literal(start, "timestamp")) & (
        after.cancelled_at < ibis.literal(end, "timestamp")
    )
    ended = after.filter(window).select(ended_id=after.subscription_id)
    joined = running.left_join(ended, running.subscription_id == ended.ended_id)
    labels = joined.select("subscription_id", "customer_id", cancelled=joined.ended_id.notnull().cast("int8"))
    return labels.order_by("subscription_id")


def _check_known(orders: Tables, end: datetime, label_as_of: datetime | None) -> None:
    if label_as_of is not None:
        known_until = moment(label_as_of)
    else:
        last = orders["orders"].ordered_at.max().execute()
        known_until = end if pd.isna(last) else last.to_pydatetime() + timedelta(days=1)
    if end > known_until:
        raise MissingData(
            f"labels look ahead to {end.isoformat()}, but what happened is known only until {known_until.isoformat()}; "
            "give an earlier --as-of or a shorter --horizon"
        )


def value_labels(
    tables: Tables,
    *,
    as_of: datetime,
    horizon_days: int,
    lookback_days: int,
    label_as_of: datetime | None = None,
) -> ibis.Table:
    """One row per customer with an order in [as_of - lookback, as_of): customer_id, order_days, orders, money (float64).

    What came in [as_of, as_of + horizon), 0 where nothing did: UTC days with an order, orders, and money in the shop's
    currency. Who is eligible and what followed are known as for ``churn_labels``.

    Raises:
        MissingData: where the horizon ends after what is known, so that the labels are not known either.

    >>> from datetime import datetime, timezone
    >>> from features.examples import order_lines
    >>> tables = order_lines([("1", "ann", "tea", "2024-05-01", 1, 3.0), ("2", "ann", "tea", "2024-05-12", 2, 3.0),
    ...                       ("3", "ann", "cup", "2024-05-12", 1, 4.0), ("4", "bob", "tea", "2024-05-02", 1, 3.0)])
    >>> at = datetime(2024, 5, 10, tzinfo=timezone.utc)
    >>> labels = value_labels(tables, as_of=at, horizon_days=3, lookback_days=365).execute().set_index("customer_id")
    >>> labels.loc["ann"].tolist(), labels.loc["bob"].tolist()
    ([1.0, 2.0, 10.0], [0.0, 0.0, 0.0])
    """
    labelled = churn_labels(
        tables, as_of=as_of, horizon_days=horizon_days, lookback_days=lookback_days, label_as_of=label_as_of
    )
    eligible = labelled.select("customer_id")
    start = moment(as_of)
    after = known_tables({"orders": tables["orders"]}, as_of=label_as_of or END_OF_TIME)["orders"]
    window = (after.ordered_at >= ibis.literal(start, "timestamp")) & (
        after.ordered_at < ibis.literal(start + timedelta(days=horizon_days), "timestamp")
    )
    lines = after.filter(after.customer_id.notnull() & window).select(
        "customer_id",
        "order_id",
        day=day_number(microseconds(after.ordered_at)),
        units=money_units(after.quantity * after.unit_price),
    )
    came = lines.group_by(came_id="customer_id").agg(
        order_days=lines.day.nunique(), orders=lines.order_id.nunique(), units=lines.units.sum()
    )
    joined = eligible.left_join(came, eligible.customer_id == came.came_id)
    labels = joined.select(
        "customer_id",
        order_days=ibis.coalesce(joined.order_days, 0).cast("float64"),
        orders=ibis.coalesce(joined.orders, 0).cast("float64"),
        money=as_money(ibis.coalesce(joined.units, 0)),
    )
    return labels.order_by("customer_id")
