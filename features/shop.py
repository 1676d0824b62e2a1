"""The rhythm of a whole shop, and the horizon that follows from it."""

from dataclasses import dataclass
from datetime import datetime

import ibis

from features.arithmetic import DAY
from features.customers.orders import customer_orders
from regulars.as_of import Tables, known_tables
from regulars.errors import MissingData

HORIZONS = (7, 14, 28, 60, 90)
LOOKBACK_DAYS = 365
RETURNED_SHARE = 0.95


@dataclass(frozen=True)
class ShopRhythm:
    """How a shop's customers come back; days are whole.

    ``gap_p95_days``: 95 % of all gaps between two order days of a customer are at most that long.
    """

    days_of_history: int
    count_gaps: int
    median_gap_days: float
    gap_p95_days: float
    default_horizon_days: int
    default_lookback_days: int
    explanation: str


def shop_rhythm(tables: Tables, *, as_of: datetime) -> ShopRhythm:
    """The rhythm known just before ``as_of``.

    The default horizon is the shortest of 7, 14, 28, 60 and 90 days, 28 at least, within which 95 % of those who came back
    had come back, or 90; and never more than a quarter of the history, 7 at least.

    Raises:
        MissingData: where no order of a known customer is known.
    """
    if "orders" not in tables:
        raise MissingData("the shop's rhythm needs orders; import them first: regulars import orders FILE")
    known = customer_orders(known_tables({"orders": tables["orders"]}, as_of=as_of), as_of=as_of)
    in_order = ibis.window(group_by="customer_id", order_by=known.days.day)
    days = known.days.mutate(gap=known.days.day - known.days.day.lag(1).over(in_order))
    counted = days.group_by("gap").agg(times=days.count(), first=days.day.min()).execute()
    if counted.empty:
        raise MissingData(f"no order of a customer is known before {as_of.isoformat()}; give a later --as-of")
    history = int(known.now // DAY - counted["first"].min())
    gaps = counted.dropna(subset=["gap"]).sort_values("gap")
    total = int(gaps["times"].sum())
    median, p95 = (_quantile(gaps["gap"].tolist(), gaps["times"].tolist(), share) for share in (0.5, RETURNED_SHARE))
    horizon = _horizon(p95, history)
    return ShopRhythm(
        days_of_history=history,
        count_gaps=total,
        median_gap_days=median,
        gap_p95_days=p95,
        default_horizon_days=horizon,
        default_lookback_days=LOOKBACK_DAYS,
        explanation=(
            f"Customers who come back do so after {median:g} days in the middle and within {p95:g} days in 95 % of cases, "
            f"over {history} days of history: churned means no order within {horizon} days."
        ),
    )


def _horizon(p95: float, history: int) -> int:
    wanted = next((days for days in HORIZONS[2:] if days >= p95), HORIZONS[-1])
    return max((days for days in HORIZONS if days <= min(wanted, history / 4)), default=HORIZONS[0])


def _quantile(values: list[float], times: list[int], share: float) -> float:
    """The smallest value that at least ``share`` of all do not exceed; 0 where there is none."""
    wanted, seen = share * sum(times), 0
    for value, count in zip(values, times, strict=True):
        seen += count
        if seen >= wanted:
            return float(value)
    return 0.0
