"""What an offer changes: the difference between a customer's response with it and without.

A linear response model for customers without an offer, one for customers with any, and one for each offer that enough
customers were given (T-learner, Künzel et al., PNAS 2019). Offers with fewer rows take the model of any offer, moved by
the offer's own mean residual, shrunk towards zero. The result is an estimate; whether it may be called an effect depends
on how offers were assigned, which ``randomised`` says.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from regulars.errors import ArtifactError
from regulars.models.artifact import open_artifact, seal_artifact

KIND, FORMAT = "offers", 1
NO_OFFER = ""
ANY_OFFER = "any offer"


@dataclass(frozen=True)
class Response:
    """A linear model of the outcome: ``weights`` (n_columns,) over standardised columns.

    ``logistic``: the outcome is a probability through the logistic function; else an amount.
    """

    weights: tuple[float, ...]
    intercept: float
    logistic: bool

    def predict(self, design: np.ndarray) -> np.ndarray:
        """Expected outcome (n_rows,) for ``design`` (n_rows, n_columns)."""
        linear = design @ np.asarray(self.weights) + self.intercept
        return 1 / (1 + np.exp(-linear)) if self.logistic else linear


@dataclass(frozen=True)
class Encoder:
    """Columns -> design matrix: numbers filled, transformed by sign(x) log1p|x| and standardised; categories one-hot.

    ``numbers``: column -> (fill, mean, scale). ``categories``: column -> its known values.
    """

    numbers: Mapping[str, tuple[float, float, float]]
    categories: Mapping[str, tuple[str, ...]]

    def design(self, customers: pd.DataFrame) -> np.ndarray:
        """Shape (n_rows, n_columns); a column that ``customers`` lacks counts as missing everywhere."""
        blocks = [np.zeros((len(customers), 0))]
        for name, (fill, mean, scale) in self.numbers.items():
            raw = customers[name] if name in customers else pd.Series(np.nan, customers.index)
            values = pd.to_numeric(raw, errors="coerce").fillna(fill).to_numpy(float)
            blocks.append(((squeezed(values) - mean) / scale)[:, None])
        for name, known in self.categories.items():
            raw = customers[name] if name in customers else pd.Series(None, customers.index, dtype=object)
            values = raw.astype(str).to_numpy()
            blocks.append(np.stack([values == value for value in known], axis=1).astype(float))
        return np.hstack(blocks)


def squeezed(values: np.ndarray) -> np.ndarray:
    """sign(x) log(1 + |x|), which keeps large amounts from ruling a linear model."""
    return np.asarray(np.sign(values) * np.log1p(np.abs(values)))


class OfferModel:
    """Expected uplift and value of each offer for each customer.

    ``value_of_outcome``: money per unit of outcome (1 where the outcome is money itself or its worth is not known).
    ``shifts``: offer -> what to add to the model of any offer, for offers without a model of their own.
    """

    def __init__(
        self,
        *,
        encoder: Encoder,
        control: Response,
        treated: Mapping[str, Response],
        shifts: Mapping[str, float],
        costs: Mapping[str, float],
        outcome: str,
        value_of_outcome: float,
        randomised: bool,
        as_of: str,
        horizon_days: int,
    ) -> None:
        self.encoder = encoder
        self.control = control
        self.treated = dict(treated)
        self.shifts = dict(shifts)
        self.costs = dict(costs)
        self.outcome = outcome
        self.value_of_outcome = value_of_outcome
        self.randomised = randomised
        self.as_of = as_of
        self.horizon_days = horizon_days

    def decide(self, customers: pd.DataFrame, *, offers: Sequence[str]) -> pd.DataFrame:
        """One row per customer and offer: customer_id, offer_id, expected_uplift, expected_value.

        ``customers``: one row per customer, indexed by customer_id. Uplift is in units of the outcome (a probability,
        or money for revenue), value in money after the offer's cost. An offer the model never saw is judged as any offer.
        """
        design = self.encoder.design(customers)
        without = self.control.predict(design)
        parts = []
        for offer in offers:
            uplift = self._with(offer, design) - without
            value = uplift * self.value_of_outcome - self.costs.get(offer, 0.0)
            parts.append(
                pd.DataFrame(
                    {
                        "customer_id": customers.index.to_numpy(),
                        "offer_id": offer,
                        "expected_uplift": uplift,
                        "expected_value": value,
                    }
                )
            )
        columns = ["customer_id", "offer_id", "expected_uplift", "expected_value"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def _with(self, offer: str, design: np.ndarray) -> np.ndarray:
        if offer in self.treated:
            return self.treated[offer].predict(design)
        moved = self.treated[ANY_OFFER].predict(design) + self.shifts.get(offer, 0.0)
        return np.clip(moved, 0.0, 1.0) if self.control.logistic else moved

    def save(self, folder: Path) -> None:
        """Write the model into the empty folder ``folder`` as a sealed artifact."""
        body: dict[str, Any] = {
            "encoder": asdict(self.encoder),
            "control": asdict(self.control),
            "treated": {offer: asdict(response) for offer, response in self.treated.items()},
            "shifts": self.shifts,
            "costs": self.costs,
        }
        (folder / "responses.json").write_text(json.dumps(body, sort_keys=True))
        about = {
            name: getattr(self, name) for name in ("outcome", "value_of_outcome", "randomised", "as_of", "horizon_days")
        }
        seal_artifact(folder, kind=KIND, format_version=FORMAT, about=about)

    @classmethod
    def load(cls, folder: Path) -> "OfferModel":
        """The model in ``folder``.

        Raises:
            ArtifactError: where it is not exactly what was saved.
        """
        about = open_artifact(folder, kind=KIND, format_version=FORMAT)
        try:
            body = json.loads((folder / "responses.json").read_text())
            encoder = Encoder(
                numbers={name: tuple(values) for name, values in body["encoder"]["numbers"].items()},
                categories={name: tuple(values) for name, values in body["encoder"]["categories"].items()},
            )
            treated = {offer: Response(**response) for offer, response in body["treated"].items()}
            control = Response(**body["control"])
            return cls(
                encoder=encoder,
                control=control,
                treated=treated,
                shifts=body["shifts"],
                costs=body["costs"],
                **about,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder} does not hold what an offer model needs: {error}") from error
