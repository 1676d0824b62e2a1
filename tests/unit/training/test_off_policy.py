"""Judging policies on logs whose truth is known."""

import numpy as np
import pytest

from training.off_policy import Log, effective_sample_size, evaluate, overlap
from training.uplift_curves import qini_curve, uplift_curve

CHANCES = np.array([[0.1, 0.3, 0.2], [0.4, 0.2, 0.5]])  # of the outcome, by kind of customer and action


def logged(count: int, seed: int) -> tuple[Log, np.ndarray]:
    """A log of a policy that prefers action 1 for the first kind of customer; and each row's kind."""
    rng = np.random.default_rng(seed)
    kind = rng.integers(2, size=count)
    took = np.array([[0.2, 0.6, 0.2], [0.5, 0.25, 0.25]])
    action = (rng.random(count)[:, None] > np.cumsum(took[kind], axis=1)).sum(axis=1)
    outcome = (rng.random(count) < CHANCES[kind, action]).astype(float)
    expected = np.broadcast_to([0.25, 0.25, 0.25], (count, 3)).copy()
    return Log(action, took[kind, action], outcome, np.arange(count), np.array([0.0, 0.05, 0.1]), expected), kind


def test_every_estimator_finds_what_another_policy_would_have_brought() -> None:
    log, kind = logged(40_000, seed=1)
    policy = np.eye(3)[np.where(kind == 0, 1, 2)]  # of 0.3 - 0.05 and 0.5 - 0.1
    found = evaluate(log, policy, draws=200).set_index("estimator")
    for name in ("ips", "snips", "dr"):
        assert found.loc[name, "value"] == pytest.approx(0.325, abs=0.012)
        assert found.loc[name, "low"] < 0.325 < found.loc[name, "high"]
    assert found.loc["effective_sample_size", "value"] < 25_000


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    inside = 0
    for seed in range(60):
        log, kind = logged(800, seed=100 + seed)
        row = evaluate(log, np.eye(3)[np.where(kind == 0, 1, 2)], draws=200, seed=seed).set_index("estimator").loc["dr"]
        inside += row["low"] <= 0.325 <= row["high"]
    assert 52 <= inside <= 60


def test_rows_of_one_customer_are_drawn_together() -> None:
    log, kind = logged(500, seed=3)
    ten = np.repeat(np.arange(50), 10)
    same = Log(
        *(np.repeat(getattr(log, name)[:50], 10) for name in ("action", "propensity", "outcome")), ten, log.net_of
    )
    policy = np.eye(3)[np.repeat(np.where(kind == 0, 1, 2)[:50], 10)]
    once = Log(log.action[:50], log.propensity[:50], log.outcome[:50], np.arange(50), log.net_of)
    wide = evaluate(same, policy, draws=200).set_index("estimator")
    narrow = evaluate(once, policy[::10], draws=200).set_index("estimator")
    assert wide.loc["ips", ["low", "high"]].tolist() == pytest.approx(narrow.loc["ips", ["low", "high"]].tolist())


def test_little_overlap_is_told() -> None:
    log = Log(np.array([0, 1]), np.array([0.98, 0.02]), np.zeros(2), np.arange(2), np.zeros(2))
    assert overlap(log)["propensity_least"] == 0.02
    assert overlap(log)["effective_share"] < 0.55
    assert effective_sample_size(np.zeros(3)) == 0.0


def test_a_true_ranking_has_area_and_a_random_one_has_none() -> None:
    rng = np.random.default_rng(5)
    gains, treated = rng.random(8_000), rng.random(8_000) < 0.5
    outcome = (rng.random(8_000) < 0.1 + 0.5 * gains * treated).astype(float)
    true = qini_curve(outcome, treated, gains, np.arange(8_000), draws=100)
    blind = qini_curve(outcome, treated, rng.random(8_000), np.arange(8_000), draws=100)
    assert true.low > 0
    assert blind.low < 0 < blind.high
    assert true.gain[-1] == pytest.approx(0.25, abs=0.03)
    assert true.best_half == pytest.approx(0.75, abs=0.06)
    scores = outcome * np.where(treated, 2.0, -2.0)
    assert uplift_curve(scores, gains, np.arange(8_000), draws=50).area == pytest.approx(true.area, abs=0.02)
