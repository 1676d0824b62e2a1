"""How long ago a customer ordered first and last."""

import ibis
from ibis import Value

from features.arithmetic import DAY
from features.customers.orders import Orders

FEATURES = ("days_since_last_order", "days_since_first_order")


def recency(known: Orders, sums: ibis.Table) -> dict[str, Value]:
    """Days, fractions included, since the last and the first order; ``sums`` are those of ``order_sums``."""
    return {
        "days_since_last_order": (known.now - sums.last_ordered).cast("float64") / float(DAY),
        "days_since_first_order": (known.now - sums.first_ordered).cast("float64") / float(DAY),
    }
