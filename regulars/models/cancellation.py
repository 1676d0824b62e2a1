"""How likely each running subscription is to be cancelled within the horizon.

Trees and a logistic regression, the mean of their logits, set to the level that moments showed which neither had seen. Where
too few cancellations are known, the share that was cancelled of subscriptions of that age.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.errors import ArtifactError, DataError
from regulars.models.artifact import open_artifact, seal_artifact
from regulars.models.churn import LOGIT_LIMIT, Linear, probability
from regulars.models.trees import FlatTrees, flat_trees

KIND, FORMAT = "cancellation", 1
AGE = "subscription_age_days"
AGE_EDGES = (30.0, 90.0, 180.0, 365.0)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class AgeShares:
    """The share cancelled within the horizon (0-1) by age: up to each of ``AGE_EDGES`` (days, open) and beyond the last."""

    shares: tuple[float, ...]

    def of(self, age_days: Floats) -> Floats:
        """The share of each age, shape (n_subscriptions,).

        >>> AgeShares((0.5, 0.4, 0.3, 0.2, 0.1)).of(np.array([0.0, 30.0, 900.0])).tolist()
        [0.5, 0.4, 0.1]
        """
        return np.asarray(self.shares)[np.searchsorted(AGE_EDGES, age_days, side="right")]


@dataclass(frozen=True)
class Pair:
    """Trees (LightGBM's text) and a logistic regression.

    ``tree_level``: the logit that the trees begin with. ``level``: what is added to the mean of both logits.
    """

    trees: str
    tree_level: float
    linear: Linear
    level: float = 0.0

    def logit(self, known: pd.DataFrame) -> Floats:
        """Shape (n_subscriptions,); ``known`` holds the features in the order that the trees learnt them in."""
        raw = self._flat.predict(known.to_numpy(float), raw=True) + self.tree_level
        both = (np.clip(raw, -LOGIT_LIMIT, LOGIT_LIMIT) + self.linear.logit(known)) / 2
        return np.asarray(both + self.level, dtype=float)

    @cached_property
    def _flat(self) -> FlatTrees:
        return flat_trees(self.trees)


class CancellationModel:
    """Probabilities of cancellation. ``pair`` may be None: then ``by_age`` answers."""

    def __init__(
        self, *, pair: Pair | None, by_age: AgeShares, feature_names: Sequence[str], horizon_days: int, as_of: str
    ) -> None:
        self.pair = pair
        self.by_age = by_age
        self.feature_names = tuple(feature_names)
        self.horizon_days = horizon_days
        self.as_of = as_of

    @property
    def method(self) -> str:
        """What answers: ``trees_and_linear``, or ``share_by_age`` where too few cancellations are known."""
        return "trees_and_linear" if self.pair else "share_by_age"

    def predict(self, subscriptions: pd.DataFrame) -> pd.DataFrame:
        """Indexed as ``subscriptions`` (one row each): cancellation_probability (0-1) within the horizon.

        Raises:
            DataError: where a feature is missing; the message names it.
        """
        known = self._checked(subscriptions)
        if self.pair is None or known.empty:
            chance = self.by_age.of(known[AGE].to_numpy(float))
        else:
            chance = probability(self.pair.logit(known))
        return pd.DataFrame({"cancellation_probability": chance}, index=subscriptions.index)

    def of_customers(self, subscriptions: pd.DataFrame) -> pd.Series:
        """The highest probability over the rows of each customer, by customer_id; raises as ``predict`` does."""
        chance = self.predict(subscriptions)["cancellation_probability"]
        return chance.groupby(subscriptions["customer_id"]).max()

    def save(self, folder: Path) -> None:
        """Write the model into the empty folder ``folder`` as a sealed artifact."""
        if self.pair:
            (folder / "trees.txt").write_text(self.pair.trees)
        body = {
            "pair": asdict(replace(self.pair, trees="")) if self.pair else None,
            "age_shares": self.by_age.shares,
            "feature_names": self.feature_names,
        }
        (folder / "cancellation.json").write_text(json.dumps(body, sort_keys=True))
        about = {"horizon_days": self.horizon_days, "as_of": self.as_of}
        seal_artifact(folder, kind=KIND, format_version=FORMAT, about=about)

    @classmethod
    def load(cls, folder: Path) -> "CancellationModel":
        """The model in ``folder``.

        Raises:
            ArtifactError: where it is not exactly what was saved.
        """
        about = open_artifact(folder, kind=KIND, format_version=FORMAT)
        try:
            body = json.loads((folder / "cancellation.json").read_text())
            pair = None
            if body["pair"]:
                levels = {name: float(body["pair"][name]) for name in ("tree_level", "level")}
                pair = Pair((folder / "trees.txt").read_text(), linear=_linear(body["pair"]["linear"]), **levels)
            by_age = AgeShares(tuple(map(float, body["age_shares"])))
            return cls(pair=pair, by_age=by_age, feature_names=body["feature_names"], **about)
        except (KeyError, TypeError, ValueError, OSError) as error:
            raise ArtifactError(f"{folder} does not hold what a cancellation model needs: {error}") from error

    def _checked(self, subscriptions: pd.DataFrame) -> pd.DataFrame:
        missing = [name for name in self.feature_names if name not in subscriptions]
        if missing:
            count = len(self.feature_names)
            raise DataError(
                f"cancellation model needs {count} features, got {count - len(missing)}: {', '.join(missing)} is missing; "
                "it was trained on other tables than these; run `regulars train cancellation` again"
            )
        return subscriptions[list(self.feature_names)].astype(float)


def _linear(saved: Mapping[str, Any]) -> Linear:
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in saved.items()}
    return Linear(**given)
