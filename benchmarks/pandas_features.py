"""The same customer features as a data scientist would write them in pandas: vectorised, no loop over customers."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

COUNTED = (7, 14, 30, 60, 90, 180, 365)
SPENT = (30, 90, 365)
PART = "customer_part"
COLUMNS = ["order_id", "customer_id", "product_id", "ordered_at", "quantity", "unit_price", "discount", "coupon_id"]
PARTS, USUAL_BUYERS = 64, 5


def customer_features(files: Sequence[Path], *, as_of: datetime, one_in: int = 1) -> pd.DataFrame:
    """One row per customer with an order before ``as_of``; what others bought is learnt from one in ``one_in`` customers."""
    now = pd.Timestamp(as_of).tz_localize(None)
    lines = pd.concat([pd.read_parquet(file, columns=[*COLUMNS, PART]) for file in files], ignore_index=True)
    lines = lines[lines["customer_id"].notna() & (lines["ordered_at"] < now)]
    lines = lines.assign(money=lines["quantity"] * lines["unit_price"], discount=lines["discount"].fillna(0.0))
    orders = lines.groupby(["customer_id", "order_id"], as_index=False).agg(
        ordered=("ordered_at", "min"), money=("money", "sum"), has_coupon=("coupon_id", "count")
    )
    table = _orders(orders, now).join(_rhythm(orders, now)).join(_lines(lines, now)).join(_assortment(lines, one_in))
    return table.join(_season(orders, now)).reset_index()


def _orders(orders: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    grouped = orders.groupby("customer_id")
    age = (now - orders["ordered"]) / pd.Timedelta(days=1)
    table = pd.DataFrame(
        {
            "days_since_last_order": (now - grouped["ordered"].max()) / pd.Timedelta(days=1),
            "days_since_first_order": (now - grouped["ordered"].min()) / pd.Timedelta(days=1),
            "count_orders": grouped.size().astype(float),
            "money_total": grouped["money"].sum(),
            "money_max_order": grouped["money"].max(),
        }
    )
    table = table.assign(money_per_order=table["money_total"] / table["count_orders"])
    for days in COUNTED:
        table[f"count_orders_{days}d"] = (age <= days).groupby(orders["customer_id"]).sum()
    for days in SPENT:
        table[f"money_{days}d"] = orders["money"].where(age <= days, 0.0).groupby(orders["customer_id"]).sum()
    coupons = (orders["has_coupon"] > 0).groupby(orders["customer_id"])
    return table.assign(
        coupon_share_orders=coupons.mean(),
        count_coupons_90d=((orders["has_coupon"] > 0) & (age <= 90)).groupby(orders["customer_id"]).sum(),
    )


def _rhythm(orders: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    days = orders.assign(day=orders["ordered"].dt.floor("D"))[["customer_id", "day"]].drop_duplicates()
    days = days.sort_values(["customer_id", "day"])
    days["gap"] = days.groupby("customer_id")["day"].diff() / pd.Timedelta(days=1)
    grouped = days.groupby("customer_id")
    table = pd.DataFrame(
        {
            "count_order_days": grouped.size().astype(float),
            "days_first_to_last": (grouped["day"].max() - grouped["day"].min()) / pd.Timedelta(days=1),
            "age_days": (now.floor("D") - grouped["day"].min()) / pd.Timedelta(days=1),
            "gap_mean_days": grouped["gap"].mean(),
            "gap_std_days": grouped["gap"].std(),
            "gap_last_days": grouped["gap"].last(),
            "gap_max_days": grouped["gap"].max(),
        }
    )
    waited = (now - grouped["day"].max()) / pd.Timedelta(days=1)
    place = grouped.cumcount(ascending=False)
    for count in (3, 6):
        newest = days["gap"].where(place < count).groupby(days["customer_id"])
        table[f"gap_mean_last_{count}"], table[f"gap_max_last_{count}"] = newest.mean(), newest.max()
    recent = days["gap"].where(days["day"] >= now.floor("D") - pd.Timedelta(days=90))
    table["gap_max_90d"] = recent.groupby(days["customer_id"]).max()
    newest = orders.assign(day=orders["ordered"].dt.floor("D")).groupby(["customer_id", "day"])["money"].sum()
    table["money_last_order"] = newest.groupby(level=0).last()
    return table.assign(
        overdue_last_3_ratio=waited / table["gap_mean_last_3"],
        overdue_max_6_ratio=waited / table["gap_max_last_6"].replace(0, np.nan),
        overdue_ratio=waited / table["gap_mean_days"],
        overdue_zscore=(waited - table["gap_mean_days"]) / table["gap_std_days"].replace(0, np.nan),
    )


def _lines(lines: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    grouped = lines.groupby("customer_id")
    recent = lines[(now - lines["ordered_at"]) <= pd.Timedelta(days=90)].groupby("customer_id")["product_id"].nunique()
    products, count = grouped["product_id"].nunique(), grouped.size()
    discount, money = grouped["discount"].sum(), grouped["money"].sum()
    return pd.DataFrame(
        {
            "count_products": products.astype(float),
            "products_per_order": count / grouped["order_id"].nunique(),
            "repeat_product_share": 1 - products / count,
            "discount_share_lines": (lines["discount"] > 0).groupby(lines["customer_id"]).mean(),
            "count_products_90d": recent.reindex(products.index).fillna(0.0),
            "discount_share_money": discount / (discount + money).replace(0, np.nan),
        }
    )


def _assortment(lines: pd.DataFrame, one_in: int) -> pd.DataFrame:
    some = lines[lines[PART] < PARTS // one_in]
    again = some.groupby(["product_id", "customer_id"])["order_id"].nunique() > 1
    counted = again.groupby(level=0).agg(["sum", "count"])
    usual = counted["sum"].sum() / counted["count"].sum()
    shares = (counted["sum"] + USUAL_BUYERS * usual) / (counted["count"] + USUAL_BUYERS)
    of_line = lines["product_id"].map(np.floor(shares * 10_000)).fillna(np.floor(usual * 10_000)) / 10_000
    last = lines["ordered_at"] == lines.groupby("customer_id")["ordered_at"].transform("max")
    return pd.DataFrame(
        {
            "again_share_of_products": of_line.groupby(lines["customer_id"]).mean(),
            "again_share_of_last_order": of_line[last].groupby(lines["customer_id"][last]).mean(),
        }
    )


def _season(orders: pd.DataFrame, now: pd.Timestamp) -> pd.DataFrame:
    last_year = now - pd.Timedelta(days=364)
    then = orders[(orders["ordered"] >= last_year) & (orders["ordered"] < last_year + pd.Timedelta(days=28))]
    grouped = then.groupby("customer_id")
    return pd.DataFrame(
        {"count_orders_same_weeks_last_year": grouped.size(), "money_same_weeks_last_year": grouped["money"].sum()}
    )
