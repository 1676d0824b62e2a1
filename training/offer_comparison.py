"""Versions of the offer model and plain policies on one log that none of them learnt from, paired with the champion.

The log: assignments made in [FROM, TO - horizon], with what was known just before each. A version's policy is its own:
the offer worth most, where one is worth its cost. Values are doubly robust, expected outcomes cross-fitted on the log.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from features.assignments import assigned_rows, features_when_assigned
from regulars.as_of import Tables
from regulars.errors import DataError, MissingData
from regulars.models.offers import NO_OFFER, OfferModel
from regulars.models.responses import encoder_for
from training.choosing import best_actions, cross_fitted_outcomes, folds_of
from training.comparison import COLUMNS, Compared
from training.off_policy import Log, customer_draws, evaluate, ratio_interval
from training.offer_policies import EVERYBODY, NOBODY, RANDOM, RISKIEST
from training.offer_worth import offer_terms
from training.offers import sample_of
from training.propensities import were_drawn
from training.uplift_curves import Curve, uplift_curve

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_ROWS = 50


def compare_offers(
    tables: Tables,
    models: Mapping[str, OfferModel],
    *,
    champion: str | None,
    start: datetime,
    end: datetime,
    seed: int = 0,
) -> Compared:
    """Every model of ``models`` (label -> model) beside nobody, everybody, the riskiest first and random, as many offers.

    Metrics: value (doubly robust, per assignment, net of costs, in units of the outcome), ips, snips,
    effective_sample_size, offers_made (share), qini (area, of the offer it thinks best against none).

    Raises:
        DataError: where no model can be judged on [start, end).
        MissingData: where too little was assigned in it.
    """
    refused = {label: f"its training saw data up to {model.about['as_of']}, which lies in the holdout"
               for label, model in models.items() if datetime.fromisoformat(str(model.about["as_of"])) > start}  # fmt: skip
    judge = models.get(champion or "") or next(iter(models.values()))
    refused |= {label: f"it is of {model.outcome} within {model.horizon_days} days, the champion of {judge.outcome} within "
                f"{judge.horizon_days}" for label, model in models.items()
                if label not in refused and (model.outcome, model.horizon_days) != (judge.outcome, judge.horizon_days)}  # fmt: skip
    fitting = {label: model for label, model in models.items() if label not in refused}
    if not fitting:
        told = "; ".join(f"{label}: {why}" for label, why in refused.items())
        raise DataError(f"no version can be judged on {start:%Y-%m-%d}..{end:%Y-%m-%d}: {told}")
    reference = champion if champion in fitting else None
    leader = fitting[reference or next(iter(fitting))]
    rows, about = _log_rows(tables, leader, start=start, end=end)
    names = sorted(set(rows["offer_id"]) - {NO_OFFER})
    terms = offer_terms(tables, as_of=start, offers=names)
    costs = terms["cost"].reindex(names).fillna(0.0).to_numpy(float) / max(leader.worth.money, 1e-12)
    log = _log(rows, about, names, costs, seed=seed)
    uplifts = {label: _uplift(model, about, names, terms) for label, model in fitting.items()}
    actions = _plain(leader, uplifts[reference or next(iter(fitting))][1], about, costs, seed=seed)
    actions |= {label: best_actions(uplift if fitting[label].personal else level, costs)
                for label, (uplift, level) in uplifts.items()}  # fmt: skip
    curves = {label: _curve(log, uplift, costs, seed=seed) for label, (uplift, _) in uplifts.items()}
    table = _table(log, actions, curves, reference, seed=seed)
    shown = {label: _points(curve) for label, curve in curves.items()}
    return Compared("offers", start, end, reference, table, refused, shown)


def offers_holdout(tables: Tables, models: Mapping[str, OfferModel], *, horizon_days: int) -> tuple[datetime, datetime]:
    """From the latest moment that a model of ``models`` knew to the day after the last assignment's horizon.

    Raises:
        MissingData: where nothing was assigned.
    """
    if "assignments" not in tables:
        raise MissingData("offers are compared on assignments; import them first: regulars import assignments FILE")
    start = max(datetime.fromisoformat(str(model.about["as_of"])) for model in models.values())
    last = pd.Timestamp(tables["assignments"].assigned_at.max().execute()).ceil("D").to_pydatetime()
    end = last.replace(tzinfo=start.tzinfo) + timedelta(days=horizon_days + 1)
    return start, max(end, start + timedelta(days=horizon_days + 1))


def _log_rows(
    tables: Tables, model: OfferModel, *, start: datetime, end: datetime
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = assigned_rows(tables, as_of=end, horizon_days=model.horizon_days, outcome=model.outcome)
    first = pd.Timestamp(start).tz_convert("UTC").tz_localize(None)
    rows = rows[rows["assigned_at"] >= first].reset_index(drop=True)
    offered = (rows["offer_id"] != NO_OFFER).sum()
    if min(offered, len(rows) - offered) < LEAST_ROWS:
        raise MissingData(
            f"a comparison needs {LEAST_ROWS} assignments with an offer and {LEAST_ROWS} without, made and their horizon over "
            f"in {start:%Y-%m-%d}..{end:%Y-%m-%d}, got {offered} and {len(rows) - offered}; give another --holdout"
        )
    return rows, features_when_assigned(tables, rows)


def _log(rows: pd.DataFrame, about: pd.DataFrame, names: list[str], costs: Floats, *, seed: int) -> Log:
    customer = np.unique(rows["customer_id"], return_inverse=True)[1]
    design = encoder_for(about).design(about)
    sample = sample_of(rows, design, names, customer, drawn=were_drawn(rows["propensity"]), seed=seed)
    fold = folds_of(customer, seed=seed, count=5)
    expected = cross_fitted_outcomes(replace(sample, own=()), fold, len(names))
    return Log(sample.arm, sample.taken, sample.outcome, customer, np.append(0.0, costs), expected)


def _uplift(model: OfferModel, about: pd.DataFrame, names: list[str], terms: pd.DataFrame) -> tuple[Floats, Floats]:
    uplift, level, _ = model.uplifts(about, offers=names, attributes=terms)
    return uplift, np.broadcast_to(level, uplift.shape)


def _plain(leader: OfferModel, level: Floats, about: pd.DataFrame, costs: Floats, *, seed: int) -> dict[str, Ints]:
    """Plain policies with the leader's best single offer, to as many as the leader's own policy makes one."""
    count = len(about)
    best = int((level[0] - costs).argmax()) + 1
    worth = level[0][best - 1] > costs[best - 1]
    half = count // 2
    riskiest = np.zeros(count, int)
    riskiest[np.argsort(leader.expected_without(about), kind="stable")[:half]] = best
    drawn = np.zeros(count, int)
    drawn[np.random.default_rng(seed).permutation(count)[:half]] = best
    return {
        NOBODY: np.zeros(count, int),
        EVERYBODY: np.full(count, best if worth else 0),
        RISKIEST.partition(",")[0] + ", half of all": riskiest,
        RANDOM.removeprefix("as many offers ") + ", half of all": drawn,
    }


def _curve(log: Log, uplift: Floats, costs: Floats, *, seed: int) -> Curve:
    scores = log.scores() + log.net_of
    best = (uplift - costs).argmax(axis=1)
    rows = np.arange(len(best))
    return uplift_curve(scores[rows, best + 1] - scores[:, 0], uplift[rows, best], log.customer, seed=seed)


def _points(curve: Curve) -> dict[str, Any]:
    return {"uplift": [{"share": float(s), "gain": float(g)} for s, g in zip(curve.share, curve.gain, strict=True)]}


def _table(
    log: Log, actions: Mapping[str, Ints], curves: Mapping[str, Curve], champion: str | None, *, seed: int
) -> pd.DataFrame:
    scores, rows = log.scores(), np.arange(len(log.action))
    drawn = customer_draws(log.customer, seed=seed)
    even = np.ones(len(rows))
    lines: list[tuple[Any, ...]] = []
    nothing = (np.nan, np.nan, np.nan)
    for label, chosen in actions.items():
        found = evaluate(log, np.eye(scores.shape[1])[chosen], seed=seed).set_index("estimator")
        apart: tuple[float, ...] = nothing
        if champion is not None:
            each = scores[rows, chosen] - scores[rows, actions[champion]]
            apart = (float(each.mean()), *ratio_interval(each, even, drawn))
        lines.append(("all", label, "value", *found.loc["dr"], *apart))
        lines += [
            ("all", label, name, *found.loc[name], *nothing) for name in ("ips", "snips", "effective_sample_size")
        ]
        lines.append(("all", label, "offers_made", float((chosen > 0).mean()), np.nan, np.nan, *nothing))
        if label in curves:
            curve = curves[label]
            lines.append(("all", label, "qini", curve.area, curve.low, curve.high, *nothing))
    return pd.DataFrame(lines, columns=list(COLUMNS))
