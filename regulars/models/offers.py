"""What an offer changes: the difference between a customer's response with it and without.

An offer's uplift is its level, the average over customers, and how far this customer is from the average:
``level + slope x (raw(customer) - centre)``. The raw effect is a weighted sum of responses, which is how every
meta-learner (S, T, X, DR; Künzel et al., PNAS 2019; Kennedy, EJS 2023) can be written. The slope is how much of the
raw differences between customers was found again on rows that the learner had not seen (the best linear predictor of
Chernozhukov et al., Econometrica 2025), between 0 and 1. Levels are drawn towards what offers with the same attributes
did, the more the less is known of an offer; one never made has the level that its attributes promise.

Where choosing for each customer was not shown to be better than one choice for all (``personal`` is false), values rest
on levels alone. Whether an estimate may be called an effect depends on how offers were assigned: ``randomised``.
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
from regulars.models.responses import Encoder, Floats, Linear, Response, response_from

KIND, FORMAT = "offers", 2
NO_OFFER = ""
ANY_OFFER = "any offer"
COLUMNS = ("customer_id", "offer_id", "expected_uplift", "uplift_se", "expected_value")
TERMS = ("kind", "value", "cost", "category")


@dataclass(frozen=True)
class Effect:
    """A raw effect: sum of ``weight x responses[place].predict(design)`` over ``parts`` (weight, place)."""

    parts: tuple[tuple[float, int], ...]
    centre: float


@dataclass(frozen=True)
class Level:
    """An offer's average uplift over customers and its standard error, in units of the outcome."""

    mean: float
    se: float


@dataclass(frozen=True)
class Worth:
    """What one unit of the outcome brings in money: ``revenue``, of which the share ``margin`` stays (1: costs unknown)."""

    revenue: float
    margin: float

    @property
    def money(self) -> float:
        return self.revenue * self.margin


@dataclass(frozen=True)
class OfferModel:
    """Expected uplift and value of each offer for each customer.

    ``without``: the outcome expected without an offer. ``effects``: per offer with enough rows, and ``ANY_OFFER``.
    ``new_level`` over ``terms`` (an encoder of offers' kind, value, cost, category), with ``new_se``: for unseen offers.
    ``about``: outcome, as_of, horizon_days, randomised, personal, learner and what else JSON can hold.
    """

    encoder: Encoder
    responses: tuple[Response, ...]
    without: Response
    effects: Mapping[str, Effect]
    levels: Mapping[str, Level]
    slope: float
    terms: Encoder
    new_level: Linear
    new_se: float
    costs: Mapping[str, float]
    worth: Worth
    about: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        """What the uplift is of: visited, redeemed, converted, revenue, retained."""
        return str(self.about["outcome"])

    @property
    def randomised(self) -> bool:
        """Whether who was made which offer was drawn at random with known probabilities."""
        return bool(self.about["randomised"])

    @property
    def personal(self) -> bool:
        """Whether choosing per customer was shown to be better than one choice for all."""
        return bool(self.about["personal"])

    @property
    def horizon_days(self) -> int:
        """Days after an assignment in which the outcome counts."""
        return int(self.about["horizon_days"])

    def decide(
        self, customers: pd.DataFrame, *, offers: Sequence[str], attributes: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """One row per customer and offer, with the columns ``COLUMNS``.

        ``customers``: one row per customer, indexed by customer_id. ``attributes``: kind, value, cost, category of offers,
        indexed by offer_id; needed for offers that the model never saw, and its costs replace those of training.
        Uplift is in units of the outcome (a probability, or money for revenue), ``uplift_se`` the standard error of its
        level, value in money after the offer's cost.
        """
        uplift, mean, se = self.uplifts(customers, offers=offers, attributes=attributes)
        costs = self._costs(offers, attributes)
        value = (uplift if self.personal else np.broadcast_to(mean, uplift.shape)) * self.worth.money - costs
        count = len(offers)
        return pd.DataFrame(
            {
                "customer_id": np.tile(customers.index.to_numpy(), count),
                "offer_id": np.repeat(np.array(list(offers), dtype=object), len(customers)),
                "expected_uplift": uplift.T.ravel(),
                "uplift_se": np.repeat(se, len(customers)),
                "expected_value": value.T.ravel(),
            }
        )

    def uplifts(
        self, customers: pd.DataFrame, *, offers: Sequence[str], attributes: pd.DataFrame | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Uplift (n_customers, n_offers); the offers' levels and their standard errors, (n_offers,) each."""
        design = self.encoder.design(customers)
        told: dict[int, Floats] = {}
        levels = [self._level(offer, attributes) for offer in offers]
        columns = [np.zeros((len(customers), 0))]
        for offer, level in zip(offers, levels, strict=True):
            effect = self.effects.get(offer) or self.effects[ANY_OFFER]
            raw = np.zeros(len(customers))
            for weight, place in effect.parts:
                if place not in told:
                    told[place] = self.responses[place].predict(design)
                raw += weight * told[place]
            columns.append((level.mean + self.slope * (raw - effect.centre))[:, None])
        means, errors = (np.array([getattr(level, name) for level in levels], float) for name in ("mean", "se"))
        return np.hstack(columns), means, errors

    def expected_without(self, customers: pd.DataFrame) -> Floats:
        """The outcome (n_customers,) expected where nothing is offered."""
        return self.without.predict(self.encoder.design(customers))

    def _level(self, offer: str, attributes: pd.DataFrame | None) -> Level:
        if offer in self.levels:
            return self.levels[offer]
        known = pd.DataFrame(columns=list(TERMS)) if attributes is None else attributes
        row = known.reindex(columns=list(TERMS)).reindex([offer])
        return Level(float(self.new_level.predict(self.terms.design(row))[0]), self.new_se)

    def _costs(self, offers: Sequence[str], attributes: pd.DataFrame | None) -> Floats:
        if attributes is None or "cost" not in attributes:
            return np.array([self.costs.get(offer, 0.0) for offer in offers])
        return attributes["cost"].reindex(list(offers)).fillna(0.0).to_numpy(float)

    def save(self, folder: Path) -> None:
        """Write the model into the empty folder ``folder`` as a sealed artifact."""
        body: dict[str, Any] = {
            "encoder": self.encoder.to_json(),
            "responses": [response.to_json() for response in self.responses],
            "without": self.without.to_json(),
            "effects": {offer: asdict(effect) for offer, effect in self.effects.items()},
            "levels": {offer: asdict(level) for offer, level in self.levels.items()},
            "slope": self.slope,
            "terms": self.terms.to_json(),
            "new_level": self.new_level.to_json(),
            "new_se": self.new_se,
            "costs": dict(self.costs),
            "worth": asdict(self.worth),
        }
        (folder / "responses.json").write_text(json.dumps(body, sort_keys=True))
        seal_artifact(folder, kind=KIND, format_version=FORMAT, about=self.about)

    @classmethod
    def load(cls, folder: Path) -> "OfferModel":
        """The model in ``folder``.

        Raises:
            ArtifactError: where it is not exactly what was saved.
        """
        about = open_artifact(folder, kind=KIND, format_version=FORMAT)
        try:
            body = json.loads((folder / "responses.json").read_text())
            effects = {
                offer: Effect(tuple((float(w), int(p)) for w, p in found["parts"]), float(found["centre"]))
                for offer, found in body["effects"].items()
            }
            new_level = response_from(body["new_level"])
            assert isinstance(new_level, Linear)
            return cls(
                encoder=Encoder.from_json(body["encoder"]),
                responses=tuple(response_from(found) for found in body["responses"]),
                without=response_from(body["without"]),
                effects=effects,
                levels={offer: Level(**found) for offer, found in body["levels"].items()},
                slope=float(body["slope"]),
                terms=Encoder.from_json(body["terms"]),
                new_level=new_level,
                new_se=float(body["new_se"]),
                costs=body["costs"],
                worth=Worth(**body["worth"]),
                about=about,
            )
        except (AssertionError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"{folder} does not hold what an offer model needs: {error}") from error
