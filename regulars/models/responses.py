"""Functions of a design matrix that offer models are made of: linear ones and small gradient-boosted trees."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.models.trees import FlatTrees, flat_trees

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Linear:
    """``weights`` (n_columns,) over standardised columns; ``logistic``: a probability through the logistic function."""

    weights: tuple[float, ...]
    intercept: float
    logistic: bool

    def predict(self, design: Floats) -> Floats:
        """Expected outcome (n_rows,) for ``design`` (n_rows, n_columns)."""
        linear = design @ np.asarray(self.weights) + self.intercept
        return np.asarray(1 / (1 + np.exp(-linear)) if self.logistic else linear)

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {"weights": list(self.weights), "intercept": self.intercept, "logistic": self.logistic}


@dataclass(frozen=True)
class Trees:
    """A LightGBM model as ``text`` over the design and, behind it, the same constants ``more`` for every row."""

    text: str
    more: tuple[float, ...] = ()

    def predict(self, design: Floats) -> Floats:
        """Expected outcome (n_rows,) for ``design`` (n_rows, n_columns)."""
        behind = np.broadcast_to(np.asarray(self.more, float), (len(design), len(self.more)))
        return self._flat.predict(np.hstack([design, behind]))

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {"text": self.text, "more": list(self.more)}

    @cached_property
    def _flat(self) -> FlatTrees:
        return flat_trees(self.text)


Response = Linear | Trees


def response_from(body: Mapping[str, Any]) -> Response:
    """What ``to_json`` of either kind wrote; raises KeyError or TypeError for anything else."""
    if "text" in body:
        return Trees(str(body["text"]), tuple(body["more"]))
    return Linear(tuple(body["weights"]), float(body["intercept"]), bool(body["logistic"]))


@dataclass(frozen=True)
class Encoder:
    """Columns -> design matrix: numbers filled, transformed by sign(x) log1p|x| and standardised; categories one-hot.

    ``numbers``: column -> (fill, mean, scale). ``categories``: column -> its known values, each with its share.
    """

    numbers: Mapping[str, tuple[float, float, float]]
    categories: Mapping[str, tuple[tuple[str, float], ...]]

    @property
    def width(self) -> int:
        """The number of columns of the design."""
        return len(self.numbers) + sum(len(known) for known in self.categories.values())

    def design(self, rows: pd.DataFrame) -> Floats:
        """Shape (n_rows, n_columns); a column that ``rows`` lacks counts as missing everywhere."""
        blocks = [np.zeros((len(rows), 0))]
        for name, (fill, mean, scale) in self.numbers.items():
            raw = rows[name] if name in rows else pd.Series(np.nan, rows.index)
            values = pd.to_numeric(raw, errors="coerce").fillna(fill).to_numpy(float)
            blocks.append(((squeezed(values) - mean) / scale)[:, None])
        for name, known in self.categories.items():
            raw = rows[name] if name in rows else pd.Series(None, rows.index, dtype=object)
            values = raw.astype(str).to_numpy()
            blocks.append(np.stack([(values == value) - share for value, share in known], axis=1).astype(float))
        return np.hstack(blocks)

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return {
            "numbers": {name: list(values) for name, values in self.numbers.items()},
            "categories": {name: [list(pair) for pair in known] for name, known in self.categories.items()},
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Encoder":
        """What ``to_json`` wrote."""
        return cls(
            numbers={name: tuple(values) for name, values in body["numbers"].items()},
            categories={
                name: tuple((str(v), float(s)) for v, s in known) for name, known in body["categories"].items()
            },
        )


MOST_CATEGORIES = 20


def encoder_for(rows: pd.DataFrame) -> Encoder:
    """An encoder of the columns of ``rows``: numbers with median, mean and deviation, texts with their 20 commonest values."""
    numbers: dict[str, tuple[float, float, float]] = {}
    categories: dict[str, tuple[tuple[str, float], ...]] = {}
    for name in sorted(map(str, rows.columns)):
        values = rows[name]
        if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
            shares = values.dropna().astype(str).value_counts().sort_index() / max(len(values), 1)
            common = shares.sort_values(ascending=False, kind="stable")
            if len(common) > 1:
                categories[name] = tuple((str(v), float(s)) for v, s in common.head(MOST_CATEGORIES).items())
            continue
        number = values.astype(float)
        if number.notna().any() and number.nunique() > 1:
            fill = float(number.median())
            flat = squeezed(np.asarray(number.fillna(fill), dtype=np.float64))
            numbers[name] = (fill, float(flat.mean()), float(flat.std()) or 1.0)
    return Encoder(numbers=numbers, categories=categories)


def squeezed(values: Floats) -> Floats:
    """sign(x) log(1 + |x|), which keeps large amounts from ruling a linear model."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))
