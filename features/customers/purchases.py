"""Every feature that orders give but what is the shop's, of the customers in a table of order lines."""

from datetime import datetime

import numpy as np
import pyarrow as pa

from features.arithmetic import microseconds_at
from features.customers import assortment, breadth, discounts, frequency, recency, recent_rhythm, rhythm, season
from features.customers.histories import histories

FEATURES: tuple[str, ...] = (
    *recency.FEATURES,
    *frequency.FEATURES,
    *rhythm.FEATURES,
    *recent_rhythm.FEATURES,
    *breadth.FEATURES,
    *assortment.FEATURES,
    *discounts.FEATURES,
    *season.FEATURES,
)
TYPES = {"customer": "bigint"} | dict.fromkeys(FEATURES, "double")


def purchase_features(lines: pa.Table, *, as_of: datetime, shop: assortment.Assortment) -> pa.Table:
    """One row per customer in ``lines``: customer (a number) and ``FEATURES``, all float64, null where one is not defined.

    ``lines``: all lines of each of these customers known just before ``as_of``, in any order, see ``features.customers.lines``.
    ``shop``: see ``features.customers.assortment``.
    """
    of = histories(lines, now=microseconds_at(as_of))
    made = {
        **recency.recency(of),
        **frequency.frequency(of),
        **rhythm.rhythm(of),
        **recent_rhythm.recent_rhythm(of),
        **breadth.breadth(of),
        **assortment.assortment(of, shop),
        **discounts.discounts(of),
        **season.season(of, as_of=as_of),
    }
    columns = [pa.array(made[name], mask=np.isnan(made[name])) for name in FEATURES]
    return pa.table([pa.array(of.customers), *columns], names=list(TYPES))
