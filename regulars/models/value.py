"""What a customer will be worth: orders and money ahead, and when the next order is due.

A buy-till-you-die model says how many order days to expect, a Gamma-Gamma model what is spent on each. Where enough was seen
to learn from, trees correct each of the two by a factor: whether and how often customers come (Poisson), and how much they
spend then (gamma), both beginning from what the probability models say. Trees say who; how many it is in all stays with the
probability model and the shop's pace, which look further ahead than any stretch that trees could learn from.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.errors import ArtifactError, DataError
from regulars.models.artifact import open_artifact, seal_artifact
from regulars.models.buy_till_you_die import BuyTillYouDie
from regulars.models.churn import RHYTHM
from regulars.models.gamma_gamma import GammaGamma

KIND, FORMAT = "value", 2
YEAR = 365
LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9
LEAST_ORDERS = 1e-6
SPEND_TRUST = 0.5  # of what trees say of spending, in logarithms: it varies more than it repeats
FACTOR_LIMIT = 2.0  # a correction is at most e^2, 7 times, to either side

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Steady:
    """What the probability models say: the baseline, and what trees begin from.

    ``orders_per_day``: orders per order day, over the whole shop.
    """

    buyers: BuyTillYouDie
    spenders: GammaGamma
    orders_per_day: float

    def order_days(self, known: pd.DataFrame, days: float) -> Floats:
        """Expected order days within ``days``: shape (n_customers,), above 0."""
        count, span, age = (known[name].to_numpy(float) for name in RHYTHM)
        return np.maximum(self.buyers.expected_orders(count - 1, span, age, days=days), LEAST_ORDERS)

    def spend(self, known: pd.DataFrame) -> Floats:
        """Expected money per order day, shape (n_customers,)."""
        count = known["count_order_days"].to_numpy(float)
        return self.spenders.expected_spend(count, known["money_total"].to_numpy(float) / np.maximum(count, 1.0))

    def next_order(self, known: pd.DataFrame, share: float) -> Floats:
        """Days until ``share`` of customers like this one, who have not left, have ordered again: (n_customers,).

        The waiting time of a Gamma(r + x, alpha + T) rate is Lomax. Source: Fader, Hardie & Lee (2005), section 3.
        """
        count, _, age = (known[name].to_numpy(float) for name in RHYTHM)
        power = -1.0 / (self.buyers.r + count - 1)
        return np.asarray((self.buyers.alpha + age) * np.expm1(power * np.log1p(-share)), dtype=float)


class ValueModel:
    """Predicted orders and money. ``order_trees`` and ``spend_trees`` may be None: then the probability models answer.

    ``levels``: the mean factors of the two trees over the shop, weighted by what is expected; answers are divided by them.
    ``pace`` and ``pace_year``: at what pace, against a steady shop, the horizon and the coming year are expected to go.
    """

    def __init__(
        self,
        *,
        steady: Steady,
        order_trees: lightgbm.Booster | None,
        spend_trees: lightgbm.Booster | None,
        levels: tuple[float, float],
        pace: float,
        pace_year: float,
        feature_names: Sequence[str],
        horizon_days: int,
        lookback_days: int,
        as_of: str,
    ) -> None:
        self.steady = steady
        self.order_trees = order_trees
        self.spend_trees = spend_trees
        self.levels = levels
        self.pace = pace
        self.pace_year = pace_year
        self.feature_names = tuple(feature_names)
        self.horizon_days = horizon_days
        self.lookback_days = lookback_days
        self.as_of = as_of

    @property
    def method(self) -> str:
        """What answers: ``trees`` on top of the probability models, or those alone."""
        return "trees" if self.order_trees else "buy_till_you_die"

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """Indexed as ``features`` (one row per customer).

        ``predicted_orders`` and ``predicted_value`` (the shop's currency) over the horizon, the same with ``_365d`` over a
        year; ``days_between_orders``, the mean gap so far or, with one order day, the middle of what is expected;
        ``next_order_days`` with ``_low`` and ``_high``: days from now within which 50, 10 and 90 % of customers like this
        one, if they have not left, order again.

        Raises:
            DataError: where a feature is missing; the message names it.
        """
        known = self._checked(features)
        often = factor(self.order_trees, known) / self.levels[0]
        much = factor(self.spend_trees, known) ** SPEND_TRUST / self.levels[1]
        spend = self.steady.spend(known) * much
        ahead = self.steady.order_days(known, self.horizon_days * self.pace) * often
        year = self.steady.order_days(known, YEAR * self.pace_year) * often
        due = {share: self.steady.next_order(known, share) / self.pace for share in (LOW, MIDDLE, HIGH)}
        gaps = known["gap_mean_days"].to_numpy(float)
        columns = {
            "predicted_orders": ahead * self.steady.orders_per_day,
            "predicted_value": ahead * spend,
            "predicted_orders_365d": year * self.steady.orders_per_day,
            "predicted_value_365d": year * spend,
            "days_between_orders": np.where(np.isfinite(gaps), gaps, due[MIDDLE]),
            "next_order_days": due[MIDDLE],
            "next_order_days_low": due[LOW],
            "next_order_days_high": due[HIGH],
        }
        return pd.DataFrame(columns, index=features.index)

    def save(self, folder: Path) -> None:
        """Write the model into the empty folder ``folder`` as a sealed artifact."""
        for name, trees in (("orders", self.order_trees), ("spend", self.spend_trees)):
            if trees is not None:
                (folder / f"trees-{name}.txt").write_text(trees.model_to_string())
        body = {
            "buyers": self.steady.buyers.to_json(),
            "spenders": asdict(self.steady.spenders),
            "orders_per_day": self.steady.orders_per_day,
            "trees": [name for name, trees in (("orders", self.order_trees), ("spend", self.spend_trees)) if trees],
            "levels": self.levels,
            "pace": self.pace,
            "pace_year": self.pace_year,
            "feature_names": self.feature_names,
        }
        (folder / "value.json").write_text(json.dumps(body, sort_keys=True))
        about = {"horizon_days": self.horizon_days, "lookback_days": self.lookback_days, "as_of": self.as_of}
        seal_artifact(folder, kind=KIND, format_version=FORMAT, about=about)

    @classmethod
    def load(cls, folder: Path) -> "ValueModel":
        """The model in ``folder``.

        Raises:
            ArtifactError: where it is not exactly what was saved.
        """
        about = open_artifact(folder, kind=KIND, format_version=FORMAT)
        try:
            body = json.loads((folder / "value.json").read_text())
            trees = {
                name: lightgbm.Booster(model_str=(folder / f"trees-{name}.txt").read_text()) for name in body["trees"]
            }
            return cls(
                steady=Steady(
                    BuyTillYouDie.from_json(body["buyers"]),
                    GammaGamma.from_json(body["spenders"]),
                    float(body["orders_per_day"]),
                ),
                order_trees=trees.get("orders"),
                spend_trees=trees.get("spend"),
                levels=(float(body["levels"][0]), float(body["levels"][1])),
                pace=float(body["pace"]),
                pace_year=float(body["pace_year"]),
                feature_names=body["feature_names"],
                **about,
            )
        except (KeyError, TypeError, ValueError, lightgbm.basic.LightGBMError) as error:
            raise ArtifactError(f"{folder} does not hold what a value model needs: {error}") from error

    def _checked(self, features: pd.DataFrame) -> pd.DataFrame:
        missing = [name for name in self.feature_names if name not in features]
        if missing:
            count = len(self.feature_names)
            raise DataError(
                f"value model needs {count} features, got {count - len(missing)}: {', '.join(missing)} is missing; "
                "run `regulars features` again"
            )
        return features[list(self.feature_names)].astype(float)


def factor(trees: lightgbm.Booster | None, known: pd.DataFrame) -> Floats:
    """By what the trees multiply the probability model's answer: shape (n_customers,), 1 without trees."""
    if trees is None:
        return np.ones(len(known))
    raw = np.asarray(trees.predict(known[trees.feature_name()].to_numpy(float), raw_score=True))
    return np.asarray(np.exp(np.clip(raw, -FACTOR_LIMIT, FACTOR_LIMIT)), dtype=float)


def levels_of(
    steady: Steady,
    order_trees: lightgbm.Booster | None,
    spend_trees: lightgbm.Booster | None,
    known: pd.DataFrame,
    days: float,
) -> tuple[float, float]:
    """The mean factors over the customers in ``known``, each weighted by its share of orders and of money within ``days``."""
    orders = steady.order_days(known, days)
    often = factor(order_trees, known)
    money = orders * often * steady.spend(known)
    much = factor(spend_trees, known) ** SPEND_TRUST
    return _mean(often, orders), _mean(much, money)


def _mean(values: Floats, weights: Floats) -> float:
    total = float(weights.sum())
    return float(values @ weights / total) if total > 0 else 1.0
