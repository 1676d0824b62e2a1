"""The plain ways to tell who leaves, measured beside the model in every table."""

import lightgbm
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from regulars.models.churn import Linear

Floats = NDArray[np.float64]

RFM = ("days_since_last_order", "count_orders", "money_total")
RECENCY = ("days_since_last_order",)


def fit_linear(features: pd.DataFrame, churned: Floats, names: tuple[str, ...]) -> Linear:
    """A logistic regression of ``churned`` (n_customers,) on log(1 + x) of the columns ``names``, standardised.

    >>> table = pd.DataFrame({"days_since_last_order": [1.0, 2.0, 30.0, 40.0]})
    >>> model = fit_linear(table, np.array([0.0, 0.0, 1.0, 1.0]), RECENCY)
    >>> (model.logit(table) > 0).tolist()
    [False, False, True, True]
    """
    fills = tuple(float(features[name].max()) if features[name].notna().any() else 0.0 for name in names)
    filled = features[list(names)].fillna(dict(zip(names, fills, strict=True))).to_numpy(float)
    flat = np.log1p(np.maximum(filled, 0.0))
    means, scales = flat.mean(axis=0), np.where(flat.std(axis=0) > 0, flat.std(axis=0), 1.0)
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit((flat - means) / scales, churned)
    return Linear(
        names=names,
        fills=fills,
        means=tuple(map(float, means)),
        scales=tuple(map(float, scales)),
        weights=tuple(map(float, fitted.coef_[0])),
        intercept=float(fitted.intercept_[0]),
    )


def fit_plain_trees(features: pd.DataFrame, churned: Floats, *, seed: int) -> lightgbm.Booster:
    """LightGBM with the settings most people begin with: 200 trees of 15 leaves, learning rate 0.05."""
    settings = {
        "objective": "binary",
        "learning_rate": 0.05,
        "num_leaves": 15,
        "min_data_in_leaf": 20,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    data = lightgbm.Dataset(features.to_numpy(float), churned, free_raw_data=False)
    return lightgbm.train(settings, data, num_boost_round=200)
