"""What the ranker learns from: candidates of past moments, their features, and what came next; and the ranker itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import lightgbm
import numpy as np
from numpy.typing import NDArray
from sklearn.isotonic import IsotonicRegression

from regulars.ids import Rows
from regulars.models.chances import Chances
from regulars.models.history import History, Known
from regulars.models.pairs import NAMES
from regulars.models.ranker import Ranker
from regulars.models.retrieval import Retrieval
from regulars.models.threads import one_thread
from regulars.models.weighing import Weigher
from training.visits import Visits

LEAST_EXAMPLES = 50
LIGHTGBM = ("learning_rate", "num_leaves", "feature_fraction", "bagging_fraction", "lambda_l2")
MOST_KNOTS = 200
NEXT, LATER = 2, 1
GAINS = (0, 1, 3)
BOUGHT = NAMES.index("bought_days")
NEUTRAL = 0
POSITION_REGULARIZATION = 0.001


@dataclass(frozen=True)
class Example:
    """One history at a moment, and the products (rows of the snapshot's catalogue, sorted) that came after it.

    ``before`` are the rows bought before (touched, where nothing is sold). ``wanted`` are the ids of the targets in the order
    in which they came, also of products that did not exist at the moment, which no method can know. ``next_row`` is the very
    next product of a session, -1 where the order does not matter.
    """

    known: Known
    moment: int
    targets: Rows
    wanted: tuple[str, ...]
    history: History
    before: Rows
    next_row: int = -1


@dataclass(frozen=True)
class Snapshot:
    """What was known at ``at`` and what came until ``until``."""

    at: datetime
    until: datetime
    retrieval: Retrieval
    visits: Visits
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Lessons:
    """Features (n_rows, n_names), grades (n_rows,), how many rows each example has, and positions (n_rows,).

    A position is the rank at which a product was shown, ``NEUTRAL`` where nobody was shown anything; None: all are neutral.
    """

    features: NDArray[np.float32]
    grades: NDArray[np.int8]
    sizes: NDArray[np.int64]
    positions: NDArray[np.int32] | None = None

    @property
    def of_new_products(self) -> "Lessons":
        """Those of products that the customer never bought, where one of them came next."""
        new = self.features[:, BOUGHT] == 0
        example = np.repeat(np.arange(len(self.sizes)), self.sizes)
        found = np.bincount(example[new & (self.grades > 0)], minlength=len(self.sizes)) > 0
        kept = new & found[example]
        sizes = np.bincount(example[kept], minlength=len(self.sizes))
        positions = None if self.positions is None else self.positions[kept]
        return Lessons(self.features[kept], self.grades[kept], sizes[sizes > 0], positions)


@one_thread()
def lessons_of(snapshot: Snapshot, *, negatives: int, seed: int) -> Lessons:
    """Every product that came next and up to ``negatives`` others of each example that a retriever got right once."""
    rng = np.random.default_rng(seed)
    weigher, features, grades, sizes = Weigher(snapshot.retrieval), [], [], []
    for example in snapshot.examples:
        rows, made = weigher.featured(example.known, moment=example.moment)
        graded = np.isin(rows, example.targets).astype(np.int8) * (LATER if example.next_row >= 0 else NEXT)
        graded[rows == example.next_row] = NEXT
        if not graded.any():
            continue
        others = np.flatnonzero(graded == 0)
        if len(others) > negatives:
            others = rng.choice(others, size=negatives, replace=False)
        kept = np.sort(np.concatenate([np.flatnonzero(graded), others]))
        features.append(made[kept])
        grades.append(graded[kept])
        sizes.append(len(kept))
    if not sizes:
        return Lessons(np.zeros((0, len(NAMES)), np.float32), np.zeros(0, np.int8), np.zeros(0, np.int64))
    return Lessons(np.vstack(features), np.concatenate(grades), np.array(sizes))


def fit_ranker(lessons: Sequence[Lessons], *, chosen: Mapping[str, Any], seed: int) -> Ranker | None:
    """LambdaMART over the lessons of several moments, ``models`` times; None where there are too few.

    Where products were shown, each position gets a summand of its own, estimated with the trees and left out of the model. One
    that all products of an example share drops out of their differences: lessons that nobody was shown stay as they are. An
    example of one grade says nothing about an order; those who make lessons leave it out.

    Source: Hu, Wang, Peng, Li: Unbiased LambdaMART: An Unbiased Pairwise Learning-to-Rank Algorithm (WWW 2019), for the problem.
    LightGBM solves it in its own way (its pull request 5929): a generalised additive model, score = trees + position, with a step
    of Newton per tree, where the paper divides pairs by estimated propensities.
    """
    if sum(len(part.sizes) for part in lessons) < LEAST_EXAMPLES:
        return None
    settings = {name: chosen[name] for name in LIGHTGBM}
    settings |= {
        "objective": "lambdarank",
        "lambdarank_truncation_level": 30,
        "label_gain": list(GAINS),
        "max_bin": 63,
        "min_data_in_leaf": int(chosen["min_data_in_leaf"]),
        "seed": seed,
        "bagging_freq": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    positions = positions_of(lessons)
    if positions is not None:
        settings["lambdarank_position_bias_regularization"] = POSITION_REGULARIZATION
        settings["num_threads"] = 1  # its sums by position depend on which thread took which row
    data = lightgbm.Dataset(
        np.vstack([part.features for part in lessons]),
        np.concatenate([part.grades for part in lessons]).astype(float),
        group=np.concatenate([part.sizes for part in lessons]),
        feature_name=list(NAMES),
        params=settings,
        position=positions,
    )
    drawn = [{"bagging_seed": one, "feature_fraction_seed": one} for one in range(seed, seed + int(chosen["models"]))]
    fitted = [lightgbm.train(settings | seeds, data, num_boost_round=int(chosen["trees"])) for seeds in drawn]
    return Ranker([booster.model_to_string() for booster in fitted])


def positions_of(lessons: Sequence[Lessons]) -> NDArray[np.int32] | None:
    """One for each row, None where all are neutral."""
    if all(part.positions is None for part in lessons):
        return None
    return np.concatenate(
        [np.full(len(part.grades), NEUTRAL, np.int32) if part.positions is None else part.positions for part in lessons]
    )


def fit_chances(scores: NDArray[np.float64], hits: NDArray[np.bool_]) -> Chances | None:
    """Isotonic regression of ``hits`` on ``scores``, thinned to 200 knots; None where nothing or everything was hit."""
    if len(hits) == 0 or hits.all() or not hits.any():
        return None
    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, hits.astype(float))
    places = np.unique(np.linspace(0, len(fitted.X_thresholds_) - 1, MOST_KNOTS).round().astype(int))
    return Chances(np.column_stack([fitted.X_thresholds_, fitted.y_thresholds_])[places].astype(float))
