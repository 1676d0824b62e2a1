"""A small version of `python -m benchmarks.offers`: intervals hold the truth, decisions beat the riskiest first."""

import pytest

from benchmarks.offers import coverage, net_values


def test_intervals_hold_the_truth_of_simulated_offers() -> None:
    found = [coverage("unrelated", customers=600, seed=seed) for seed in range(20)]
    for estimator in found[0]:
        assert sum(inside[estimator] for inside in found) >= 16, estimator


@pytest.mark.parametrize("name", ["unrelated", "opposed"])
def test_where_risk_says_nothing_of_effect_the_riskiest_first_lose(name: str) -> None:
    brought = net_values(name, customers=1_900, seed=1)
    assert brought["ours"] > 0
    assert brought["ours"] > brought["riskiest"]
