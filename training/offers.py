"""Learns what offers change, from who was made one and who was not.

Steps: rows and what was known when each was assigned, a propensity (known, or estimated and then marked observational),
a meta-learner chosen by cross-fitting, levels drawn towards offers alike, and an honest estimate of the whole procedure
on customers that none of it saw. Where there is too little for that, response rates by offer and segment.
"""

import logging
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.assignments import assigned_rows, features_when_assigned, recorded_outcome
from regulars.as_of import Tables
from regulars.errors import MissingData
from regulars.models.offers import ANY_OFFER, NO_OFFER, TERMS, Effect, OfferModel
from regulars.models.responses import encoder_for
from training.choosing import Choice, choose_learner, folds_of
from training.levels import pooled_levels
from training.off_policy import Log, overlap
from training.offer_policies import OBSERVATIONAL, judge
from training.offer_rates import rates_model
from training.offer_worth import offer_terms, worth_of
from training.propensities import taken_probability, were_drawn
from training.results import Trained
from training.uplift import Sample, fit_linear, learners

log = logging.getLogger(__name__)

Ints = NDArray[np.int64]

HORIZON_DAYS = 28
LEAST_ROWS = 10
LEAST_TO_LEARN = 100
LEAST_ROWS_OF_ITS_OWN = 1_000
FEW = (
    "There are too few assignments to tell customers apart: these are response rates by offer and segment, drawn towards "
    "what all offers did."
)
NO_DIFFERENCE = (
    "Choosing an offer for each customer was not shown to be better than the best one for everybody ({shown}), "
    "so that one is made."
)


def train_offers(
    tables: Tables,
    *,
    as_of: datetime,
    outcome: str | None = None,
    horizon_days: int | None = None,
    seed: int = 0,
) -> Trained:
    """The fitted model and, on customers held out from it, what its decisions bring beside plain policies.

    Raises:
        MissingData: where fewer than 10 customers were made an offer, or fewer than 10 were not.
    """
    outcome = outcome or recorded_outcome(tables, as_of=as_of)
    horizon = horizon_days or HORIZON_DAYS
    rows = assigned_rows(tables, as_of=as_of, horizon_days=horizon, outcome=outcome)
    offered = rows["offer_id"] != NO_OFFER
    if min(offered.sum(), (~offered).sum()) < LEAST_ROWS:
        raise MissingData(
            f"an offer model needs {LEAST_ROWS} customers with an offer and {LEAST_ROWS} without, "
            f"got {offered.sum()} and {(~offered).sum()}"
        )
    log.info("offers: %s assignments, outcome %s within %s days", f"{len(rows):,}", outcome, horizon)
    about = features_when_assigned(tables, rows)
    names = sorted(rows.loc[offered, "offer_id"].unique())
    drawn = were_drawn(rows["propensity"])
    said = {"outcome": outcome, "as_of": as_of.isoformat(), "horizon_days": horizon, "randomised": drawn}
    terms = offer_terms(tables, as_of=as_of, offers=names)
    worth = worth_of(tables, as_of=as_of, outcome=outcome)
    settings = {"outcome": outcome, "horizon_days": horizon, "randomised": drawn, "seed": seed}
    if min(offered.sum(), (~offered).sum()) < LEAST_TO_LEARN:
        return rates_model(
            rows, about, names, said, terms=terms, worth=worth, settings=settings, notes=_notes(drawn, FEW)
        )
    encoder = encoder_for(about)
    customer = np.unique(rows["customer_id"], return_inverse=True)[1]
    sample = sample_of(rows, encoder.design(about), names, customer, drawn=drawn, seed=seed)
    costs = terms["cost"].reindex(names).fillna(0.0).to_numpy(float) / max(worth.money, 1e-12)
    choice = choose_learner(sample.winsorised(), customer, costs=costs, seed=seed)
    log.info("offers: %s, slope %.2f, gain of choosing %.4f", choice.learner, choice.slope, choice.gain)
    moments = rows["assigned_at"].to_numpy()
    table = judge(sample, customer, moments, costs=costs, unit=_unit(outcome), seed=seed)
    model = _model(sample, choice, names, encoder_for(terms[list(TERMS)]), terms, said | {"learner": choice.learner})
    model = OfferModel(encoder=encoder, worth=worth, **model)
    diagnostics = overlap(Log(sample.arm, sample.taken, sample.outcome, customer, np.zeros(len(names) + 1)))
    metrics = {
        "assignments": float(len(rows)),
        "personal_gain": choice.gain,
        "personal_gain_se": choice.gain_se,
        "slope": choice.slope,
        "adjusted_difference": float(table["value"].iloc[-1]),
        **{f"overlap_{name}": value for name, value in diagnostics.items()},
    }
    notes = _notes(drawn, "" if choice.personal else NO_DIFFERENCE.format(shown=_shown(choice)), diagnostics)
    return Trained(model, settings, metrics, table, notes=notes)


def sample_of(
    rows: pd.DataFrame, design: NDArray[np.float64], names: list[str], customer: Ints, *, drawn: bool, seed: int
) -> Sample:
    """The rows as learners take them; ``names``: the offers, of which k is the k-th from 1."""
    place = {NO_OFFER: 0} | {name: k for k, name in enumerate(names, 1)}
    arm = rows["offer_id"].map(place).to_numpy(np.int64)
    outcome = rows["outcome"].to_numpy(float)
    fold = folds_of(customer, seed=seed, count=5)
    counts = np.bincount(arm, minlength=len(names) + 1)
    own = tuple(int(k) for k in range(1, len(names) + 1) if counts[k] >= LEAST_ROWS_OF_ITS_OWN)
    binary = bool(np.isin(outcome, (0.0, 1.0)).all())
    taken = taken_probability(rows, arm, design, fold, drawn=drawn)
    return Sample(design, arm, taken, outcome, logistic=binary, own=own)


def _model(
    sample: Sample, choice: Choice, names: list[str], terms_encoder: Any, terms: pd.DataFrame, said: dict[str, Any]
) -> dict[str, Any]:
    """The fields of an ``OfferModel`` that come from learning."""
    clipped = replace(sample.winsorised(), prior=choice.prior)
    raw = learners(clipped)[choice.learner](clipped)
    centres = raw.predict(sample.design, (0, *sample.own)).mean(axis=0)
    labels = {0: ANY_OFFER} | {k: names[k - 1] for k in sample.own}
    effects = {
        labels[k]: Effect(raw.parts[k] if k in raw.parts else raw.parts[0], float(centre))
        for k, centre in zip((0, *sample.own), centres, strict=True)
    }
    pooled = pooled_levels(choice.estimates, choice.errors, terms_encoder.design(terms[list(TERMS)].reindex(names)))
    none = sample.arm == 0
    return {
        "responses": raw.responses,
        "without": fit_linear(
            sample.design[none], sample.outcome[none], sample.weights[none], sample.logistic, prior=choice.prior
        ),
        "effects": effects,
        "levels": dict(zip(names, pooled.levels, strict=True)),
        "slope": choice.slope,
        "terms": terms_encoder,
        "new_level": pooled.new_level,
        "new_se": pooled.new_se,
        "costs": terms["cost"].fillna(0.0).astype(float).to_dict(),
        "about": said | {"personal": choice.personal, "gain": choice.gain, "gain_se": choice.gain_se},
    }


def _shown(choice: Choice) -> str:
    if choice.gain_se == 0:
        return "the learner that did best chose the same for all"
    return f"the learner that did best gained {choice.gain:.3g}, standard error {choice.gain_se:.2g}"


def _unit(outcome: str) -> str:
    return "money per customer" if outcome == "revenue" else f"share {outcome}"


def _notes(drawn: bool, more: str, diagnostics: dict[str, float] | None = None) -> tuple[str, ...]:
    told = [] if drawn else [OBSERVATIONAL]
    if not drawn and diagnostics:
        told.append(
            f"Overlap: {diagnostics['share_below_0.05']:.0%} of assignments had a probability below 5 %, and the weights "
            f"leave {diagnostics['effective_share']:.0%} of the rows effective."
        )
    return (*told, more) if more else tuple(told)
