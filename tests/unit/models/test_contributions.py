"""Contributions by tables are those of LightGBM."""

import lightgbm
import numpy as np
import pytest

from regulars.models.contributions import tables_of


def fitted(
    values: np.ndarray, target: np.ndarray, *, categories: tuple[int, ...] = (), **settings: object
) -> lightgbm.Booster:
    asked = {"objective": "binary", "verbose": -1, "num_leaves": 6, "min_data_in_leaf": 20, **settings}
    return lightgbm.train(
        asked, lightgbm.Dataset(values, target, categorical_feature=list(categories)), num_boost_round=25
    )


def drawn(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(count, 8))
    values[:, 1] = np.round(values[:, 1])
    values[rng.random(values.shape) < 0.15] = np.nan
    return values


@pytest.mark.parametrize("settings", [{}, {"extra_trees": True}, {"zero_as_missing": True}, {"use_missing": False}])
def test_they_are_those_of_lightgbm(settings: dict[str, object]) -> None:
    values = drawn(1_000, 1)
    target = (np.nan_to_num(values[:, 0]) + np.nan_to_num(values[:, 1]) * np.isnan(values[:, 2]) > 0.2).astype(float)
    boosters = [fitted(values, target, seed=seed, **settings) for seed in (1, 2)]
    asked = np.vstack([drawn(700, 2), np.zeros((1, 8)), np.full((1, 8), np.nan)])
    tables = tables_of(boosters)
    assert tables is not None
    theirs = sum(np.asarray(booster.predict(asked, pred_contrib=True))[:, :-1] for booster in boosters)
    np.testing.assert_allclose(tables.contributions(asked), theirs, rtol=1e-9, atol=1e-12)
    assert np.abs(theirs).max() > 0.1


def test_trees_of_many_splits_or_categories_have_none_and_a_tree_without_splits_moves_nothing() -> None:
    values, target = drawn(1_000, 3), (drawn(1_000, 3)[:, 0] > 0).astype(float)
    assert tables_of([fitted(values, target, num_leaves=31)]) is None
    groups = np.column_stack([np.arange(1_000) % 5, values[:, 0]])
    assert tables_of([fitted(groups, (np.arange(1_000) % 5 < 2).astype(float), categories=(0,))]) is None
    flat = tables_of([fitted(values, np.ones(1_000))])
    assert flat is not None
    assert not flat.contributions(values).any()
