"""The mixture of transitions finds what comes next where that is known, also along steps that nobody made."""

import numpy as np
import pandas as pd
import pytest

from regulars.ids import IdMap
from regulars.models.history import History, Known, known_history
from training import transitions
from training.paths import Paths, read_paths
from training.transitions import fit_transitions, latest_before, place_weights
from training.visits import Visits, read_visits

COUNT = 60
IDS = IdMap([f"p{number:02d}" for number in range(COUNT)])


def visits(paths: list[list[int]], *, kind: str = "view") -> Visits:
    """One visitor per path, a look a minute."""
    rows = [
        (f"v{visit:04d}", place, f"p{one:02d}") for visit, path in enumerate(paths) for place, one in enumerate(path)
    ]
    frame = pd.DataFrame(rows, columns=["visitor_id", "minute", "product_id"])
    frame["occurred_at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["minute"], unit="min")
    return read_visits(frame.assign(basket_id=frame["visitor_id"], kind=kind), IDS)


def in_groups(count: int, *, seed: int) -> list[list[int]]:
    """Visits within one of six groups of ten (products whose numbers end alike), of which 0 and 6 never meet."""
    rng = np.random.default_rng(seed)
    paths = [(rng.permutation(10)[:4] * 6 + rng.integers(6)).tolist() for _ in range(count)]
    return [[one for one in path if one != 6] if 0 in path else path for path in paths]


def looked(*products: int) -> Known:
    at = 60 * np.arange(len(products))
    return known_history(
        History(IDS.ids(np.array(products)), at, ["view"] * len(products)), IDS, moment=60 * len(products)
    )


def test_places_know_the_latest_distinct_products_before_them() -> None:
    before, after = latest_before(read_paths(visits([[1, 2, 1, 3], [4, 5]]), COUNT))
    assert after.tolist() == [2, 1, 3, 5]
    assert before.tolist() == [[1, -1, -1, -1, -1], [2, 1, -1, -1, -1], [1, 2, -1, -1, -1], [4, -1, -1, -1, -1]]


def test_weights_of_the_places_that_are_there_sum_to_one() -> None:
    weights = place_weights(np.log([4, 2, 1, 1, 1]).astype(np.float32), np.array([[True, True, False, False, False]]))
    assert weights.tolist() == [pytest.approx([2 / 3, 1 / 3, 0, 0, 0])]


def test_the_gradient_is_that_of_the_likelihood() -> None:
    """Against differences of the mixture's mean logarithm, computed anew and plainly, nothing dropped."""
    rng = np.random.default_rng(1)
    rows = np.array([0, 3, 4, 9, 17, 30])
    mixture = transitions._Mixture.started(rows, seed=0)
    mixture.rng = Sure()  # type: ignore[assignment]
    before = np.array([[0, 2, -1, -1, -1], [3, 0, 5, -1, -1], [1, -1, -1, -1, -1]])
    after, all_, none = np.array([2, 1, 4]), np.arange(6), np.zeros(6, np.float32)
    mixture.liking[:] = rng.normal(size=6)
    gradients = mixture._gradient(before, after, all_, none)

    def loss() -> float:
        unit = mixture.vectors.astype(float)
        unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
        total = 0.0
        for history, wanted in zip(before, after, strict=True):
            weights = place_weights(mixture.places, (history >= 0)[None])[0]
            chance = 0.0
            for product, weight in zip(history[history >= 0], weights, strict=False):
                scores = np.exp(transitions.SHARPNESS * unit @ unit[product] + mixture.liking)
                scores[history[0]] = 0
                chance += weight * scores[wanted] / scores.sum()
            total -= np.log(chance) / len(after)
        return total

    for array, gradient in zip([mixture.own, mixture.shared, mixture.liking, mixture.places], gradients, strict=True):
        for place in rng.choice(array.size, size=5):
            at = np.unravel_index(place, array.shape)
            old, sides = array[at], []
            for step in (0.01, -0.01):
                array[at] = old + np.float32(step)
                sides.append(loss())
            array[at] = old
            assert gradient[at] == pytest.approx((sides[0] - sides[1]) / 0.02, abs=3e-3)


class Sure:
    """Draws that drop nothing."""

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.ones(shape)


@pytest.mark.parametrize("columns", [3_000, 30], ids=["all compared", "some drawn"])
def test_what_comes_next_is_of_the_group_also_where_nobody_went(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transitions, "MOST_COLUMNS", columns)
    fitted = fit_transitions(read_paths(visits(in_groups(3_000, seed=0)), COUNT), seed=0)
    chances = fitted.chances(looked(0), np.arange(COUNT))[0]
    group = np.arange(COUNT) % 6 == 0
    assert chances.sum() == pytest.approx(1, abs=1e-4)
    assert chances[group].sum() > 0.9
    assert chances[6] > 3 * chances[~group].max()  # 0 and 6 never met
    assert set(fitted.candidates(looked(0), 8).tolist()) <= set(range(6, 60, 6))
    near = fitted.near
    assert near.similarity[0, :5] == pytest.approx(fitted.chances(looked(0), near.rows[0, :5].astype(int))[0], rel=1e-3)


def test_the_same_visits_give_the_same_vectors() -> None:
    paths = read_paths(visits(in_groups(200, seed=2)), COUNT)
    assert (fit_transitions(paths, seed=3).vectors == fit_transitions(paths, seed=3).vectors).all()


@pytest.mark.parametrize("kind", ["purchase", "view"])
def test_without_enough_visits_nothing_is_learnt_and_nothing_said(kind: str) -> None:
    paths = read_paths(visits(in_groups(3_000, seed=0) if kind == "purchase" else [[0, 6]], kind=kind), COUNT)
    fitted = fit_transitions(paths, seed=0)
    assert fitted.near.are_none
    assert not len(fitted.reached(looked(0))[0])
    assert not fitted.chances(looked(0), np.arange(COUNT)).any()


def test_products_that_no_visit_holds_say_nothing_and_never_come_next() -> None:
    paths = [[one for one in path if one != 7] for path in in_groups(500, seed=0)]
    fitted, every = fit_transitions(read_paths(visits(paths), COUNT), seed=0), np.arange(COUNT)
    assert fitted.chances(looked(13), every)[0, 7] == 0
    assert not (fitted.rows == 7).any()
    assert not fitted.chances(looked(7), every).any()
    assert fitted.chances(looked(7, 13), every) == pytest.approx(fitted.chances(looked(13), every))
    assert fitted.chances(looked(13, 7), every)[0].sum() == pytest.approx(1, abs=1e-4)


def test_a_path_without_anything_is_no_error() -> None:
    nothing = Paths(np.zeros(0, np.int64), np.zeros(0, np.int64), 3)
    assert fit_transitions(nothing, seed=0).near.are_none
