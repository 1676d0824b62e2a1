"""The probability with which each assignment was made: as logged, else estimated, and then nothing is called proof."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PENALTY = 0.01
FLOOR = 0.01
SURE = 0.999
MOST_ROWS = 15_000  # learnt from, drawn evenly: probabilities of few columns need no more


def were_drawn(propensity: pd.Series) -> bool:
    """Whether every assignment was drawn with a known probability; what was sure to be made was not drawn.

    >>> were_drawn(pd.Series([0.5, 0.5])), were_drawn(pd.Series([0.5, None])), were_drawn(pd.Series([1.0, 1.0]))
    (True, False, False)
    """
    return bool(propensity.notna().all() and (propensity < SURE).mean() > 0.5)


def taken_probability(
    rows: pd.DataFrame, arm: Ints, design: Floats, fold: Ints, *, drawn: bool
) -> Floats:  # folds: of the customers
    """Probability (n_rows,) of the arm that was taken, at least 0.01: as logged where ``drawn``, else estimated out of fold.

    Estimated by a multinomial logistic regression on the design, each fold by the others.
    """
    if drawn:
        return np.maximum(rows["propensity"].to_numpy(float), FLOOR)
    shares = np.bincount(arm) / len(arm)
    found = shares[arm]
    rng = np.random.default_rng(0)
    for place in np.unique(fold):
        learn, ask = np.flatnonzero(fold != place), np.flatnonzero(fold == place)
        learn = np.sort(rng.permutation(learn)[:MOST_ROWS])
        if design.shape[1] == 0 or len(np.unique(arm[learn])) < 2:
            continue
        model = LogisticRegression(C=PENALTY, max_iter=200, tol=1e-3).fit(design[learn], arm[learn])
        known = {int(name): column for column, name in enumerate(model.classes_)}
        columns = np.array([known.get(int(name), -1) for name in arm[ask]])
        chances = model.predict_proba(design[ask])
        found[ask] = np.where(columns >= 0, chances[np.arange(len(ask)), np.maximum(columns, 0)], shares[arm[ask]])
    return np.maximum(found, FLOOR)
