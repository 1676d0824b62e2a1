"""Why a customer's risk is what it is, in words: contributions of features grouped so that no two reasons say the same."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from regulars.models.reason_texts import Row, number_of, text_of


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


def merged(row: Row, groups: Mapping[str, tuple[str, float]]) -> dict[str, tuple[str, float]]:
    """``groups`` with those taken together that would say the same of this customer.

    What went wrong with orders is said by what it was: the late parcel, the complaint, the return, whichever moved most.

    >>> merged({"count_order_days": 1.0}, {"rhythm": ("age_days", 0.5), "tenure": ("age_days", 0.25)})
    {'rhythm': ('age_days', 0.75)}
    >>> merged({"count_order_days": 9.0}, {"incidents": ("count_bad_orders", 0.5), "delivery": ("days_late_max", 0.25)})
    {'delivery': ('days_late_max', 0.75)}
    """
    found = dict(groups)
    if "incidents" in found:
        concrete = [code for code in SAID_BY_INCIDENTS[1:] if code in found and _went_wrong(row, code)]
        concrete = concrete or [code for code in SAID_BY_INCIDENTS[1:] if code in found]
        if concrete:
            found = _together(found, ["incidents", max(concrete, key=lambda code: abs(found[code][1]))], said_by=1)
    if (number_of(row, "count_order_days") or 0.0) > 1:
        return found
    same = [code for code in ("rhythm", *SAID_BY_ONE_ORDER) if code in found]
    if not same:
        return found
    lead = max(same, key=lambda code: abs(found[code][1]))
    kept = {code: group for code, group in found.items() if code not in same}
    return kept | {"rhythm": (found[lead][0], sum(found[code][1] for code in same))}


def _together(
    groups: dict[str, tuple[str, float]], codes: Sequence[str], *, said_by: int
) -> dict[str, tuple[str, float]]:
    said = codes[said_by]
    kept = {code: group for code, group in groups.items() if code not in codes}
    return kept | {said: (groups[said][0], sum(groups[code][1] for code in codes))}


WENT_WRONG = {"delivery": "count_late_parcels", "complaints": "count_tickets", "returns": "count_returns"}


def _went_wrong(row: Row, code: str) -> bool:
    return (number_of(row, WENT_WRONG[code]) or 0.0) > 0


def reasons_for(row: Row, effects: Mapping[str, tuple[str, float]], *, most: int) -> list[Reason]:
    """Up to ``most`` reasons of largest effect, none that hardly changes anything.

    ``effects``: code -> (its leading feature, change of probability).
    """
    ranked = sorted(effects.items(), key=lambda item: (-abs(item[1][1]), item[0]))
    telling = [item for item in ranked if abs(item[1][1]) >= SMALLEST_EFFECT]
    ranked = telling or ranked[:1]
    return [
        Reason(code, feature, number_of(row, feature), round(effect, 6), text_of(code, row, feature))
        for code, (feature, effect) in ranked[:most]
    ]


def leading(features: Sequence[str], contributions: Sequence[float]) -> dict[str, tuple[str, float]]:
    """Code -> (the feature of its group that contributed most, the group's sum).

    >>> leading(["money_30d", "money_90d", "age_days"], [0.5, -0.75, 0.125])
    {'frequency': ('money_90d', -0.25), 'tenure': ('age_days', 0.125)}
    """
    groups: dict[str, list[tuple[str, float]]] = {}
    for feature, contribution in zip(features, contributions, strict=True):
        groups.setdefault(code_of(feature), []).append((feature, float(contribution)))
    return {
        code: (max(found, key=lambda item: abs(item[1]))[0], sum(value for _, value in found))
        for code, found in groups.items()
    }
