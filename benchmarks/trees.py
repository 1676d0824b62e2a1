"""What one prediction of a boosted model costs: compiled flat trees beside ``Booster.predict`` on one thread.

    python -m benchmarks.trees

80 features (float32, a tenth missing), 80 trees of 31 leaves, as a ranker has them; medians of 300 calls, the two in turns.
"""

import time
from collections.abc import Callable
from typing import Any

import lightgbm as lgb
import numpy as np

from benchmarks.measure import keep
from regulars.models.trees import flat_trees

FEATURES, TREES, LEAVES = 80, 80, 31
ROWS = (1, 100, 300, 10_000)
CALLS = 300


def main() -> None:
    """Measure, print and keep the figures."""
    rng = np.random.default_rng(0)
    learnt = _rows(rng, 20_000)
    labels = np.nan_to_num(learnt[:, 0]) * np.nan_to_num(learnt[:, 1]) + learnt[:, 2:9].sum(
        axis=1, where=~np.isnan(learnt[:, 2:9])
    )
    params = {"objective": "regression", "num_leaves": LEAVES, "num_threads": 1, "verbosity": -1}
    booster = lgb.train(params, lgb.Dataset(learnt, labels), TREES)
    flat, rows = flat_trees(booster.model_to_string()), []
    for count in ROWS:
        asked = _rows(rng, count)
        calls = {
            "Booster.predict": lambda x=asked: booster.predict(x, num_threads=1),
            "flat": lambda x=asked: flat.predict(x),
        }
        same = bool((calls["flat"]() == calls["Booster.predict"]()).all())
        took = _took(calls, CALLS if count < 1_000 else 20)
        rows.append({"rows": count, "equal": same, **{f"{name}_ms": took[name] for name in took},
                     "times_faster": took["Booster.predict"] / took["flat"]})  # fmt: skip
        print(rows[-1])
    keep("trees", command="python -m benchmarks.trees", rows=rows)


def _rows(rng: np.random.Generator, count: int) -> np.ndarray:
    rows = rng.normal(size=(count, FEATURES)).astype(np.float32)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    return rows


def _took(calls: dict[str, Callable[[], Any]], times: int) -> dict[str, float]:
    """Median milliseconds of each call."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(times):
        for name, call in calls.items():
            began = time.perf_counter()
            call()
            taken[name].append(1_000 * (time.perf_counter() - began))
    return {name: float(np.median(values)) for name, values in taken.items()}


if __name__ == "__main__":
    main()
