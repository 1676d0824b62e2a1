"""Compiled trees beside LightGBM itself: not nearly, but exactly the same numbers."""

from typing import Any

import lightgbm as lgb
import numpy as np
import pytest

from regulars.errors import ArtifactError
from regulars.models.trees import flat_trees

QUIET = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 5, "seed": 0, "deterministic": True}


def made(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows of five numbers with holes and zeros, and of two categories (80 and 4 values)."""
    numbers = rng.normal(size=(count, 5)).round(2)
    numbers[rng.random(numbers.shape) < 0.2] = np.nan
    numbers[rng.random(numbers.shape) < 0.2] = 0.0
    return np.column_stack([numbers, rng.integers(0, 80, count), rng.integers(0, 4, count)]).astype(float)


def strange(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rows with what training never saw: categories that are unknown, missing, negative or no whole numbers, infinities."""
    odd = rows.copy()
    told = np.array([np.nan, -1.0, -0.5, 2.7, 79.0, 80.0, 1e12, np.inf, -np.inf, 0.0, 1e-36, -1e-36])
    places = rng.random(odd.shape) < 0.3
    odd[places] = rng.choice(told, int(places.sum()))
    return odd


def booster(rng: np.random.Generator, rounds: int = 30, *, categories: bool = True, **params: Any) -> lgb.Booster:
    rows = made(rng, 600)
    signal = np.nan_to_num(rows[:, 0]) * 2 + (rows[:, 5] % 7) + np.isnan(rows[:, 1]) * 3 - (rows[:, 6] == 2)
    labels = signal + rng.normal(size=600)
    told: dict[str, Any] = {}
    objective = params.get("objective", "regression")
    if objective == "binary":
        labels = (labels > np.median(labels)).astype(float)
    elif objective == "lambdarank":
        labels, told = np.clip(labels, 0, 4).astype(int), {"group": [20] * 30}
    elif objective == "poisson":
        labels = np.abs(labels).round()
    data = lgb.Dataset(
        rows,
        labels,
        categorical_feature=[5, 6] if categories else "auto",
        params=QUIET | params,
        free_raw_data=False,
        **told,
    )
    return lgb.train(QUIET | params, data, rounds)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"num_leaves": 63, "min_data_per_group": 1, "cat_smooth": 1.0},
        {"num_leaves": 4, "max_cat_to_onehot": 100},
        {"zero_as_missing": True},
        {"use_missing": False},
        {"objective": "binary", "sigmoid": 0.7},
        {"objective": "lambdarank"},
        {"objective": "poisson"},
        {"boosting": "dart"},
        {"categories": False, "num_leaves": 31},
        {"categories": False, "num_leaves": 33},
        {"categories": False, "num_leaves": 7, "use_missing": False},
        {"categories": False, "num_leaves": 2, "objective": "binary"},
        {"boost_from_average": False, "min_gain_to_split": 1e9},
    ],
)
def test_the_numbers_are_those_of_lightgbm(params: dict[str, Any]) -> None:
    rng = np.random.default_rng(7)
    model = booster(rng, **params)
    flat = flat_trees(model.model_to_string())
    for kind in (np.float64, np.float32):
        for rows in (made(rng, 400), strange(made(rng, 400), rng), made(rng, 1), made(rng, 0)):
            given = rows.astype(kind)
            wanted = model.predict(given, raw_score=True) if len(given) else np.zeros(0)
            assert flat.predict(given, raw=True).tolist() == wanted.tolist()
            if len(given):
                np.testing.assert_allclose(flat.predict(given), model.predict(given), rtol=1e-14)


def test_a_value_that_is_its_threshold_goes_left_in_either_precision() -> None:
    rng = np.random.default_rng(3)
    model = booster(rng, rounds=5, categories=False, num_leaves=31)
    flat = flat_trees(model.model_to_string())
    near = np.unique(flat.thresholds[np.isfinite(flat.thresholds)])
    rows = np.repeat(np.concatenate([near, np.nextafter(near, 9), np.nextafter(near, -9)])[:, None], 7, axis=1)
    for given in (rows, rows.astype(np.float32)):
        assert flat.predict(given).tolist() == model.predict(given).tolist()


def test_what_cannot_be_summed_tree_by_tree_is_refused() -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    classes = lgb.train(QUIET | {"objective": "multiclass", "num_class": 3}, lgb.Dataset(rows, labels), 2)
    linear = lgb.train(QUIET | {"linear_tree": True}, lgb.Dataset(rows, labels, params={"linear_tree": True}), 2)
    forest = lgb.train(
        QUIET | {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}, lgb.Dataset(rows, labels), 2
    )
    for model in (classes, linear, forest):
        with pytest.raises(ArtifactError, match="expected"):
            flat_trees(model.model_to_string())
    with pytest.raises(ValueError, match="7 features"):
        flat_trees(booster(rng, rounds=2).model_to_string()).predict(rows)
