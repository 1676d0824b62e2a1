"""How long ago a customer ordered first and last."""

from features.arithmetic import DAY
from features.customers.histories import Floats, Histories

FEATURES = ("days_since_last_order", "days_since_first_order")


def recency(of: Histories) -> dict[str, Floats]:
    """Days, fractions included, since the last and the first order."""
    return {
        "days_since_last_order": (of.now - of.last_ordered) / float(DAY),
        "days_since_first_order": (of.now - of.first_ordered) / float(DAY),
    }
