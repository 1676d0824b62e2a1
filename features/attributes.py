"""What a shop itself knows of its customers, from ``customers.attributes``."""

import json
from datetime import datetime

import pandas as pd

from regulars.as_of import Tables, known_tables


def customer_attributes(tables: Tables, *, as_of: datetime) -> pd.DataFrame:
    """One row per known customer, indexed by customer_id in order, one column per attribute.

    Attributes that are neither text, number nor truth value are left out; a missing one is null.
    """
    if "customers" not in tables or "attributes" not in tables["customers"].columns:
        return pd.DataFrame(index=pd.Index([], name="customer_id"))
    known = known_tables({"customers": tables["customers"]}, as_of=as_of)["customers"]
    rows = known.select("customer_id", "attributes").execute().sort_values("customer_id")
    parsed = [_simple(text) for text in rows["attributes"]]
    return pd.DataFrame(parsed, index=pd.Index(rows["customer_id"], name="customer_id"))


def _simple(text: object) -> dict[str, str | float | bool]:
    if not isinstance(text, str):
        return {}
    values = json.loads(text)
    if not isinstance(values, dict):
        return {}
    return {name: value for name, value in values.items() if isinstance(value, str | int | float | bool)}
