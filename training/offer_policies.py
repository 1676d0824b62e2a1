"""The whole procedure (choose a learner, fit it, decide) beside plain policies, on customers it did not see."""

from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from training.choosing import best_actions, choose_learner, folds_of
from training.off_policy import Log, customer_draws, evaluate, ratio_interval
from training.results import COLUMNS
from training.uplift import Sample, doubly_robust, learners, outcome_models, predicted_outcomes

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_ROWS = 100
OBSERVATIONAL = (
    "Who was made an offer was not drawn at random: these are differences after adjustment for what was known, "
    "not proof that the offer caused them."
)
NOBODY = "nobody is made an offer"
EVERYBODY = "everybody is made the best single offer"
OURS = "the offer worth most, where one is worth its cost"
PERSONAL = "each customer's own best offer, proven or not"
GAIN = "own best offers, less the best single one"
SIZE = "effective sample size"
RISKIEST = "riskiest first, as many offers"
RANDOM = "as many offers at random"
SENT = "what was made"
OVER_SENT = "the offer worth most, less what was made"


def judge(sample: Sample, customer: Ints, moments: NDArray[np.datetime64], *, costs: Floats, unit: str,
          seed: int) -> pd.DataFrame:  # fmt: skip
    """Net value per assignment of each policy with its interval, columns as in ``Trained.table``.

    Beside them: what choosing for each customer gains over the best single offer, what ours gains over what was made, and
    Kish's effective sample size (a policy that did what was seldom done is judged on few rows). Judged on the latest third
    of moments, learnt on the earlier ones; where all were assigned at once, each half of the customers by what was learnt
    on the other. Doubly robust, propensities clipped at 0.01. Costs are in units of the outcome.
    """
    parts, split = _splits(sample, customer, moments, seed=seed)
    tested, scores, policies, levels = [], [], [], []
    for learn, test in parts:
        known = sample.rows(learn).winsorised()
        choice = choose_learner(known, customer[learn], costs=costs, seed=seed, again=0)
        known = replace(known, prior=choice.prior)
        raw = learners(known)[choice.learner](known)
        offers = range(1, len(costs) + 1)
        centre = raw.predict(known.design, offers).mean(axis=0)
        uplift = choice.estimates + choice.slope * (raw.predict(sample.design[test], offers) - centre)
        expected = predicted_outcomes(outcome_models(known), sample.design[test], len(costs))
        asked = sample.rows(test)
        policies.append(_actions(uplift, choice.estimates, expected[:, 0], costs, personal=choice.personal, seed=seed))
        scores.append(doubly_robust(asked, expected) - np.append(0.0, costs))
        levels.append(expected)
        tested.append(np.flatnonzero(test))
    rows = np.concatenate(tested)
    log = Log(sample.arm[rows], sample.taken[rows], sample.outcome[rows], customer[rows], np.append(0.0, costs),
              np.vstack(levels))  # fmt: skip
    lines: list[tuple[str, str, float, float, float, str]] = []
    drawn, even = customer_draws(customer[rows], seed=seed), np.ones(len(rows))
    done = sample.outcome[rows] - log.net_of[log.action]
    brought = {SENT: done}
    for name in policies[0]:
        chosen = np.concatenate([part[name] for part in policies])
        found = evaluate(log, np.eye(len(costs) + 1)[chosen], seed=seed).set_index("estimator")
        brought[name] = log.scores()[np.arange(len(rows)), chosen]
        lines.append((name, unit, *found.loc["dr"], split))
        if name in (EVERYBODY, PERSONAL):
            lines.append((name, SIZE, float(found.loc["effective_sample_size", "value"]), np.nan, np.nan, split))
    lines.append((SENT, unit, float(done.mean()), *ratio_interval(done, even, drawn), split))
    for label, better, worse in ((GAIN, PERSONAL, EVERYBODY), (OVER_SENT, OURS, SENT)):
        each = brought[better] - brought[worse]
        lines.append((label, unit, float(each.mean()), *ratio_interval(each, even, drawn), split))
    one = np.vstack(scores)
    share = np.bincount(sample.arm, minlength=len(costs) + 1)[1:] / max((sample.arm > 0).sum(), 1)
    difference = (one[:, 1:] + costs) @ share - one[:, 0]
    lines.append(
        ("adjusted difference, offer against none", unit, float(difference.mean()),
         *ratio_interval(difference, even, drawn), split)
    )  # fmt: skip
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _actions(
    uplift: Floats, levels: Floats, without: Floats, costs: Floats, *, personal: bool, seed: int
) -> dict[str, Ints]:
    """Policy -> the action (n_rows,) it takes: 0 for none, k for offer k."""
    count = len(uplift)
    ours = best_actions(uplift if personal else np.broadcast_to(levels, uplift.shape), costs)
    best = int((levels - costs).argmax()) + 1
    single = best if levels[best - 1] > costs[best - 1] else 0
    budget = int((ours > 0).sum())
    rng = np.random.default_rng(seed)
    riskiest = np.argsort(without, kind="stable")[:budget]
    drawn = rng.permutation(count)[:budget]
    return {
        NOBODY: np.zeros(count, int),
        EVERYBODY: np.full(count, single),
        RISKIEST: _made(count, riskiest, best),
        RANDOM: _made(count, drawn, best),
        PERSONAL: best_actions(uplift, costs),
        OURS: ours,
    }


def _made(count: int, chosen: Ints, offer: int) -> Ints:
    actions = np.zeros(count, int)
    actions[chosen] = offer
    return actions


def _splits(
    sample: Sample, customer: Ints, moments: NDArray[np.datetime64], *, seed: int
) -> tuple[list[tuple[NDArray[np.bool_], NDArray[np.bool_]]], str]:
    distinct = np.unique(moments)
    if len(distinct) >= 3:
        first = distinct[-max(1, len(distinct) // 3)]
        late = moments >= first
        offered = sample.arm > 0
        if (
            min((late & offered).sum(), (late & ~offered).sum(), (~late & offered).sum(), (~late & ~offered).sum())
            >= LEAST_ROWS
        ):
            return [(~late, late)], f"assigned from {pd.Timestamp(first):%Y-%m-%d}, learnt on earlier ones"
    fold = folds_of(customer, seed=seed, count=2)
    return [(fold == 0, fold == 1), (fold == 1, fold == 0)], "each half of the customers, learnt on the other"
