"""What is known of a customer: churn with its reasons, and the profile."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from serving.store.database import Store
from serving.store.published import profile_of, profiles_of
from serving.store.schema import CHANNELS

FOR_DECISIONS = ("offers", "without", "facts")  # parts of a profile that only decisions read
CONTACT = ("name", "email", "phone", "locale", "timezone", "country")


def churn_of(store: Store, customer_id: str) -> dict[str, Any] | None:
    """The answer about one customer; None for one that no table ever mentioned."""
    row = profile_of(store, customer_id)
    return None if row is None else churn_body(row, json.loads(row.about))


def profile_body_of(store: Store, customer_id: str) -> dict[str, Any] | None:
    """Everything published about one customer; None for an unknown one."""
    row = profile_of(store, customer_id)
    return None if row is None else _profile(row)


def lookup(store: Store, customer_ids: Sequence[str]) -> dict[str, Any]:
    """``profile_body_of`` for many: ``items`` in the order asked, and ``unknown``."""
    wanted = list(dict.fromkeys(customer_ids))
    found = profiles_of(store, wanted)
    return {
        "items": [_profile(found[customer]) for customer in wanted if customer in found],
        "unknown": [customer for customer in wanted if customer not in found],
    }


def churn_body(row: Row[Any], about: dict[str, Any]) -> dict[str, Any]:
    """The churn answer from a row of ``profiles``.

    ``method`` is blend, or buy_till_you_die where the shop was too small for it; null in generations that do not say it.
    """
    common = {"customer_id": row.customer_id, "as_of": moment_text(row.as_of), "data": about["tables"]}
    common |= {"definition": definition(about), "model_version": f"churn-{about['churn_version']}"}
    if row.churn_probability is None:
        return common | {
            "eligible": False,
            "why": f"no order is known within {about['lookback_days']} days before {moment_text(row.as_of)}",
        }
    return common | {
        "eligible": True,
        "method": about.get("churn_method"),
        "probability": row.churn_probability,
        "interval": [row.churn_low, row.churn_high],
        "risk": row.risk,
        "thresholds": {"medium": about["risk_medium"], "high": about["risk_high"]},
        "reasons": json.loads(row.reasons),
    }


def definition(about: dict[str, Any]) -> dict[str, Any]:
    """What churned means here."""
    return {
        "horizon_days": about["horizon_days"],
        "lookback_days": about["lookback_days"],
        "churned_means": f"no order within {about['horizon_days']} days after as_of",
    }


def consents(row: Row[Any]) -> dict[str, bool | None]:
    """Channel -> whether consent was given; null where it is not known."""
    return {channel: getattr(row, f"consent_{channel}") for channel in CHANNELS}


def moment_text(at: datetime) -> str:
    """ISO 8601 in UTC, to the second, with a Z."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _profile(row: Row[Any]) -> dict[str, Any]:
    about = json.loads(row.about)
    contact = {name: getattr(row, name) for name in CONTACT}
    return {
        "customer_id": row.customer_id,
        "as_of": moment_text(row.as_of),
        **contact,
        "consents": consents(row),
        "unsubscribed": json.loads(row.unsubscribed),
        "currency": about["currency"],
        **{name: value for name, value in json.loads(row.profile).items() if name not in FOR_DECISIONS},
        "churn": churn_body(row, about),
    }
