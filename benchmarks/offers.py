"""Offers of known true effect: how often intervals hold the truth, and what decisions bring under a budget.

    python -m benchmarks.offers [--seeds 100] [--customers 3000] [--speed]

For each set of ``features.sources.simulated_offers``, each seed makes a trial. Coverage (of 95 % intervals): average
uplift of each offer; value of a fixed policy by IPS, SNIPS and DR. Net value (a tenth of the seeds, trials of 8,000): a
model learnt on the trial decides for as many other customers under a budget that would make a quarter of them the dearest
offer, beside the riskiest first (those least expected to order, the best single offer) for the same money; what each brings
is the truth, not an estimate.
``--speed``: 100,000 customers among ten offers under a budget (one decision of the service: ``benchmarks.decisions``).
"""

import argparse
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.measure import keep
from benchmarks.offer_speed import speed
from features.sources.simulated_offers import SETS, offer_parameters, offer_trial, simulated_customers
from regulars.allocation import allocate
from regulars.models.responses import encoder_for
from training.choosing import choose_learner, cross_fitted_outcomes, folds_of
from training.off_policy import Log, evaluate
from training.uplift import Sample, learners, outcome_models

AT = pd.Timestamp("2024-03-01")
KNOWN = ("gap_days", "overdue_days", "trait")
BUDGET_SHARE = 0.25
NET_CUSTOMERS = 8_000


def main() -> None:
    """Measure and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--customers", type=int, default=3_000)
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    if asked.speed:
        rows = speed()
        keep("offer_speed", command="python -m benchmarks.offers --speed", rows=rows)
    else:
        rows = [measured(name, seeds=asked.seeds, customers=asked.customers) for name in SETS]
        keep(
            "offers",
            command=f"python -m benchmarks.offers --seeds {asked.seeds} --customers {asked.customers}",
            rows=rows,
        )
    for row in rows:
        print("; ".join(f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
                        for name, value in row.items()))  # fmt: skip


def measured(name: str, *, seeds: int, customers: int) -> dict[str, Any]:
    """The share of intervals that held the truth, and net values by policy, over all seeds of one set."""
    held: dict[str, list[bool]] = {}
    brought: dict[str, list[float]] = {}
    for seed in range(seeds):
        for label, inside in coverage(name, customers=customers, seed=seed).items():
            held.setdefault(label, []).append(inside)
        if seed < max(1, seeds // 10):
            for label, value in net_values(name, customers=NET_CUSTOMERS, seed=seed).items():
                brought.setdefault(label, []).append(value)
    means = {f"net_value_{label}": float(np.mean(values)) for label, values in brought.items()}
    ratio = means["net_value_ours"] / means["net_value_riskiest"]
    return {
        "set": name,
        "seeds": seeds,
        "customers": customers,
        **{f"coverage_{label}": float(np.mean(inside)) for label, inside in held.items()},
        **means,
        "ours_over_riskiest": ratio,
    }


def coverage(name: str, *, customers: int, seed: int) -> dict[str, bool]:
    """Estimator -> whether its 95 % interval holds the truth of this seed's customers."""
    sample, truth, names, uplift = _trial(name, customers=customers, seed=seed)
    fold = folds_of(np.arange(customers), seed=seed, count=5)
    expected = cross_fitted_outcomes(sample, fold, len(names))
    costs = _costs(names)
    log = Log(sample.arm, sample.taken, sample.outcome, np.arange(customers), np.append(0.0, costs), expected)
    scores = log.scores() + log.net_of
    found: dict[str, bool] = {}
    for k, offer in enumerate(names, 1):
        effect = scores[:, k] - scores[:, 0]
        error = 1.96 * effect.std() / len(effect) ** 0.5
        found[f"uplift_{offer}"] = bool(abs(effect.mean() - uplift[:, k - 1].mean()) <= error)
    policy = np.eye(len(names) + 1)[np.where(sample.design[:, 0] > 0, 1, 2)]
    arms = np.column_stack([np.zeros(customers), uplift]) + truth["without"].to_numpy()[:, None] - log.net_of
    value = float((policy * arms).sum(axis=1).mean())
    judged = evaluate(log, policy, seed=seed, draws=300).set_index("estimator")
    for estimator in ("ips", "snips", "dr"):
        found[f"policy_{estimator}"] = bool(judged.loc[estimator, "low"] <= value <= judged.loc[estimator, "high"])
    return found


def net_values(name: str, *, customers: int, seed: int) -> dict[str, float]:
    """Policy -> money it truly brings per customer, less costs, to other customers under the same budget."""
    sample, _, names, _ = _trial(name, customers=customers, seed=seed)
    revenue = float(offer_parameters()["revenue_per_conversion"])
    costs = _costs(names) * revenue
    choice = choose_learner(sample, np.arange(customers), costs=costs / revenue, seed=seed, again=0)
    raw = learners(sample)[choice.learner](sample)
    other, _, _, truth = _trial(name, customers=customers, seed=seed + 10_000)
    offers = range(1, len(names) + 1)
    centre = raw.predict(sample.design, offers).mean(axis=0)
    design = encoder_for(_about(customers, seed)).design(_about(customers, seed + 10_000))
    uplift = choice.estimates + choice.slope * (raw.predict(design, offers) - centre)
    budget = BUDGET_SHARE * customers * float(costs.max())
    worth = uplift if choice.personal else np.broadcast_to(choice.estimates, uplift.shape)
    values = np.where(uplift < 0, -np.inf, worth * revenue - costs)
    ours = allocate(values, costs, {-1: budget}, order=uplift).chosen
    best = int((choice.estimates * revenue - costs).argmax())
    count = int(budget // costs[best])
    without = outcome_models(sample)[-1].predict(design)
    riskiest = np.full(customers, -1)
    riskiest[np.argsort(without, kind="stable")[:count]] = best
    drawn = np.full(customers, -1)
    drawn[np.random.default_rng(seed).permutation(customers)[:count]] = best
    policies = {"ours": ours, "riskiest": riskiest, "random": drawn}
    rows = np.arange(len(other.arm))
    return {
        label: float(np.where(made >= 0, truth[rows, made] * revenue - costs[made], 0.0).mean())
        for label, made in policies.items()
    }


def _about(customers: int, seed: int) -> pd.DataFrame:
    return simulated_customers(customers, seed=seed)[list(KNOWN)]


def _costs(names: list[str]) -> np.ndarray:
    parameters = offer_parameters()
    return np.array([parameters["offers"][name]["cost"] for name in names]) / parameters["revenue_per_conversion"]


def _trial(name: str, *, customers: int, seed: int) -> tuple[Sample, pd.DataFrame, list[str], np.ndarray]:
    """A trial as learners take it, its truth, the offers' names in order, and their true uplifts."""
    people = simulated_customers(customers, seed=seed)
    trial = offer_trial(people, name=name, at=AT, seed=seed)
    names = list(trial.offers["offer_id"])
    arm = trial.assignments["offer_id"].map({offer: k for k, offer in enumerate(names, 1)}).fillna(0).to_numpy(int)
    ordered = trial.assignments["assignment_id"].isin(trial.outcomes["assignment_id"]).to_numpy(float)
    design = encoder_for(people[list(KNOWN)]).design(people[list(KNOWN)])
    taken = trial.assignments["propensity"].to_numpy(float)
    own = tuple(range(1, len(names) + 1))
    return Sample(design, arm, taken, ordered, True, own), trial.truth, names, trial.truth[names].to_numpy()


if __name__ == "__main__":
    main()
