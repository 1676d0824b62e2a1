"""All interactions of known visitors as arrays."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.ids import IdMap
from regulars.models.history import DAY_S, NEWEST, STRENGTH

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Visits:
    """All interactions of known visitors, sorted by visitor and time; one value per interaction.

    ``starts`` (n_visitors + 1,): where each visitor's begin. ``baskets``: numbers of orders or sessions.
    """

    visitors: IdMap
    starts: Ints
    visitor: Ints
    product_ids: list[str]
    kinds: list[str]
    rows: Ints
    at: Ints
    bought: NDArray[np.bool_]
    strength: NDArray[np.float64]
    baskets: Ints

    @property
    def newest(self) -> NDArray[np.bool_]:
        """True for the newest 500 of each visitor, which is all that a history may hold."""
        ends = self.starts[1:][self.visitor]
        return np.arange(len(self.rows)) >= ends - NEWEST


def read_visits(rows: pd.DataFrame, ids: IdMap) -> Visits:
    """The interactions of ``rows`` (of ``read_shop``) that have a visitor and say something."""
    strength = rows["kind"].map(STRENGTH).fillna(0.0)
    kept = rows[rows["visitor_id"].notna() & (strength > 0)]
    codes, names = pd.factorize(kept["visitor_id"], sort=True)
    at = seconds(kept["occurred_at"])
    named = pd.factorize(kept["basket_id"])[0]
    days = codes.astype(np.int64) * 100_000 + at // DAY_S
    baskets = np.where(named >= 0, named, -1 - days)
    visitor = np.asarray(codes, dtype=np.int64)
    named_products = kept["product_id"].tolist()
    return Visits(
        visitors=IdMap(map(str, names)),
        starts=np.searchsorted(visitor, np.arange(len(names) + 1)),
        visitor=visitor,
        product_ids=named_products,
        kinds=kept["kind"].tolist(),
        rows=ids.rows(named_products),
        at=at,
        bought=(kept["kind"] == "purchase").to_numpy(bool),
        strength=strength[kept.index].to_numpy(float),
        baskets=np.unique(baskets, return_inverse=True)[1].astype(np.int64),
    )


def seconds(times: pd.Series) -> Ints:
    """Seconds since 1970."""
    return times.to_numpy().astype("datetime64[s]").astype(np.int64)
