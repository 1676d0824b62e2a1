"""Budgets over many customers: never overspent, and nearly as good as the linear programme says is possible."""

import numpy as np
import pytest
from scipy.optimize import linprog

from regulars.allocation import allocate


def best_possible(values: np.ndarray, costs: np.ndarray, budgets: dict[int, float]) -> float:
    """The value of the linear programme, which no allocation can exceed."""
    people, offers = values.shape
    objective = -np.where(np.isfinite(values), values, -1e6).ravel()
    one_each = np.kron(np.eye(people), np.ones(offers))
    limits = [np.tile(costs if name == -1 else costs * (np.arange(offers) == name), people) for name in budgets]
    right = [*np.ones(people), *budgets.values()]
    return float(-linprog(objective, A_ub=np.vstack([one_each, *limits]), b_ub=right, bounds=(0, 1)).fun)


@pytest.mark.parametrize("seed", range(6))
def test_the_money_goes_where_it_brings_most(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, costs = rng.normal(1, 2, (300, 4)), np.array([1.0, 2.0, 0.5, 1.5])
    values[rng.random(values.shape) < 0.1] = -np.inf
    budgets = [{-1: 60.0}, {0: 10.0, 1: 20.0}, {-1: 80.0, 2: 5.0}, dict.fromkeys(range(4), 8.0), {-1: 0.0}, {}][seed]
    given = allocate(values, costs, budgets)
    for name, money in budgets.items():
        mine = given.chosen[given.chosen >= 0] if name == -1 else given.chosen[given.chosen == name]
        assert costs[mine].sum() <= money + 1e-9
    made = given.chosen >= 0
    brought = values[np.flatnonzero(made), given.chosen[made]]
    assert (brought > 0).all()
    assert brought.sum() >= 0.97 * best_possible(values, costs, budgets) - 1e-9


def test_the_price_of_a_budget_is_what_one_more_unit_brings() -> None:
    values = np.linspace(0.01, 10, 1_000)[:, None]
    given = allocate(values, np.array([1.0]), {-1: 100.0})
    more = allocate(values, np.array([1.0]), {-1: 101.0})
    gained = values[more.chosen == 0].sum() - values[given.chosen == 0].sum()
    assert given.prices[-1] == pytest.approx(gained, abs=0.02)
    assert allocate(values, np.array([1.0]), {-1: 5_000.0}).prices[-1] == 0.0


def test_where_all_are_worth_the_same_the_order_given_decides() -> None:
    order = np.array([[0.1], [0.9], [0.5]])
    given = allocate(np.ones((3, 1)), np.array([2.0]), {-1: 4.0}, order=order)
    assert given.chosen.tolist() == [-1, 0, 0]
