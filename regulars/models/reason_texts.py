"""Reasons in words that a marketer understands: one function per code, from what is known of one customer."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

Row = Mapping[Any, Any]


def text_of(code: str, row: Row, feature: str) -> str:
    """What ``code`` says of the customer in ``row`` (feature -> value); ``feature`` moved most within it."""
    return TEXTS.get(code, _other)(row, feature)


def number_of(row: Row, name: str) -> float | None:
    """The value of a feature, None where it is missing."""
    try:
        value = row[name]
    except KeyError:
        return None
    return float(value) if value is not None and isfinite(value) else None


def _rhythm(row: Row, feature: str) -> str:
    since, gap = number_of(row, "days_since_last_order"), number_of(row, "gap_mean_days")
    if since is None:
        return "No order is known yet"
    if gap is None:
        return f"Ordered on one day only, {_days(since)} ago"
    return f"Usually orders every {_days(gap)}, last order {_days(since)} ago"


def _frequency(row: Row, feature: str) -> str:
    recent, total = number_of(row, "count_orders_90d") or 0.0, number_of(row, "count_orders") or 0.0
    return f"{_many(recent, 'order')} in the last 90 days, {total:.0f} in all"


def _spending(row: Row, feature: str) -> str:
    total, order = number_of(row, "money_total") or 0.0, number_of(row, "money_per_order") or 0.0
    return f"Spent {order:.2f} per order, {total:.2f} in all"


def _breadth(row: Row, feature: str) -> str:
    each, total = number_of(row, "products_per_order") or 0.0, number_of(row, "count_products") or 0.0
    return f"Bought {_many(total, 'different product')}, {each:.1f} per order"


def _repeat(row: Row, feature: str) -> str:
    return f"{number_of(row, 'repeat_product_share') or 0.0:.0%} of purchases were of products bought before"


def _assortment(row: Row, feature: str) -> str:
    which = "products of the last order" if feature == "again_share_of_last_order" else "products of these orders"
    return f"{number_of(row, feature) or 0.0:.0%} of those who bought the {which} bought them again"


def _discounts(row: Row, feature: str) -> str:
    return f"{number_of(row, 'discount_share_lines') or 0.0:.0%} of purchases were at a discount"


def _tenure(row: Row, feature: str) -> str:
    return f"Customer for {_days(number_of(row, 'days_since_first_order') or 0.0)}"


def _season(row: Row, feature: str) -> str:
    then = number_of(row, "count_orders_same_weeks_last_year")
    return "The time of the year" if then is None else f"{_many(then, 'order')} in the same weeks last year"


def _returns(row: Row, feature: str) -> str:
    total, faulty = number_of(row, "count_returns") or 0.0, number_of(row, "count_faulty_returns") or 0.0
    if not total:
        return "Nothing was sent back"
    since = number_of(row, "days_since_last_return")
    last = "" if since is None else f", the last {_days(since)} ago"
    return f"Sent back {_many(total, 'item')}, {faulty:.0f} of them for a fault{last}"


def _delivery(row: Row, feature: str) -> str:
    late, last = number_of(row, "count_late_parcels") or 0.0, number_of(row, "days_late_last_parcel")
    if last is not None and last >= 1:
        more = f", {_many(late, 'late parcel')} in all" if late > 1 else ""
        return f"Last parcel {_many(last, 'day')} late{more}"
    if late:
        return f"{_many(late, 'late parcel')}, the last one was on time"
    return "Parcels came as promised" if last is not None else "No parcel is known yet"


def _complaints(row: Row, feature: str) -> str:
    total, open_now = number_of(row, "count_tickets") or 0.0, number_of(row, "count_open_tickets") or 0.0
    if not total:
        return "No complaint or question to support"
    since = number_of(row, "days_since_last_ticket")
    first, rated = number_of(row, "hours_to_first_response_mean"), number_of(row, "ticket_satisfaction_mean")
    parts = [_many(total, "complaint")]
    parts += [] if since is None else [f"the last {_days(since)} ago"]
    parts += [f"{open_now:.0f} not resolved"] if open_now else []
    if feature.startswith("hours_to_first") and first is not None:
        parts += [f"first answer after {_many(first, 'hour')}"]
    if feature.startswith("ticket_satisfaction") and rated is not None:
        parts += [f"{rated:.0%} satisfied"]
    return ", ".join(parts)


def _incidents(row: Row, feature: str) -> str:
    total, running = number_of(row, "count_bad_orders") or 0.0, number_of(row, "count_bad_orders_in_a_row") or 0.0
    if running > 1:
        return f"The last {running:.0f} orders went wrong, one after the other"
    return f"{_many(total, 'order')} went wrong" if total else "No order went wrong"


def _satisfaction(row: Row, feature: str) -> str:
    last, since = number_of(row, "survey_score_last"), number_of(row, "days_since_last_survey")
    if last is None or since is None:
        return "Answered no survey"
    return f"Gave {last:g} of 10 in the last survey, {_days(since)} ago"


def _messages(row: Row, feature: str) -> str:
    left, unread = number_of(row, "days_since_unsubscribed"), number_of(row, "count_messages_since_opened") or 0.0
    if left is not None:
        return f"Unsubscribed from messages {_days(left)} ago"
    if unread > 1:
        return f"{_many(unread, 'message')} sent since one was opened"
    since = number_of(row, "days_since_last_opened")
    return "No message was opened yet" if since is None else f"Opened a message {_days(since)} ago"


def _browsing(row: Row, feature: str) -> str:
    since, views = number_of(row, "days_since_last_visit"), number_of(row, "count_views_since_order") or 0.0
    if views:
        return f"Looked at {_many(views, 'product')} since the last order without buying"
    return "No visit is known" if since is None else f"Last visit {_days(since)} ago"


def _cart(row: Row, feature: str) -> str:
    left, since = number_of(row, "count_left_in_cart") or 0.0, number_of(row, "days_since_left_in_cart")
    return "No cart left behind" if since is None else f"{_many(left, 'item')} left in the cart {_days(since)} ago"


def _wishes(row: Row, feature: str) -> str:
    wishes = number_of(row, "count_wishes") or 0.0
    return f"{_many(wishes, 'product')} on the wish list" if wishes else "Nothing on the wish list"


def _loyalty(row: Row, feature: str) -> str:
    balance, since = number_of(row, "points_balance"), number_of(row, "days_since_last_points")
    if balance is None or since is None:
        return "No points in the loyalty programme"
    return f"{balance:.0f} loyalty points, last moved {_days(since)} ago"


def _referrals(row: Row, feature: str) -> str:
    brought = number_of(row, "count_referrals") or 0.0
    if brought:
        return f"Brought {_many(brought, 'new customer')}"
    return "Came by recommendation" if number_of(row, "was_referred") else "Brought no new customer"


def _subscription(row: Row, feature: str) -> str:
    running, paused = number_of(row, "count_subscriptions") or 0.0, number_of(row, "count_subscriptions_paused") or 0.0
    ended = number_of(row, "days_since_subscription_cancelled")
    if running:
        return f"{_many(running, 'subscription')} running" + (f", {paused:.0f} paused" if paused else "")
    return "No subscription" if ended is None else f"Cancelled a subscription {_days(ended)} ago"


def _other(row: Row, feature: str) -> str:
    value = number_of(row, feature)
    named = feature.replace("_", " ")
    return f"{named} is not known" if value is None else f"{named} is {value:g}"


TEXTS: dict[str, Callable[[Row, str], str]] = {
    "rhythm": _rhythm,
    "frequency": _frequency,
    "spending": _spending,
    "breadth": _breadth,
    "repeat_purchases": _repeat,
    "assortment": _assortment,
    "discounts": _discounts,
    "tenure": _tenure,
    "season": _season,
    "returns": _returns,
    "delivery": _delivery,
    "complaints": _complaints,
    "incidents": _incidents,
    "satisfaction": _satisfaction,
    "messages": _messages,
    "browsing": _browsing,
    "cart": _cart,
    "wishes": _wishes,
    "loyalty": _loyalty,
    "referrals": _referrals,
    "subscription": _subscription,
}


def _days(days: float) -> str:
    return "less than a day" if days < 0.5 else _many(days, "day")


def _many(count: float, thing: str) -> str:
    return f"{count:.0f} {thing}{'' if round(count) == 1 else 's'}"
