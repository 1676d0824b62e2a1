"""Offers to many customers under budgets: at most one each, the sum of net values as large as the money allows.

Every budget has a price: what one more unit of money would bring. At the right prices each customer takes what is worth
most to the shop after paying them, and no budget is overspent (Lagrangian relaxation). Prices rise until that holds; what
is left over by indivisible offers is then given to whom it brings most for the money.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROUNDS = 40
NEAR = 1e-6
SWEEPS = 30


@dataclass(frozen=True)
class Allocation:
    """``chosen`` (n_customers,): the offer's column, or -1. ``prices``: budget -> its shadow price (0: it does not bind).

    A budget is known by its offer's column, or by -1 for that of all offers together.
    """

    chosen: Ints
    prices: Mapping[int, float]
    spent: float


def allocate(values: Floats, costs: Floats, budgets: Mapping[int, float], *, order: Floats | None = None) -> Allocation:
    """Who gets what: ``values`` (n_customers, n_offers) net in money, -inf where an offer may not be made.

    ``costs`` (n_offers,): money per offer made. ``budgets``: column -> money, -1 for all offers together.
    ``order`` (like ``values``): breaks ties between customers, higher first.

    >>> allocate(np.array([[3.0], [5.0], [4.0]]), np.array([2.0]), {-1: 4.0}).chosen.tolist()
    [-1, 0, 0]
    """
    prices = dict.fromkeys(budgets, 0.0)
    for _ in range(SWEEPS):
        over = [name for name in budgets if _spent(_take(values, costs, prices), costs, name) > budgets[name] + 1e-9]
        if not over:
            break
        for name in over:
            prices[name] = _least_price(values, costs, prices, name, budgets[name])
    chosen = _filled(values, costs, budgets, _take(values, costs, prices), order)
    return Allocation(chosen, prices, _spent(chosen, costs, -1))


def _take(values: Floats, costs: Floats, prices: Mapping[int, float]) -> Ints:
    """Each customer's best offer after prices, -1 where none is worth anything."""
    charge = np.array([prices.get(-1, 0.0) + prices.get(k, 0.0) for k in range(len(costs))]) * costs
    if values.shape[1] == 0:
        return np.full(len(values), -1)
    after = values - charge
    best = after.argmax(axis=1)
    return np.where(after[np.arange(len(best)), best] > 0, best, -1)


def _spent(chosen: Ints, costs: Floats, name: int) -> float:
    made = chosen[chosen >= 0] if name == -1 else chosen[chosen == name]
    return float(costs[made].sum())


def _least_price(values: Floats, costs: Floats, prices: Mapping[int, float], name: int, budget: float) -> float:
    """The lowest price, not below today's, at which ``name`` is not overspent; found by halving."""
    low = prices[name]
    positive = costs[costs > 0]
    high = max(low, float(values.max(initial=0.0)) / float(positive.min())) * 1.001 + 1e-9
    for _ in range(ROUNDS):
        middle = (low + high) / 2
        over = _spent(_take(values, costs, {**prices, name: middle}), costs, name) > budget + 1e-9
        low, high = (middle, high) if over else (low, middle)
        if high - low <= NEAR * high:
            break
    return high


def _filled(values: Floats, costs: Floats, budgets: Mapping[int, float], chosen: Ints, order: Floats | None) -> Ints:
    """``chosen`` with what money is left given to customers without an offer, the most for the money first."""
    left = {name: budget - _spent(chosen, costs, name) for name, budget in budgets.items()}
    rows, columns = np.nonzero((values > 0) & (chosen[:, None] < 0))
    if not len(rows) or not budgets:
        return chosen
    for_money = values[rows, columns] / np.maximum(costs[columns], 1e-12)
    tie = np.zeros(len(rows)) if order is None else order[rows, columns]
    chosen = chosen.copy()
    for place in np.lexsort((rows, -tie, -for_money)):
        row, column = int(rows[place]), int(columns[place])
        cost = float(costs[column])
        limits = [name for name in (-1, column) if name in left]
        if chosen[row] >= 0 or any(left[name] + 1e-9 < cost for name in limits):
            continue
        chosen[row] = column
        for name in limits:
            left[name] -= cost
    return chosen
