"""Why a customer's risk is what it is, in words: contributions of features grouped so that no two reasons say the same."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.models.reason_texts import number_of, text_of

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Reason:
    """One reason: ``feature`` moved most within its group, ``value`` is what it was for this customer.

    ``effect``: change of the churn probability (signed, -1 to 1) against a customer for whom the group says nothing.
    """

    code: str
    feature: str
    value: float | None
    effect: float
    text: str


CODES: dict[str, tuple[str, ...]] = {
    "rhythm": (
        "days_since_last_order",
        "count_order_days",
        "days_first_to_last",
        "gap_mean_days",
        "gap_std_days",
        "gap_last_days",
        "gap_max_days",
        "overdue_ratio",
        "overdue_zscore",
        "gap_mean_last_3",
        "gap_mean_last_6",
        "gap_max_last_3",
        "gap_max_last_6",
        "gap_max_90d",
        "overdue_last_3_ratio",
        "overdue_max_6_ratio",
        "probability_no_order",
    ),
    "frequency": (
        "count_orders",
        *(f"count_orders_{days}d" for days in (7, 14, 30, 60, 90, 180, 365)),
        "money_30d",
        "money_90d",
        "count_products_90d",
    ),
    "spending": ("money_total", "money_365d", "money_per_order", "money_last_order", "money_max_order"),
    "breadth": ("count_products", "count_categories", "products_per_order"),
    "repeat_purchases": ("repeat_product_share",),
    "assortment": ("again_share_of_products", "again_share_of_last_order"),
    "discounts": ("discount_share_lines", "discount_share_money", "coupon_share_orders", "count_coupons_90d"),
    "tenure": ("days_since_first_order", "age_days"),
    "season": (
        "day_of_year_sin",
        "day_of_year_cos",
        "count_orders_same_weeks_last_year",
        "money_same_weeks_last_year",
        "shop_order_ratio_last_year",
    ),
    "returns": (
        "count_returns",
        "count_returns_90d",
        "count_returns_since_order",
        "count_faulty_returns",
        "return_share_lines",
        "days_since_last_return",
    ),
    "delivery": (
        "count_late_parcels",
        "count_late_parcels_90d",
        "late_parcel_share",
        "days_late_last_parcel",
        "days_late_max",
        "days_to_deliver_mean",
    ),
    "complaints": (
        "count_tickets",
        "count_tickets_90d",
        "count_tickets_since_order",
        "count_open_tickets",
        "hours_to_first_response_mean",
        "hours_to_resolution_mean",
        "ticket_satisfaction_mean",
        "days_since_last_ticket",
    ),
    "incidents": ("count_bad_orders", "count_bad_orders_90d", "bad_order_share", "count_bad_orders_in_a_row"),
    "satisfaction": (
        "count_surveys",
        "survey_score_last",
        "survey_score_mean",
        "survey_score_fall",
        "days_since_last_survey",
    ),
    "messages": (
        "count_messages_30d",
        "count_messages_90d",
        "message_open_share_90d",
        "message_click_share_90d",
        "count_messages_since_opened",
        "days_since_last_opened",
        "count_unsubscribes",
        "days_since_unsubscribed",
    ),
    "browsing": (
        "count_views_7d",
        "count_views_30d",
        "count_visit_days_30d",
        "count_views_since_order",
        "days_since_last_visit",
    ),
    "cart": ("count_left_in_cart", "days_since_left_in_cart"),
    "wishes": ("count_wishes", "count_wishes_30d", "days_since_last_wish"),
    "loyalty": ("points_balance", "points_90d", "count_points_spent_90d", "days_since_last_points"),
    "referrals": ("count_referrals", "was_referred"),
    "subscription": (
        "count_subscriptions",
        "count_subscriptions_paused",
        "count_subscriptions_cancelled",
        "days_to_renewal",
        "days_since_subscription_cancelled",
    ),
}


SAID_BY_ONE_ORDER = ("frequency", "tenure", "repeat_purchases")  # of who ordered on one day, the day says all of these
SAID_BY_INCIDENTS = (
    "incidents",
    "delivery",
    "complaints",
    "returns",
)  # one parcel that came late speaks in up to three of them
SMALLEST_EFFECT = 0.005  # half a percentage point: below it a reason is none, unless it is the only one


def code_of(feature: str) -> str:
    """The group a feature belongs to, ``other`` for one that belongs to none."""
    return next((code for code, features in CODES.items() if feature in features), "other")


@dataclass(frozen=True)
class Groups:
    """What groups of features moved: ``codes`` in alphabetical order.

    ``moved``: (n_customers, n_codes), nan where a group was taken into another; ``lead``, of the same shape: which of
    ``features`` moved most within the group.
    """

    codes: tuple[str, ...]
    features: tuple[str, ...]
    moved: Floats
    lead: Ints


def leading(features: Sequence[str], contributions: Floats) -> Groups:
    """The groups of ``features`` that ``contributions`` (n_customers, n_features) are of.

    >>> found = leading(["money_30d", "money_90d", "age_days"], np.array([[0.5, -0.75, 0.125]]))
    >>> found.codes, found.moved.tolist(), [found.features[column] for column in found.lead[0]]
    (('frequency', 'tenure'), [[-0.25, 0.125]], ['money_90d', 'age_days'])
    """
    members: dict[str, list[int]] = {}
    for column, feature in enumerate(features):
        members.setdefault(code_of(feature), []).append(column)
    codes = tuple(sorted(members))
    moved = np.zeros((len(contributions), len(codes)))
    lead = np.zeros(moved.shape, np.int64)
    for place, code in enumerate(codes):
        columns = np.array(members[code])
        for column in columns:  # in order, so that a customer's sum is the same among few and among many
            moved[:, place] += contributions[:, column]
        lead[:, place] = columns[np.abs(contributions[:, columns]).argmax(axis=1)]
    return Groups(codes, tuple(features), moved, lead)


def merged(known: pd.DataFrame, groups: Groups) -> Groups:
    """``groups`` with those taken together that would say the same of a customer; ``known`` are the customers' features.

    What went wrong with orders is said by what it was: the late parcel, the complaint, the return, whichever moved most. Of
    who ordered on one day only, rhythm says all that the day says.

    >>> once = pd.DataFrame({"count_order_days": [1.0]})
    >>> merged(once, leading(["days_since_last_order", "age_days"], np.array([[0.25, 0.5]]))).moved.tolist()
    [[0.75, nan]]
    >>> often = pd.DataFrame({"count_order_days": [9.0], "count_late_parcels": [1.0]})
    >>> merged(often, leading(["days_late_max", "count_bad_orders"], np.array([[0.25, 0.5]]))).moved.tolist()
    [[0.75, nan]]
    """
    found = Groups(groups.codes, groups.features, groups.moved.copy(), groups.lead.copy())
    place = {code: column for column, code in enumerate(groups.codes)}
    rows = np.arange(len(known))
    concrete = [code for code in SAID_BY_INCIDENTS[1:] if code in place]
    if "incidents" in place and concrete:
        columns = np.array([place[code] for code in concrete])
        wrong = np.column_stack([_above(known, WENT_WRONG[code], 0.0) for code in concrete])
        allowed = wrong | ~wrong.any(axis=1, keepdims=True)
        said = columns[np.where(allowed, np.abs(found.moved[:, columns]), -1.0).argmax(axis=1)]
        found.moved[rows, said] = found.moved[:, place["incidents"]] + found.moved[rows, said]
        found.moved[:, place["incidents"]] = np.nan
    same = [place[code] for code in ("rhythm", *SAID_BY_ONE_ORDER) if code in place]
    once = ~_above(known, "count_order_days", 1.0)
    if same and once.any():
        lead = np.array(same)[np.abs(found.moved[:, same]).argmax(axis=1)]
        total = np.zeros(len(known))
        for column in same:
            total += found.moved[:, column]
        rhythm = place["rhythm"]
        found.lead[once, rhythm] = found.lead[rows, lead][once]
        found.moved[np.ix_(np.flatnonzero(once), np.array(same))] = np.nan
        found.moved[once, rhythm] = total[once]
    return found


WENT_WRONG = {"delivery": "count_late_parcels", "complaints": "count_tickets", "returns": "count_returns"}


def _above(known: pd.DataFrame, name: str, least: float) -> NDArray[np.bool_]:
    """For whom a feature is known and larger than ``least``."""
    if name not in known:
        return np.zeros(len(known), bool)
    values = known[name].to_numpy(float)
    return np.isfinite(values) & (values > least)


def reasons_for(known: pd.DataFrame, groups: Groups, effects: Floats, *, most: int) -> list[list[Reason]]:
    """For each customer up to ``most`` reasons of largest effect, none that hardly changes anything.

    ``effects``: what each of ``groups`` changes the probability by, (n_customers, n_codes), nan for none.
    """
    size = np.where(np.isnan(effects), -1.0, np.abs(effects))
    order = np.argsort(-size, axis=1, kind="stable")[:, :most]
    telling = np.take_along_axis(size, order, axis=1) >= SMALLEST_EFFECT
    counts = np.maximum(telling.sum(axis=1), min(most, 1)).tolist()
    picked = zip(
        order.tolist(),
        np.take_along_axis(groups.lead, order, axis=1).tolist(),
        np.take_along_axis(effects, order, axis=1).tolist(),
        counts,
        strict=True,
    )
    columns = _Columns(known)
    return [
        [
            _reason(Customer(columns, place), groups.codes[code], groups.features[feature], effect)
            for code, feature, effect in zip(codes[:count], leads[:count], changes[:count], strict=True)
        ]
        for place, (codes, leads, changes, count) in enumerate(picked)
    ]


def _reason(row: "Customer", code: str, feature: str, effect: float) -> Reason:
    return Reason(code, feature, number_of(row, feature), round(effect, 6), text_of(code, row, feature))


class _Columns(dict[str, list[float]]):
    """The columns of a table as lists, each made when it is asked for."""

    def __init__(self, known: pd.DataFrame) -> None:
        super().__init__()
        self._known = known

    def __missing__(self, name: str) -> list[float]:
        self[name] = self._known[name].to_list()
        return self[name]


class Customer(Mapping[str, float]):
    """The features of the customer in one row of a table, without a copy of them."""

    def __init__(self, columns: _Columns, place: int) -> None:
        self._columns = columns
        self._place = place

    def __getitem__(self, name: str) -> float:
        return self._columns[name][self._place]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
