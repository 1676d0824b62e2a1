"""What follows the orders of the simulated shop: returns, deliveries, tickets and messages; and how it writes ids and times."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

START = np.datetime64("2022-01-01", "us")
DAY_US = 86_400_000_000
PROMISED_DAYS = 3.0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def returns(lines: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """What broke comes back within 4 to 12 days."""
    back = lines[lines["broken"]]
    later = minutes(rng.integers(4 * 1440, 12 * 1440, len(back)))
    return pd.DataFrame(
        {
            "return_id": "r-" + back["order_id"] + "-" + back["line_id"],
            "order_id": back["order_id"],
            "line_id": back["line_id"],
            "customer_id": back["customer_id"],
            "product_id": back["product_id"],
            "returned_at": back["ordered_at"] + later,
            "quantity": back["quantity"],
            "amount": np.round(back["quantity"] * back["unit_price"], 2),
            "reason": "quality",
        }
    )


def deliveries(orders: pd.DataFrame) -> pd.DataFrame:
    """Every order is promised for three days after it; a late one comes four days after that."""
    promised = orders["at"] + minutes(np.full(len(orders), PROMISED_DAYS * 1440))
    slow = np.where(orders["late"], 4 * 1440, -600)
    return pd.DataFrame(
        {
            "order_id": orders["order_id"],
            "shipped_at": orders["at"] + minutes(np.full(len(orders), 720)),
            "promised_at": promised,
            "delivered_at": promised + minutes(slow),
            "carrier": "simulated",
        }
    )


def tickets(orders: pd.DataFrame, parameters: dict[str, Any], *, first: int, rng: np.random.Generator) -> pd.DataFrame:
    """Some of those whose parcel was late ask."""
    late = orders[orders["late"]]
    asked = late[rng.random(len(late)) < parameters["ticket_after_incident"]]
    opened = asked["at"] + minutes(np.full(len(asked), (PROMISED_DAYS + 1) * 1440))
    first_answer = minutes(rng.integers(30, 2_880, len(asked)))
    return pd.DataFrame(
        {
            "ticket_id": "t-" + asked["order_id"],
            "customer_id": asked["customer_id"],
            "opened_at": opened,
            "first_response_at": opened + first_answer,
            "resolved_at": opened + first_answer + minutes(rng.integers(60, 10_080, len(asked))),
            "channel": "email",
            "topic": "late delivery",
            "satisfaction": np.round(rng.beta(2, 3, len(asked)), 2),
        }
    )


def messages(people: pd.DataFrame, parameters: dict[str, Any], *, first: int, rng: np.random.Generator) -> pd.DataFrame:
    """E-mails to who consented, until they unsubscribe."""
    who = np.flatnonzero(people["consent"].to_numpy())
    span = parameters["days"] - people["joined"].to_numpy()[who]
    wanted = rng.poisson(parameters["messages_per_month"] * span / 30.4)
    until = rng.geometric(parameters["unsubscribe_share"], len(who))
    sizes = np.minimum(wanted, until)
    place = np.repeat(np.arange(len(who)), sizes)
    number = np.arange(len(place)) - np.searchsorted(place, place)
    day = people["joined"].to_numpy()[who][place] + (number + 1) * span[place] / (wanted[place] + 1)
    sent = moments(day)
    opened = rng.random(len(place)) < parameters["open_share"]
    clicked = opened & (rng.random(len(place)) < parameters["click_share"])
    left = number + 1 == until[place]
    names = customers_named(who[place] + first)
    nothing = np.full(len(place), np.datetime64("NaT", "us"))
    return pd.DataFrame(
        {
            "message_id": "m" + str(first) + "-" + pd.Series(np.arange(len(place))).astype(str),
            "customer_id": names,
            "channel": "email",
            "sent_at": sent,
            "campaign_id": "week-" + pd.Series((day / 7).astype(int)).astype(str),
            "opened_at": np.where(opened, sent + minutes(np.full(len(place), 90)), nothing),
            "clicked_at": np.where(clicked, sent + minutes(np.full(len(place), 95)), nothing),
            "unsubscribed_at": np.where(left, sent + minutes(np.full(len(place), 120)), nothing),
        }
    )


def customers_named(numbers: Ints) -> NDArray[Any]:
    """Ids of the numbers."""
    return ("c" + pd.Series(numbers).astype(str)).to_numpy()


def moments(days: Floats) -> NDArray[np.datetime64]:
    """Times of days since the shop began."""
    return START + (np.asarray(days) * DAY_US).astype("timedelta64[us]")


def minutes(count: NDArray[Any]) -> NDArray[np.timedelta64]:
    """Spans of so many minutes."""
    return (np.asarray(count, dtype=float) * 60_000_000).astype("timedelta64[us]")
