"""The probability that a customer does not order within a horizon: three models, one calibrated answer.

An ensemble of gradient-boosted trees, a buy-till-you-die model and a logistic regression on the same features as the trees
each give a logit; a weighted sum of them, moved by an intercept, is the answer (logistic blending with Platt's
calibration: Platt, Advances in Large Margin Classifiers, 1999). The weights were learnt on moments that none of the three had seen.
All three follow the season: the buy-till-you-die model looks ahead as many days as the shop's predicted pace makes of the
horizon, and the two others are moved by what that does to it on the whole.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.errors import ArtifactError, DataError
from regulars.models.artifact import open_artifact, seal_artifact
from regulars.models.buy_till_you_die import BuyTillYouDie
from regulars.models.contributions import Tables, tables_of
from regulars.models.reasons import Reason, leading, merged, reasons_for

KIND, FORMAT = "churn", 3
COMPONENTS = ("trees", "buy_till_you_die", "linear")
RHYTHM = ("count_order_days", "days_first_to_last", "age_days")
MOST_DEVIATIONS = 5.0
ROWS_AT_ONCE = 100_000
MANY = 4_000  # customers, from which on making tables of all trees (a second or two) pays
LOGIT_LIMIT = 8.0
INTERVAL = 1.96
# Chosen on simulated shops, whose true probabilities are known (decision 0014).
MOST_DISAGREEMENT = 0.25  # a variance in logits: models that differ wildly are wrong one at a time
LEAST_MARGIN = 0.02

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """A logistic regression on sign(x) log(1 + |x|), standardised and kept within +-5; a missing value counts as ``fills`` says."""

    names: tuple[str, ...]
    fills: tuple[float, ...]
    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    intercept: float

    def logit(self, features: pd.DataFrame) -> Floats:
        """Shape (n_customers,); worked out for so many customers at a time that memory stays small."""
        weights = np.asarray(self.weights)
        starts = range(0, max(len(features), 1), ROWS_AT_ONCE)
        parts = [self.design(features.iloc[start : start + ROWS_AT_ONCE]) @ weights for start in starts]
        return np.asarray(np.concatenate(parts) + self.intercept, dtype=float)

    def design(self, features: pd.DataFrame) -> Floats:
        """The standardised columns, shape (n_customers, n_names)."""
        filled = features[list(self.names)].fillna(dict(zip(self.names, self.fills, strict=True)))
        apart = (signed_log(filled.to_numpy(float)) - np.asarray(self.means)) / np.asarray(self.scales)
        return np.asarray(np.clip(apart, -MOST_DEVIATIONS, MOST_DEVIATIONS), dtype=float)


@dataclass(frozen=True)
class Blend:
    """logit(probability) = intercept + sum of weight x component logit; ``weights`` in the order of ``COMPONENTS``."""

    weights: tuple[float, float, float]
    intercept: float


@dataclass(frozen=True)
class Season:
    """The ``pace`` of a shop in a horizon (1: as ever), and what it adds to the logit of its customers on the whole."""

    pace: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True)
class Spread:
    """Standard deviations in logits: ``fit`` of what customers of one answer really do, ``season`` of a predicted season."""

    fit: float
    season: float


class ChurnModel:
    """Calibrated churn probabilities with intervals and reasons.

    ``boosters`` may be empty and ``linear`` None: a shop too small for them is answered by buy-till-you-die alone, and
    ``drawn_buyers`` are then its fits to customers drawn with replacement. ``tree_level`` is the logit that the trees begin
    with, ``usual_silence`` the mean logit of the buy-till-you-die model when the model was made.
    """

    def __init__(
        self,
        *,
        boosters: Sequence[lightgbm.Booster],
        tree_level: float,
        tree_names: Sequence[str],
        buyers: BuyTillYouDie,
        drawn_buyers: Sequence[BuyTillYouDie],
        linear: Linear | None,
        blend: Blend,
        season: Season,
        spread: Spread,
        usual_silence: float,
        feature_names: Sequence[str],
        horizon_days: int,
        lookback_days: int,
        as_of: str,
    ) -> None:
        self.boosters = tuple(boosters)
        self.tree_level = tree_level
        self.tree_names = tuple(tree_names)
        self.buyers = buyers
        self.drawn_buyers = tuple(drawn_buyers)
        self.linear = linear
        self.blend = blend
        self.season = season
        self.spread = spread
        self.usual_silence = usual_silence
        self.feature_names = tuple(feature_names)
        self.horizon_days = horizon_days
        self.lookback_days = lookback_days
        self.as_of = as_of

    def predict(self, features: pd.DataFrame) -> pd.DataFrame:
        """Indexed as ``features`` (one row per customer): churn_probability, churn_low, churn_high (0-1).

        The interval is for the share that leaves of customers of whom the same is known, and holds it for 92 to 97 of 100
        groups of them (measured on simulated shops): by how far the ensemble's members and the three models disagree, how far
        earlier answers were off, how far the season was predicted wrong, and two points to either side. Whether one customer
        leaves is less certain than that: that is what the probability says.

        Raises:
            DataError: where a feature is missing; the message names it.
        """
        known = self._checked(features)
        return self._predicted(known, *self._logits(known))

    @property
    def method(self) -> str:
        """What answers: ``blend``, or ``buy_till_you_die`` where the shop is too small for it."""
        return "blend" if self.boosters else "buy_till_you_die"

    def reasons(self, features: pd.DataFrame, *, most: int = 3) -> list[list[Reason]]:
        """For each row up to ``most`` reasons, the largest change of its probability first; never two of one code."""
        known = self._checked(features)
        return self._reasons(known, self._middle(*self._logits(known)), most=most)

    def explained(self, features: pd.DataFrame, *, most: int = 3) -> tuple[pd.DataFrame, list[list[Reason]]]:
        """What ``predict`` and ``reasons`` say, worked out together."""
        known = self._checked(features)
        members, others = self._logits(known)
        reasons = self._reasons(known, self._middle(members, others), most=most)
        return self._predicted(known, members, others), reasons

    def save(self, folder: Path) -> None:
        """Write the model into the empty folder ``folder`` as a sealed artifact."""
        for number, booster in enumerate(self.boosters):
            (folder / f"trees-{number}.txt").write_text(booster.model_to_string())
        body = {
            "tree_level": self.tree_level,
            "buyers": self.buyers.to_json(),
            "drawn_buyers": [buyers.to_json() for buyers in self.drawn_buyers],
            "season": asdict(self.season),
            "spread": asdict(self.spread),
            "usual_silence": self.usual_silence,
            "linear": asdict(self.linear) if self.linear else None,
            "blend": asdict(self.blend),
            "tree_names": self.tree_names,
            "feature_names": self.feature_names,
            "boosters": len(self.boosters),
        }
        (folder / "churn.json").write_text(json.dumps(body, sort_keys=True))
        about = {"horizon_days": self.horizon_days, "lookback_days": self.lookback_days, "as_of": self.as_of}
        seal_artifact(folder, kind=KIND, format_version=FORMAT, about=about)

    @classmethod
    def load(cls, folder: Path) -> "ChurnModel":
        """The model in ``folder``.

        Raises:
            ArtifactError: where it is not exactly what was saved.
        """
        about = open_artifact(folder, kind=KIND, format_version=FORMAT)
        try:
            body = json.loads((folder / "churn.json").read_text())
            boosters = [
                lightgbm.Booster(model_str=(folder / f"trees-{number}.txt").read_text())
                for number in range(body["boosters"])
            ]
            linear = Linear(**_tuples(body["linear"])) if body["linear"] else None
            blend = Blend(**_tuples(body["blend"]))
            buyers = BuyTillYouDie.from_json(body["buyers"])
            return cls(
                boosters=boosters,
                tree_level=float(body["tree_level"]),
                tree_names=body["tree_names"],
                buyers=buyers,
                drawn_buyers=[BuyTillYouDie.from_json(saved) for saved in body["drawn_buyers"]],
                season=Season(**body["season"]),
                spread=Spread(**body["spread"]),
                usual_silence=float(body["usual_silence"]),
                linear=linear,
                blend=blend,
                feature_names=body["feature_names"],
                **about,
            )
        except (KeyError, TypeError, ValueError, lightgbm.basic.LightGBMError) as error:
            raise ArtifactError(f"{folder} does not hold what a churn model needs: {error}") from error

    def _checked(self, features: pd.DataFrame) -> pd.DataFrame:
        missing = [name for name in self.feature_names if name not in features]
        if missing:
            count = len(self.feature_names)
            raise DataError(
                f"churn model needs {count} features, got {count - len(missing)}: {', '.join(missing)} is missing; "
                "run `regulars features` again"
            )
        return features[list(self.feature_names)].astype(float)

    def _logits(self, known: pd.DataFrame) -> tuple[Floats, Floats]:
        """Logits of the ensemble's members (n_customers, n_members or 1) and of the two others (n_customers, 2)."""
        return component_logits(
            with_silence(known, self.buyers, self.horizon_days),
            boosters=self.boosters,
            tree_level=self.tree_level,
            tree_names=self.tree_names,
            buyers=self.buyers,
            linear=self.linear,
            season=self.season,
            horizon_days=self.horizon_days,
        )

    def _drawn(self, known: pd.DataFrame) -> Floats:
        """The variance (n_customers,) over the fits to drawn customers; 0 without them."""
        if not self.drawn_buyers:
            return np.zeros(len(known))
        days = self.horizon_days * self.season.pace
        drawn = [logit(silence(known, buyers, days)) for buyers in self.drawn_buyers]
        return np.asarray(self.blend.weights[1] ** 2 * np.var(drawn, axis=0), dtype=float)

    def _predicted(self, known: pd.DataFrame, members: Floats, others: Floats) -> pd.DataFrame:
        trees, *rest = self.blend.weights
        base = self.blend.intercept + others @ np.asarray(rest)
        middle = base + trees * members.mean(axis=1)
        chance = probability(middle)
        apart = trees**2 * members.var(axis=1) + np.minimum(
            self._disagreement(members.mean(axis=1), others), MOST_DISAGREEMENT
        )
        # What was off is off in probability as much as in logits: towards 0 and 1 it counts for more.
        fit = self.spread.fit**2 / (2 * np.sqrt(np.maximum(chance * (1 - chance), 1e-3)))
        apart = np.sqrt(apart + self._drawn(known) + fit + self.spread.season**2)
        columns = {
            "churn_probability": chance,
            "churn_low": np.maximum(probability(middle - INTERVAL * apart) - LEAST_MARGIN, 0.0),
            "churn_high": np.minimum(probability(middle + INTERVAL * apart) + LEAST_MARGIN, 1.0),
        }
        return pd.DataFrame(columns, index=known.index)

    def _reasons(self, known: pd.DataFrame, middle: Floats, *, most: int) -> list[list[Reason]]:
        given = with_silence(known, self.buyers, self.horizon_days)
        groups = merged(given, leading(*self._contributions(given)))
        at = middle[:, None]
        return reasons_for(given, groups, probability(at) - probability(at - groups.moved), most=most)

    def _middle(self, members: Floats, others: Floats) -> Floats:
        trees, *rest = self.blend.weights
        return np.asarray(self.blend.intercept + trees * members.mean(axis=1) + others @ np.asarray(rest), dtype=float)

    def _disagreement(self, trees: Floats, others: Floats) -> Floats:
        """The variance (n_customers,) of the mean of the components, by their shares in the blend."""
        weights = np.asarray(self.blend.weights)
        used = weights > 0
        if used.sum() < 2:
            return np.zeros(len(trees))
        logits = np.column_stack([trees, others])[:, used]
        share = weights[used] / weights[used].sum()
        middle = logits @ share
        return np.asarray(((logits - middle[:, None]) ** 2) @ share / used.sum(), dtype=float)

    def _contributions(self, given: pd.DataFrame) -> tuple[tuple[str, ...], Floats]:
        """What each feature moves the blended logit by: names (n_features,) and (n_customers, n_features)."""
        names = tuple(
            dict.fromkeys((*self.tree_names, *(self.linear.names if self.linear else ()), "probability_no_order"))
        )
        place = {name: column for column, name in enumerate(names)}
        moved = np.zeros((len(given), len(names)))
        trees, buyers, line = self.blend.weights
        for parts in self._tree_contributions(given[list(self.tree_names)].to_numpy(float)):
            for column, name in enumerate(self.tree_names):
                moved[:, place[name]] += trees * parts[:, column] / len(self.boosters)
        ahead = logit(silence(given, self.buyers, self.horizon_days * self.season.pace))
        moved[:, place["probability_no_order"]] += buyers * (ahead - self.usual_silence)
        if self.linear:
            design = self.linear.design(given)
            for column, name in enumerate(self.linear.names):
                moved[:, place[name]] += line * design[:, column] * self.linear.weights[column]
        return names, moved

    def _tree_contributions(self, values: Floats) -> Iterator[Floats]:
        """Of every member, or of all together, what each feature moves its sum by: (n_customers, n_features or more)."""
        if len(values) >= MANY and self._tables is not None:
            yield self._tables.contributions(values)
            return
        for booster in self.boosters if len(values) else ():
            yield np.asarray(booster.predict(values, pred_contrib=True))

    @cached_property
    def _tables(self) -> Tables | None:
        return tables_of(self.boosters)


def tree_logits(boosters: Sequence[lightgbm.Booster], given: pd.DataFrame) -> Floats:
    """Raw scores of every member, shape (n_customers, n_members), kept within +-8."""
    values = given.to_numpy(float)
    raw = [np.asarray(booster.predict(values, raw_score=True)) for booster in boosters]
    return np.clip(np.column_stack(raw), -LOGIT_LIMIT, LOGIT_LIMIT)


def signed_log(values: Floats) -> Floats:
    """sign(x) log(1 + |x|)."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)), dtype=float)


def logit(chance: Floats) -> Floats:
    """log(p / (1 - p)), kept within +-8."""
    kept = np.clip(chance, 1e-9, 1 - 1e-9)
    return np.asarray(np.clip(np.log(kept / (1 - kept)), -LOGIT_LIMIT, LOGIT_LIMIT), dtype=float)


def probability(of_logit: Floats | float) -> Floats:
    """1 / (1 + exp(-x))."""
    return np.asarray(1 / (1 + np.exp(-np.asarray(of_logit, dtype=float))), dtype=float)


def silence(known: pd.DataFrame, buyers: BuyTillYouDie, days: float) -> Floats:
    """What the buy-till-you-die model alone says of no order within ``days``: 0-1, shape (n_customers,)."""
    count, span, age = (known[name].to_numpy(float) for name in RHYTHM)
    return buyers.probability_no_order(count - 1, span, age, days=float(days))


def with_silence(known: pd.DataFrame, buyers: BuyTillYouDie, horizon_days: int) -> pd.DataFrame:
    """``known`` with ``probability_no_order``: ``silence`` within the horizon at a steady pace."""
    return known.assign(probability_no_order=silence(known, buyers, horizon_days))


def season_shift(known: pd.DataFrame, buyers: BuyTillYouDie, horizon_days: int, pace: float) -> float:
    """What ``pace`` adds to the logit of the share that leaves, by the buy-till-you-die model; 0 for nobody."""
    if not len(known):
        return 0.0
    steady = silence(known, buyers, horizon_days).mean()
    stretched = silence(known, buyers, horizon_days * pace).mean()
    return float((logit(stretched) - logit(steady)).item())


def usual_silence(known: pd.DataFrame, buyers: BuyTillYouDie, season: Season, horizon_days: int) -> float:
    """The mean logit of the buy-till-you-die model over ``known``, at the season's pace."""
    return float(logit(silence(known, buyers, horizon_days * season.pace)).mean())


def component_logits(
    given: pd.DataFrame,
    *,
    boosters: Sequence[lightgbm.Booster],
    tree_level: float,
    tree_names: Sequence[str],
    buyers: BuyTillYouDie,
    linear: Linear | None,
    season: Season,
    horizon_days: int,
) -> tuple[Floats, Floats]:
    """Logits of the trees' members (n_customers, n_members or 1) and of the two others (n_customers, 2).

    ``given``: features with ``probability_no_order``. A part that is not there gives 0.
    """
    ahead = logit(silence(given, buyers, horizon_days * season.pace))
    line = linear.logit(given) + season.shift if linear else np.zeros(len(given))
    if not boosters:
        return np.zeros((len(given), 1)), np.column_stack([ahead, line])
    members = tree_logits(boosters, given[list(tree_names)]) + tree_level + season.shift
    return members, np.column_stack([ahead, line])


def _tuples(saved: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
