"""An offer model for too little data: response rates by offer and segment, with how sure they are."""

from typing import Any

import numpy as np
import pandas as pd

from regulars.models.offers import ANY_OFFER, NO_OFFER, TERMS, Effect, Level, OfferModel, Worth
from regulars.models.responses import Encoder, Linear, encoder_for
from training.levels import pooled_levels, response_rates
from training.results import COLUMNS, Trained

SEGMENTS = ("orders_segment", "segment", "attribute_segment", "tier", "attribute_tier")
SURE = 1.645


def rates_model(
    rows: pd.DataFrame,
    about: pd.DataFrame,
    names: list[str],
    said: dict[str, Any],
    *,
    terms: pd.DataFrame,
    worth: Worth,
    settings: dict[str, Any],
    notes: tuple[str, ...],
) -> Trained:
    """The model and one line per offer and segment: the rate with its 90 % posterior interval.

    Segments: the first of ``SEGMENTS`` that is known of the customers, else all are one.
    """
    column = next((name for name in SEGMENTS if name in about), None)
    segment = pd.Series("all", rows.index) if column is None else about[column].fillna("none").astype(str)
    arm = rows["offer_id"].map({NO_OFFER: 0} | {name: k for k, name in enumerate(names, 1)}).to_numpy(np.int64)
    outcome = rows["outcome"].to_numpy(float)
    logistic = said["outcome"] != "revenue"
    rates = response_rates(arm, outcome, segment.reset_index(drop=True), logistic=logistic)
    groups = sorted(segment.unique())
    share = segment.value_counts(normalize=True).reindex(groups).to_numpy()
    mean, se = (
        rates.pivot(index="segment", columns="arm", values=name).loc[groups].to_numpy() for name in ("mean", "se")
    )
    uplift = mean[:, 1:] - mean[:, [0]]
    estimates = share @ uplift
    errors = np.sqrt((share**2) @ (se[:, 1:] ** 2 + se[:, [0]] ** 2))
    encoder = Encoder({}, {} if column is None else {column: tuple((name, 0.0) for name in groups)})
    apart = np.zeros((len(groups), len(names))) if column is None else uplift - estimates
    responses = tuple(Linear(tuple(map(float, tilt)) if column else (), 0.0, False) for tilt in apart.T)
    encoded = encoder_for(terms[list(TERMS)])
    pooled = pooled_levels(estimates, errors, encoded.design(terms[list(TERMS)].reindex(names)))
    effects = {name: Effect(((1.0, k),), 0.0) for k, name in enumerate(names)} | {ANY_OFFER: Effect((), 0.0)}
    model = OfferModel(
        encoder=encoder,
        responses=responses,
        without=Linear(tuple(mean[:, 0] - share @ mean[:, 0]) if column else (), float(share @ mean[:, 0]), False),
        effects=effects,
        levels=dict(zip(names, (Level(level.mean, level.se) for level in pooled.levels), strict=True)),
        slope=1.0,
        terms=encoded,
        new_level=pooled.new_level,
        new_se=pooled.new_se,
        costs=terms["cost"].fillna(0.0).astype(float).to_dict(),
        worth=worth,
        about=said | {"personal": column is not None, "learner": "response rates"},
    )
    label = dict(enumerate(["no offer", *names]))
    lines = [
        (f"{label[row.arm]}, {row.segment}", f"rate {said['outcome']}", row.mean, row.mean - SURE * row.se,
         row.mean + SURE * row.se, f"{len(rows):,} assignments; 90 % of the posterior")
        for row in rates.rename(columns={"mean": "rate"}).assign(mean=rates["mean"]).itertuples()
    ]  # fmt: skip
    return Trained(
        model, settings, {"assignments": float(len(rows))}, pd.DataFrame(lines, columns=list(COLUMNS)), notes=notes
    )
