"""Why a customer's risk is what it is, in words: contributions of features grouped so that no two reasons say the same."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any

Row = Mapping[Any, Any]


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
}


SAID_BY_ONE_ORDER = ("frequency", "tenure", "repeat_purchases")  # of who ordered on one day, the day says all of these
SMALLEST_EFFECT = 0.005  # half a percentage point: below it a reason is none, unless it is the only one


def code_of(feature: str) -> str:
    """The group a feature belongs to, ``other`` for one that belongs to none."""
    return next((code for code, features in CODES.items() if feature in features), "other")


def merged(row: Row, groups: Mapping[str, tuple[str, float]]) -> dict[str, tuple[str, float]]:
    """``groups`` with those taken together that would say the same of this customer.

    >>> merged({"count_order_days": 1.0}, {"rhythm": ("age_days", 0.5), "tenure": ("age_days", 0.25)})
    {'rhythm': ('age_days', 0.75)}
    """
    if (_number(row, "count_order_days") or 0.0) > 1:
        return dict(groups)
    same = [code for code in ("rhythm", *SAID_BY_ONE_ORDER) if code in groups]
    if not same:
        return dict(groups)
    lead = max(same, key=lambda code: abs(groups[code][1]))
    kept = {code: group for code, group in groups.items() if code not in same}
    return kept | {"rhythm": (groups[lead][0], sum(groups[code][1] for code in same))}


def reasons_for(row: Row, effects: Mapping[str, tuple[str, float]], *, most: int) -> list[Reason]:
    """Up to ``most`` reasons of largest effect, none that hardly changes anything.

    ``effects``: code -> (its leading feature, change of probability).
    """
    ranked = sorted(effects.items(), key=lambda item: (-abs(item[1][1]), item[0]))
    telling = [item for item in ranked if abs(item[1][1]) >= SMALLEST_EFFECT]
    ranked = telling or ranked[:1]
    return [
        Reason(code, feature, _number(row, feature), round(effect, 6), _TEXTS.get(code, _other)(row, feature))
        for code, (feature, effect) in ranked[:most]
    ]


def _rhythm(row: Row, feature: str) -> str:
    since, gap = _number(row, "days_since_last_order"), _number(row, "gap_mean_days")
    if since is None:
        return "No order is known yet"
    if gap is None:
        return f"Ordered on one day only, {_days(since)} ago"
    return f"Usually orders every {_days(gap)}, last order {_days(since)} ago"


def _frequency(row: Row, feature: str) -> str:
    recent, total = _number(row, "count_orders_90d") or 0.0, _number(row, "count_orders") or 0.0
    return f"{_many(recent, 'order')} in the last 90 days, {total:.0f} in all"


def _spending(row: Row, feature: str) -> str:
    total, order = _number(row, "money_total") or 0.0, _number(row, "money_per_order") or 0.0
    return f"Spent {order:.2f} per order, {total:.2f} in all"


def _breadth(row: Row, feature: str) -> str:
    each, total = _number(row, "products_per_order") or 0.0, _number(row, "count_products") or 0.0
    return f"Bought {_many(total, 'different product')}, {each:.1f} per order"


def _repeat(row: Row, feature: str) -> str:
    return f"{_number(row, 'repeat_product_share') or 0.0:.0%} of purchases were of products bought before"


def _discounts(row: Row, feature: str) -> str:
    return f"{_number(row, 'discount_share_lines') or 0.0:.0%} of purchases were at a discount"


def _tenure(row: Row, feature: str) -> str:
    return f"Customer for {_days(_number(row, 'days_since_first_order') or 0.0)}"


def _season(row: Row, feature: str) -> str:
    then = _number(row, "count_orders_same_weeks_last_year")
    return "The time of the year" if then is None else f"{_many(then, 'order')} in the same weeks last year"


def _other(row: Row, feature: str) -> str:
    value = _number(row, feature)
    named = feature.replace("_", " ")
    return f"{named} is not known" if value is None else f"{named} is {value:g}"


_TEXTS: dict[str, Callable[[Row, str], str]] = {
    "rhythm": _rhythm,
    "frequency": _frequency,
    "spending": _spending,
    "breadth": _breadth,
    "repeat_purchases": _repeat,
    "discounts": _discounts,
    "tenure": _tenure,
    "season": _season,
}


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return float(value) if value is not None and isfinite(value) else None


def _days(days: float) -> str:
    return "less than a day" if days < 0.5 else _many(days, "day")


def _many(count: float, thing: str) -> str:
    return f"{count:.0f} {thing}{'' if round(count) == 1 else 's'}"


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
