"""The plainest two stages in NumPy and LightGBM, to measure a ranking beside: exact search by factors, then a few features."""

import lightgbm
import numpy as np
from numpy.typing import NDArray

CANDIDATES, FEATURES, TREES = 100, 24, 100
LEARNT_FROM = 5_000

Rows = NDArray[np.int64]


class Sketch:
    """Answers histories (distinct rows of products) with the ten products that 100 trees say are best of the 100 whose vectors have
    the highest product with the mean of the history's; of 24 features 22 are looked up per product.

    ``vectors`` (n_products, n_factors) of float32. What trees and features say is made up: only the time that they take counts.
    """

    def __init__(self, vectors: NDArray[np.float32], *, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self._vectors = vectors
        self._looked_up = rng.normal(size=(len(vectors), FEATURES - 2)).astype(np.float32)
        told = rng.normal(size=(LEARNT_FROM, FEATURES))
        liked = told @ rng.normal(size=FEATURES) + rng.normal(size=LEARNT_FROM) > 0
        settings = {"objective": "binary", "num_threads": 1, "verbose": -1, "seed": seed}
        self._trees = lightgbm.train(settings, lightgbm.Dataset(told, liked), num_boost_round=TREES)

    def answer(self, history: Rows, *, n: int = 10) -> Rows:
        """Up to ``n`` rows, best first."""
        scores = self._vectors @ self._vectors[history].mean(axis=0)
        found = np.argpartition(-scores, CANDIDATES)[:CANDIDATES]
        features = np.empty((CANDIDATES, FEATURES))
        features[:, 0], features[:, 1] = scores[found], np.isin(found, history)
        features[:, 2:] = self._looked_up[found]
        return np.asarray(found[np.argsort(-self._trees.predict(features, num_threads=1))[:n]])
