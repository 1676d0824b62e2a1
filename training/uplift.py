"""Meta-learners of uplift: S, T, X and DR, each on regularised linear models and on small LightGBM trees.

All take the same sample and give raw effects per arm as weighted sums of responses. Weights of linear models have a
normal prior, the same for all learners, whose width is the one that predicts the outcome of other rows best; so what is
drawn towards zero does not depend on the number of rows. Trees have four leaves.

Sources: S, T, X: Künzel et al., PNAS 2019; DR: Kennedy, Electronic Journal of Statistics 2023.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from regulars.models.responses import Linear, Response, Trees

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Parts = tuple[tuple[float, int], ...]

PRIORS = (0.03, 0.1, 0.3, 1.0)
CLIP = 1e-6
ROUNDS = 80
LEAST_FOR_TREES = 2_000
MOST_COLUMNS = 400
WEIGHT_LIMIT = 10.0
WINSOR = 0.99
TREES = {
    "num_leaves": 4,
    "learning_rate": 0.03,
    "min_data_in_leaf": 100,
    "lambda_l2": 50.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.7,
    "bagging_freq": 1,
    "max_bin": 63,
    "verbose": -1,
    "num_threads": 1,
    "deterministic": True,
}


@dataclass(frozen=True)
class Sample:
    """Rows to learn from, one per assignment.

    ``design`` (n_rows, n_columns); ``arm`` (n_rows,): 0 for no offer, k for offer k; ``taken`` (n_rows,): the probability
    with which that arm was taken; ``outcome`` (n_rows,). ``own``: offers with enough rows for an effect of their own.
    ``prior``: what a deviation of a column may move, in deviations of the outcome (of the logit, for a probability).
    """

    design: Floats
    arm: Ints
    taken: Floats
    outcome: Floats
    logistic: bool
    own: tuple[int, ...]
    prior: float = 0.1

    def rows(self, chosen: NDArray[np.bool_] | Ints) -> "Sample":
        """The sample of the rows ``chosen``."""
        return replace(
            self,
            design=self.design[chosen],
            arm=self.arm[chosen],
            taken=self.taken[chosen],
            outcome=self.outcome[chosen],
        )

    def winsorised(self) -> "Sample":
        """Amounts above their 99 % quantile taken down to it, where that is above zero; probabilities as they are."""
        limit = 0.0 if self.logistic else float(np.quantile(self.outcome, WINSOR))
        return replace(self, outcome=np.minimum(self.outcome, limit)) if limit > 0 else self

    @property
    def weights(self) -> Floats:
        """Stabilised inverse-propensity weights, at most 10 (Robins, Hernán & Brumback, Epidemiology 2000)."""
        counts = np.bincount(self.arm)
        share = counts[self.arm] / len(self.arm)
        return np.minimum(share / np.clip(self.taken, CLIP, 1), WEIGHT_LIMIT)


@dataclass(frozen=True)
class RawEffects:
    """``parts``: offer -> (weight, place in ``responses``); 0 stands for any offer."""

    responses: tuple[Response, ...]
    parts: dict[int, Parts]

    def predict(self, design: Floats, offers: Sequence[int]) -> Floats:
        """Raw effects (n_rows, n_offers) of ``offers``; one without parts of its own takes those of any offer."""
        told: dict[int, Floats] = {}
        columns = [np.zeros((len(design), 0))]
        for offer in offers:
            raw = np.zeros(len(design))
            for weight, place in self.parts.get(offer, self.parts[0]):
                if place not in told:
                    told[place] = self.responses[place].predict(design)
                raw += weight * told[place]
            columns.append(raw[:, None])
        return np.hstack(columns)


Fit = Callable[..., Response]
Learner = Callable[[Sample], RawEffects]


def learners(sample: Sample) -> dict[str, Learner]:
    """The learners that ``sample`` is large enough for, by name."""
    found: dict[str, Learner] = {}
    for base, fit in (("linear", fit_linear), ("trees", fit_trees)):
        if base == "trees" and len(sample.outcome) < LEAST_FOR_TREES:
            continue
        found[f"T {base}"] = lambda s, fit=fit: t_learner(s, fit)
        found[f"X {base}"] = lambda s, fit=fit: x_learner(s, fit)
        found[f"DR {base}"] = lambda s, fit=fit: dr_learner(s, fit)
        found[f"S {base}"] = s_linear if base == "linear" else s_trees
    return found


def outcome_models(sample: Sample) -> dict[int, Response]:
    """Linear responses by arm: -1 without an offer, 0 with any, k with offer k of ``sample.own``."""
    x, y, w, z = sample.design, sample.outcome, sample.weights, sample.logistic
    masks = {-1: sample.arm == 0, 0: sample.arm > 0, **{k: sample.arm == k for k in sample.own}}
    return {arm: fit_linear(x[mask], y[mask], w[mask], z, prior=sample.prior) for arm, mask in masks.items()}


def predicted_outcomes(models: dict[int, Response], design: Floats, offers: int) -> Floats:
    """Expected outcomes (n_rows, 1 + offers): without an offer, then with each."""
    told = {arm: model.predict(design) for arm, model in models.items()}
    return np.column_stack([told[-1], *(told.get(k, told[0]) for k in range(1, offers + 1))])


def with_best_prior(sample: Sample, fold: Ints) -> Sample:
    """The sample with the prior of ``PRIORS`` whose outcome models predict the other folds' rows best."""
    losses = [_loss(replace(sample, prior=prior), fold) for prior in PRIORS]
    return replace(sample, prior=PRIORS[int(np.argmin(losses))])


def _loss(sample: Sample, fold: Ints) -> float:
    """The weighted squared error of outcomes predicted from other folds by models of no offer and any offer."""
    two = replace(sample, arm=np.minimum(sample.arm, 1), own=())
    lost = 0.0
    for g in np.unique(fold):
        asked = two.rows(fold == g)
        expected = predicted_outcomes(outcome_models(two.rows(fold != g)), asked.design, 1)
        lost += float((asked.weights * (asked.outcome - expected[np.arange(len(asked.arm)), asked.arm]) ** 2).sum())
    return lost


def t_learner(sample: Sample, fit: Fit) -> RawEffects:
    """A response for each arm; an effect is the difference to the one without an offer."""
    x, y, w, z = sample.design, sample.outcome, sample.weights, sample.logistic
    masks = [sample.arm == 0, sample.arm > 0, *(sample.arm == k for k in sample.own)]
    responses = tuple(fit(x[mask], y[mask], w[mask], z, prior=sample.prior) for mask in masks)
    places = dict(zip((0, *sample.own), range(1, len(masks)), strict=True))
    return RawEffects(responses, {k: ((1.0, place), (-1.0, 0)) for k, place in places.items()})


def s_linear(sample: Sample) -> RawEffects:
    """One linear response with columns for any offer and each own one, alone and times the design."""
    own = sample.own if sample.design.shape[1] * (2 + len(sample.own)) <= MOST_COLUMNS else ()
    fitted = fit_linear(_joint(sample, own), sample.outcome, sample.weights, sample.logistic, prior=sample.prior)
    columns = sample.design.shape[1]
    weights = np.asarray(fitted.weights)
    main, rest = weights[:columns], weights[columns:]
    level, tilt = rest[: 1 + len(own)] * MAIN, rest[1 + len(own) :].reshape(1 + len(own), columns) * TILT
    responses = [Linear(tuple(main), fitted.intercept, fitted.logistic)]
    parts: dict[int, Parts] = {}
    for place, k in enumerate((0, *own)):
        more, at = (level[0] + (level[place] if k else 0.0), tilt[0] + (tilt[place] if k else 0.0))
        responses.append(Linear(tuple(main + at), float(fitted.intercept + more), fitted.logistic))
        parts[k] = ((1.0, place + 1), (-1.0, 0))
    return RawEffects(tuple(responses), parts)


MAIN, TILT = 10.0, 0.7  # levels of offers are hardly drawn to zero; differences between customers are, by half


def _joint(sample: Sample, own: tuple[int, ...]) -> Floats:
    flags = np.stack([sample.arm > 0, *(sample.arm == k for k in own)], axis=1).astype(float)
    tilted = [flags[:, [place]] * sample.design * TILT for place in range(flags.shape[1])]
    return np.hstack([sample.design, flags * MAIN, *tilted])


def s_trees(sample: Sample) -> RawEffects:
    """One forest with a column for any offer and one for each own offer."""
    flags = np.stack([sample.arm > 0, *(sample.arm == k for k in sample.own)], axis=1).astype(float)
    fitted = fit_trees(np.hstack([sample.design, flags]), sample.outcome, sample.weights, sample.logistic)
    if isinstance(fitted, Linear):
        return RawEffects((_constant(sample.design.shape[1], 0.0, logistic=False),), {0: ((1.0, 0),)})
    responses, parts = [Trees(fitted.text, (0.0,) * flags.shape[1])], {}
    for place, k in enumerate((0, *sample.own)):
        more = [1.0] + [float(k == other) for other in sample.own]
        responses.append(Trees(fitted.text, tuple(more)))
        parts[k] = ((1.0, place + 1), (-1.0, 0))
    return RawEffects(tuple(responses), parts)


def x_learner(sample: Sample, fit: Fit) -> RawEffects:
    """Effects imputed by linear responses of the other arm, learnt in both arms and mixed by their shares."""
    x, y, w = sample.design, sample.outcome, sample.weights
    models = outcome_models(sample)
    none, scale = sample.arm == 0, float(y.var())
    responses: list[Response] = []
    parts: dict[int, Parts] = {}
    for k in (0, *sample.own):
        mine = sample.arm > 0 if k == 0 else sample.arm == k
        share = mine.sum() / (mine.sum() + none.sum())
        there = fit(x[mine], y[mine] - models[-1].predict(x[mine]), w[mine], False, scale=scale, prior=sample.prior)
        here = fit(x[none], models[k].predict(x[none]) - y[none], w[none], False, scale=scale, prior=sample.prior)
        parts[k] = ((float(1 - share), len(responses)), (float(share), len(responses) + 1))
        responses += [there, here]
    return RawEffects(tuple(responses), parts)


def dr_learner(sample: Sample, fit: Fit) -> RawEffects:
    """Doubly robust scores of the difference to no offer, learnt from the design."""
    offers = int(sample.arm.max())
    expected = predicted_outcomes(outcome_models(sample), sample.design, offers)
    scores = doubly_robust(sample, expected)
    even = np.ones(len(sample.outcome))
    responses: list[Response] = []
    parts: dict[int, Parts] = {}
    for k in (0, *sample.own):
        if k:
            effect = scores[:, k] - scores[:, 0]
        else:
            shares = np.bincount(sample.arm, minlength=offers + 1)[1:] / max((sample.arm > 0).sum(), 1)
            effect = scores[:, 1:] @ shares - scores[:, 0]
        responses.append(fit(sample.design, effect, even, False, scale=float(sample.outcome.var()), prior=sample.prior))
        parts[k] = ((1.0, len(responses) - 1),)
    return RawEffects(tuple(responses), parts)


def doubly_robust(sample: Sample, expected: Floats) -> Floats:
    """Scores (n_rows, 1 + offers) whose means are the outcomes if everybody took that arm; weights at most 100.

    Source: Robins, Rotnitzky & Zhao, JASA 1994 (augmented inverse propensity weighting).
    """
    scores = expected.copy()
    rows = np.arange(len(sample.arm))
    residual = sample.outcome - expected[rows, sample.arm]
    scores[rows, sample.arm] += residual / np.clip(sample.taken, 0.01, 1)
    return scores


def fit_linear(
    x: Floats, y: Floats, w: Floats, logistic: bool, *, scale: float | None = None, prior: float = 0.1
) -> Linear:
    """A linear response with the prior of this module; constant where there is nothing to learn from.

    ``scale``: the variance of the outcome that ``prior`` is in deviations of (default: that of ``y``).
    """
    mean = float(np.average(y, weights=w)) if len(y) else 0.0
    if x.shape[1] == 0 or len(y) < 2 or y.min() == y.max():
        return _constant(x.shape[1], mean, logistic=logistic)
    if logistic:
        fitted = LogisticRegression(C=prior**2, max_iter=200, tol=1e-3).fit(x, y > 0.5, sample_weight=w)
        return Linear(tuple(map(float, fitted.coef_[0])), float(fitted.intercept_[0]), True)
    middle = np.average(x, axis=0, weights=w)
    spread = float(np.average((y - mean) ** 2, weights=w)) or 1.0
    centred = x - middle
    penalty = spread / (prior**2 * (scale or spread))
    gram = centred.T @ (centred * w[:, None]) + np.eye(x.shape[1]) * penalty
    weights = np.linalg.solve(gram, centred.T @ (w * (y - mean)))
    return Linear(tuple(map(float, weights)), mean - float(middle @ weights), False)


def fit_trees(
    x: Floats, y: Floats, w: Floats, logistic: bool, *, scale: float | None = None, prior: float = 0.1
) -> Response:
    """Small trees; a constant where there is nothing to learn from. ``scale`` and ``prior`` are for linear ones."""
    if x.shape[1] == 0 or len(y) < 4 * int(TREES["min_data_in_leaf"]) or y.min() == y.max():
        return _constant(x.shape[1], float(np.average(y, weights=w)) if len(y) else 0.0, logistic=logistic)
    objective = {"objective": "binary" if logistic else "regression", "seed": 0}
    booster = lgb.train(TREES | objective, lgb.Dataset(x, y, weight=w), ROUNDS)
    return Trees(booster.model_to_string())


def _constant(columns: int, mean: float, *, logistic: bool) -> Linear:
    inside = min(max(mean, CLIP), 1 - CLIP)
    return Linear((0.0,) * columns, float(np.log(inside / (1 - inside))) if logistic else mean, logistic)
