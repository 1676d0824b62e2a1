"""What MLflow's own clients load: ``mlflow.pyfunc.load_model("models:/churn@champion")`` asks ``_load_pyfunc`` here.

A registered version holds an ``MLmodel`` file that names this module, and the sealed artifact beside it. Nothing in the
artifact can run: the code is that of the installed package ``regulars``. The service and the comparison do not come here.

The frames that ``predict`` takes, and what it gives:

- churn: customer_id and the columns of `regulars features` -> customer_id, churn_probability, churn_low, churn_high, reasons
- value: the same columns -> customer_id and the columns of ``ValueModel.predict``
- cancellation: subscription_id and the columns of ``features.subscriptions`` -> subscription_id, cancellation_probability
- recommender: history_id, product_id, occurred_at (UTC), kind (purchase, view, cart, ...; default view) -> history_id, rank,
  product_id, score, reason. Parameters: n, placement, product_ids, repeat, moment (seconds since 1970; 0: just after each
  history's end)
- offers: customer_id and what is known of each customer -> customer_id, offer_id, expected_uplift, expected_value.
  Parameter: offers (default: all the model learnt)
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from regulars.errors import ArtifactError, DataError
from regulars.models.artifact import artifact_kind
from regulars.models.cancellation import CancellationModel
from regulars.models.churn import ChurnModel
from regulars.models.history import History
from regulars.models.offers import OfferModel
from regulars.models.recommender import Context, Recommender
from regulars.models.threads import one_thread
from regulars.models.value import ValueModel

Params = Mapping[str, Any]
Frame = pd.DataFrame


class Predictor(Protocol):
    """What MLflow calls."""

    def predict(self, model_input: Frame, params: Params | None = None) -> Frame: ...


class ChurnPredictor:
    def __init__(self, folder: Path) -> None:
        self.model = ChurnModel.load(folder)

    def predict(self, model_input: Frame, params: Params | None = None) -> Frame:
        features = model_input.set_index(_column(model_input, "customer_id"))
        reasons = [json.dumps([asdict(reason) for reason in found]) for found in self.model.reasons(features)]
        return self.model.predict(features).assign(reasons=reasons).reset_index()


class ValuePredictor:
    def __init__(self, folder: Path) -> None:
        self.model = ValueModel.load(folder)

    def predict(self, model_input: Frame, params: Params | None = None) -> Frame:
        return self.model.predict(model_input.set_index(_column(model_input, "customer_id"))).reset_index()


class CancellationPredictor:
    def __init__(self, folder: Path) -> None:
        self.model = CancellationModel.load(folder)

    def predict(self, model_input: Frame, params: Params | None = None) -> Frame:
        return self.model.predict(model_input.set_index(_column(model_input, "subscription_id"))).reset_index()


class RecommenderPredictor:
    def __init__(self, folder: Path) -> None:
        self.model = Recommender.load(folder)

    @one_thread()
    def predict(self, model_input: Frame, params: Params | None = None) -> Frame:
        asked = dict(params or {})
        rows = model_input.assign(occurred_at=pd.to_datetime(_values(model_input, "occurred_at"), utc=True))
        rows = rows.sort_values(["occurred_at", "product_id"], kind="stable")
        lines = []
        for history_id, own in rows.groupby(_column(rows, "history_id"), sort=True):
            at = own["occurred_at"].dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
            kinds = own["kind"].tolist() if "kind" in own else ["view"] * len(own)
            history = History(own["product_id"].astype(str).tolist(), at, kinds)
            context = Context(
                moment=int(asked.get("moment", 0)) or int(at[-1]) + 1,
                placement=str(asked.get("placement", "home")),
                product_ids=tuple(asked.get("product_ids", ())),
                repeat=str(asked.get("repeat", "auto")),
            )
            for item in self.model.recommend(history, context, n=int(asked.get("n", 10))).items:
                lines.append((history_id, item.rank, item.product_id, item.score, item.reason_code))
        return pd.DataFrame(lines, columns=["history_id", "rank", "product_id", "score", "reason"])


class OffersPredictor:
    def __init__(self, folder: Path) -> None:
        self.model = OfferModel.load(folder)

    def predict(self, model_input: Frame, params: Params | None = None) -> Frame:
        offers = (params or {}).get("offers") or sorted(self.model.costs)
        return self.model.decide(model_input.set_index(_column(model_input, "customer_id")), offers=list(offers))


PARAMS: dict[
    str, list[dict[str, Any]]
] = {  # as MLflow writes them into a signature; only what stands here can be asked
    "recommender": [
        {"name": "n", "type": "long", "default": 10, "shape": None},
        {"name": "placement", "type": "string", "default": "home", "shape": None},
        {"name": "product_ids", "type": "string", "default": [], "shape": [-1]},
        {"name": "repeat", "type": "string", "default": "auto", "shape": None},
        {"name": "moment", "type": "long", "default": 0, "shape": None},
    ],
    "offers": [{"name": "offers", "type": "string", "default": [], "shape": [-1]}],
}
PREDICTORS: dict[str, Callable[[Path], Predictor]] = {
    "churn": ChurnPredictor,
    "value": ValuePredictor,
    "recommender": RecommenderPredictor,
    "offers": OffersPredictor,
    "cancellation": CancellationPredictor,
}


def _load_pyfunc(path: str) -> Predictor:
    """The model whose sealed artifact is the folder ``path``; MLflow calls this by name.

    Raises:
        ArtifactError: where it is not exactly what was saved, or of a kind that this version does not know.
    """
    folder = Path(path)
    kind = artifact_kind(folder)
    if kind not in PREDICTORS:
        raise ArtifactError(f"expected a model of kind {', '.join(PREDICTORS)}, got {kind!r}")
    return PREDICTORS[kind](folder)


def _column(frame: Frame, name: str) -> str:
    if name not in frame:
        raise DataError(f"the model's input needs a column {name}, it has {', '.join(map(str, frame.columns))}")
    return name


def _values(frame: Frame, name: str) -> pd.Series:
    return frame[_column(frame, name)]
