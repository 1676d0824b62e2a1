"""Learns what offers change, from who was made one and who was not.

Steps: rows and what was known when each was assigned, a propensity (known, or estimated and then marked observational),
weighted linear responses with and without an offer, and an honest estimate on rows that none of it saw.
"""

import logging
from datetime import datetime

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegressionCV, RidgeCV

from features.assignments import assigned_rows, features_when_assigned, recorded_outcome
from regulars.as_of import Tables, known_tables
from regulars.errors import MissingData
from regulars.models.offers import ANY_OFFER, NO_OFFER, Encoder, OfferModel, Response, squeezed
from training.metrics import bootstrap_interval
from training.results import COLUMNS, Trained

log = logging.getLogger(__name__)

HORIZON_DAYS = 28
LEAST_ROWS = 50
LEAST_ROWS_OF_ITS_OWN = 1_000
SHRINKAGE_ROWS = 500
MOST_CATEGORIES = 20
WEIGHT_LIMIT = 10.0
WINSOR = 0.99
OBSERVATIONAL = (
    "Who was made an offer was not drawn at random: these are differences after adjustment for what was known, "
    "not proof that the offer caused them."
)


def train_offers(
    tables: Tables,
    *,
    as_of: datetime,
    outcome: str | None = None,
    horizon_days: int | None = None,
    seed: int = 0,
) -> Trained:
    """The fitted model and, on rows held out from it, the adjusted difference that offers made.

    Raises:
        MissingData: where fewer than 50 customers were made an offer, or fewer than 50 were not.
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
    randomised = bool(rows["propensity"].notna().all())
    test, split = _held_out(rows, seed=seed)
    table = _judge(rows, about, test=test, split=split, randomised=randomised, outcome=outcome, seed=seed)
    model = _fit(rows, about, tables, as_of=as_of, outcome=outcome, horizon=horizon, randomised=randomised)
    settings = {"outcome": outcome, "horizon_days": horizon, "randomised": randomised, "seed": seed}
    metrics = {"adjusted_difference": float(table["value"].iloc[-1]), "assignments": float(len(rows))}
    return Trained(model, settings, metrics, table, notes=() if randomised else (OBSERVATIONAL,))


def encoder_for(about: pd.DataFrame) -> Encoder:
    """An encoder of the columns of ``about``: numbers with their median, mean and deviation, texts with their values."""
    numbers, categories = {}, {}
    for name in sorted(about.columns):
        values = about[name]
        if values.dtype == object or isinstance(values.dtype, pd.StringDtype):
            common = values.dropna().astype(str).value_counts().sort_index().sort_values(ascending=False, kind="stable")
            if len(common) > 1:
                categories[str(name)] = tuple(str(value) for value in common.index[:MOST_CATEGORIES])
            continue
        number = values.astype(float)
        if number.notna().any() and number.nunique() > 1:
            fill = float(number.median())
            flat = squeezed(number.fillna(fill).to_numpy())
            numbers[str(name)] = (fill, float(flat.mean()), float(flat.std()) or 1.0)
    return Encoder(numbers=numbers, categories=categories)


def _held_out(rows: pd.DataFrame, *, seed: int) -> tuple[np.ndarray, str]:
    """The rows to judge on: the latest third of moments, or a third of customers where all were assigned at once."""
    moments = np.sort(rows["assigned_at"].unique())
    if len(moments) >= 3:
        first = pd.Timestamp(moments[-max(1, len(moments) // 3)])
        late = (rows["assigned_at"] >= first).to_numpy()
        with_offer = rows["offer_id"] != NO_OFFER
        if min((late & with_offer).sum(), (late & ~with_offer).sum(), (~late & with_offer).sum()) >= LEAST_ROWS:
            return late, f"assigned from {first:%Y-%m-%d}, learnt on earlier ones"
    customers = np.sort(rows["customer_id"].unique())
    chosen = np.random.default_rng(seed).random(len(customers)) < 1 / 3
    return rows["customer_id"].isin(customers[chosen]).to_numpy(), "a random third of the customers"


def _judge(
    rows: pd.DataFrame,
    about: pd.DataFrame,
    *,
    test: np.ndarray,
    split: str,
    randomised: bool,
    outcome: str,
    seed: int,
) -> pd.DataFrame:
    """Mean outcome per customer under plain policies and the model's, estimated doubly robustly on the held-out rows.

    Source: Robins, Rotnitzky & Zhao, JASA 1994 (augmented inverse propensity weighting), propensities clipped to [0.1, 0.9].
    """
    y, offered = rows["outcome"].to_numpy(float), (rows["offer_id"] != NO_OFFER).to_numpy()
    encoder = encoder_for(about[~test])
    design = encoder.design(about)
    logistic = outcome != "revenue"
    likely = _propensity(rows, design, fit=~test, randomised=randomised)
    limit = np.quantile(y[~test], WINSOR) if not logistic else 1.0
    y = np.minimum(y, limit) if limit > 0 else y
    weights = _weights(offered, likely)
    with_offer = _respond(design, y, weights, ~test & offered, logistic).predict(design[test])
    without = _respond(design, y, weights, ~test & ~offered, logistic).predict(design[test])
    seen = np.clip(likely[test], 1 / WEIGHT_LIMIT, 1 - 1 / WEIGHT_LIMIT)
    one = with_offer + offered[test] / seen * (y[test] - with_offer)
    none = without + ~offered[test] / (1 - seen) * (y[test] - without)
    uplift = with_offer - without
    best_half = uplift >= np.median(uplift)
    policies = {
        "no one is made an offer": none,
        "everyone is made one": one,
        "the half with the highest expected uplift": np.where(best_half, one, none),
        "the half with the highest expected outcome": np.where(without >= np.median(without), one, none),
        "adjusted difference, offer against none": one - none,
    }
    unit = "money per customer" if outcome == "revenue" else f"share {outcome}"
    lines = [
        (name, unit, float(values.mean()), *bootstrap_interval(values, seed=seed), split)
        for name, values in policies.items()
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _fit(
    rows: pd.DataFrame,
    about: pd.DataFrame,
    tables: Tables,
    *,
    as_of: datetime,
    outcome: str,
    horizon: int,
    randomised: bool,
) -> OfferModel:
    y, offered = rows["outcome"].to_numpy(float), (rows["offer_id"] != NO_OFFER).to_numpy()
    logistic = outcome != "revenue"
    if not logistic:
        y = np.minimum(y, np.quantile(y, WINSOR) or np.inf)
    encoder = encoder_for(about)
    design = encoder.design(about)
    everyone = np.ones(len(rows), bool)
    weights = _weights(offered, _propensity(rows, design, fit=everyone, randomised=randomised))
    treated = {ANY_OFFER: _respond(design, y, weights, offered, logistic)}
    shifts = {}
    for offer in sorted(rows.loc[offered, "offer_id"].unique()):
        own = (rows["offer_id"] == offer).to_numpy()
        if own.sum() >= LEAST_ROWS_OF_ITS_OWN and (not logistic or 0 < y[own].mean() < 1):
            treated[offer] = _respond(design, y, weights, own, logistic)
        else:
            residual = y[own] - treated[ANY_OFFER].predict(design[own])
            shifts[offer] = float(residual.mean() * own.sum() / (own.sum() + SHRINKAGE_ROWS))
    return OfferModel(
        encoder=encoder,
        control=_respond(design, y, weights, ~offered, logistic),
        treated=treated,
        shifts=shifts,
        costs=_costs(tables, as_of=as_of),
        outcome=outcome,
        value_of_outcome=_worth(tables, as_of=as_of, outcome=outcome),
        randomised=randomised,
        as_of=as_of.isoformat(),
        horizon_days=horizon,
    )


def _propensity(rows: pd.DataFrame, design: np.ndarray, *, fit: np.ndarray, randomised: bool) -> np.ndarray:
    """Probability (n_rows,) of having been made any offer: as drawn where that is known, else estimated."""
    offered = (rows["offer_id"] != NO_OFFER).to_numpy()
    if randomised:
        return np.full(len(rows), offered[fit].mean())
    return _respond(design, offered.astype(float), np.ones(len(rows)), fit, logistic=True).predict(design)


def _weights(offered: np.ndarray, likely: np.ndarray) -> np.ndarray:
    """Stabilised inverse-propensity weights, at most 10 (Robins, Hernán & Brumback, Epidemiology 2000)."""
    share = offered.mean()
    raw = np.where(offered, share / np.clip(likely, 1e-6, 1), (1 - share) / np.clip(1 - likely, 1e-6, 1))
    return np.minimum(raw, WEIGHT_LIMIT)


def _respond(design: np.ndarray, y: np.ndarray, weights: np.ndarray, chosen: np.ndarray, logistic: bool) -> Response:
    """A linear response on the rows ``chosen``, its penalty found by cross-validation; constant where it has to be."""
    x, target, weight = design[chosen], y[chosen], weights[chosen]
    folds = int(np.bincount(target.astype(int), minlength=2).min()) if logistic else len(target)
    if folds < 2 or x.shape[1] == 0:
        return _constant(x.shape[1], float(np.average(target, weights=weight)) if len(target) else 0.0, logistic)
    if not logistic:
        fitted = RidgeCV(alphas=np.logspace(0, 5, 11)).fit(x, target, sample_weight=weight)
        return Response(tuple(map(float, fitted.coef_)), float(fitted.intercept_), logistic)
    grid = LogisticRegressionCV(
        Cs=np.logspace(-4, 0, 5),
        cv=min(folds, 5),
        scoring="neg_log_loss",
        max_iter=500,
        l1_ratios=(0.0,),
        use_legacy_attributes=False,
    )
    fitted = grid.fit(x, target.astype(int), sample_weight=weight)
    return Response(tuple(map(float, fitted.coef_[0])), float(fitted.intercept_[0]), logistic)


def _constant(columns: int, mean: float, logistic: bool) -> Response:
    inside = min(max(mean, 1e-6), 1 - 1e-6)
    return Response((0.0,) * columns, float(np.log(inside / (1 - inside))) if logistic else mean, logistic)


def _worth(tables: Tables, *, as_of: datetime, outcome: str) -> float:
    """Money that one unit of the outcome is worth: what it brought on average, 1 where that was never recorded."""
    if outcome == "revenue":
        return 1.0
    known = known_tables(tables, as_of=as_of)
    if outcome == "retained":
        orders = known["orders"]
        paid = orders.group_by("order_id").agg(
            money=(orders.quantity * orders.unit_price * 10_000).round().cast("int64").sum()
        )
        return float(paid.money.sum().execute()) / 10_000 / max(1, int(paid.count().execute()))
    outcomes = known["outcomes"].filter(known["outcomes"].kind == outcome)
    worth = outcomes.revenue.mean().execute()
    return float(worth) if pd.notna(worth) and worth else 1.0


def _costs(tables: Tables, *, as_of: datetime) -> dict[str, float]:
    """Offer -> cost of making it once, 0 where it is not known."""
    if "offers" not in tables:
        return {}
    offers = known_tables({"offers": tables["offers"]}, as_of=as_of)["offers"].execute().sort_values("offer_id")
    return dict(zip(offers["offer_id"], offers["cost"].fillna(0.0).astype(float), strict=True))
