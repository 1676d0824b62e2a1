"""Every meta-learner finds who gains, on a trial whose effect is known."""

import numpy as np
import pytest

from training.uplift import LEAST_FOR_TREES, Sample, learners


def trial(count: int, seed: int, *, logistic: bool) -> tuple[Sample, np.ndarray]:
    """Two offers against none, drawn with probabilities that depend on the customer; and the true effects of both."""
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(count, 3))
    likely = np.where(design[:, 0] > 0, 0.5, 0.2)
    arm = np.where(rng.random(count) < likely, 1 + rng.integers(2, size=count), 0)
    taken = np.where(arm > 0, likely / 2, 1 - likely)
    effects = np.column_stack([0.15 * (design[:, 1] > 0), 0.15 * (design[:, 1] < 0)])
    mean = 0.3 + 0.1 * (design[:, 0] > 0) + np.where(arm > 0, effects[np.arange(count), np.maximum(arm - 1, 0)], 0)
    outcome = (rng.random(count) < mean).astype(float) if logistic else mean + rng.normal(scale=0.4, size=count)
    return Sample(design, arm, taken, outcome, logistic, (1, 2)), effects


@pytest.mark.parametrize("logistic", [True, False])
def test_every_learner_finds_who_gains_from_which_offer(logistic: bool) -> None:
    sample, effects = trial(6_000, 1, logistic=logistic)
    found = learners(sample)
    assert set(found) == {f"{letter} {kind}" for letter in ("S", "T", "X", "DR") for kind in ("linear", "trees")}
    for name, learn in found.items():
        raw = learn(sample).predict(sample.design, (1, 2))
        assert raw.mean() == pytest.approx(effects.mean(), abs=0.04), name
        for k in (0, 1):
            if name.startswith("S"):
                continue  # one response for all arms: it finds levels, and draws differences between customers away
            least = 0.5 if name.endswith("linear") else 0.15
            assert np.corrcoef(raw[:, k], effects[:, k])[0, 1] > least, name


def test_small_samples_are_left_to_linear_learners() -> None:
    sample, _ = trial(LEAST_FOR_TREES - 1, 2, logistic=True)
    assert all(name.endswith("linear") for name in learners(sample))


def test_who_is_rarely_treated_counts_more_but_not_without_limit() -> None:
    sample, _ = trial(3_000, 3, logistic=True)
    weights = sample.weights
    rare = (sample.arm > 0) & (sample.design[:, 0] <= 0)
    assert weights[rare].mean() > weights[(sample.arm > 0) & ~rare].mean()
    thin = Sample(sample.design, sample.arm, np.full(3_000, 1e-4), sample.outcome, True, (1, 2))
    assert thin.weights.max() == 10.0
