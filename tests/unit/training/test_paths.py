"""What lies on the paths of visits, on shops small enough to compute by hand, and vectors where the company is known."""

import numpy as np
import pandas as pd
import pytest

from regulars.ids import IdMap
from regulars.models.history import History, known_history
from training.paths import fit_embedding, fit_steps, read_paths
from training.stores import SHRINK
from training.visits import Visits, read_visits

IDS = IdMap(["a", "b", "c", "d"])


def visits(paths: dict[str, str], *, kind: str = "view", ids: IdMap = IDS) -> Visits:
    """One visitor per path; a letter is a look, a minute after the one before."""
    rows = [(visit, place, product) for visit, path in paths.items() for place, product in enumerate(path)]
    frame = pd.DataFrame(rows, columns=["visitor_id", "minute", "product_id"])
    frame["occurred_at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["minute"], unit="min")
    return read_visits(frame.assign(basket_id=frame["visitor_id"], kind=kind), ids)


def test_a_product_that_follows_itself_is_one_step_of_the_path() -> None:
    paths = read_paths(visits({"x": "aab", "y": "ba"}), 4)
    assert paths.rows.tolist() == [0, 1, 1, 0]
    assert paths.steps(1).toarray()[:2, :2].tolist() == [[0, 1], [1, 0]]


def test_visits_do_not_run_into_each_other() -> None:
    assert read_paths(visits({"x": "ab", "y": "cd"}), 4).steps(2).nnz == 0


def test_steps_are_shares_of_how_often_a_product_was_seen() -> None:
    onward, back, two = fit_steps(read_paths(visits({"x": "abc", "y": "ab", "z": "ad"}), 4))
    assert onward.rows[0, :3].tolist() == [1, 3, -1]
    assert onward.similarity[0, :2].tolist() == pytest.approx([2 / (3 + SHRINK), 1 / (3 + SHRINK)])
    assert back.rows[1, 0] == 0
    assert back.similarity[1, 0] == pytest.approx(2 / (2 + SHRINK))
    assert two.rows[0, :2].tolist() == [2, -1]
    assert two.similarity[0, 0] == pytest.approx(2 / (3 + SHRINK) * 1 / (2 + SHRINK))


def test_purchases_have_no_path() -> None:
    paths = read_paths(visits({"x": "abc"}, kind="purchase"), 4)
    assert (fit_steps(paths)[0].rows == -1).all()
    assert not fit_embedding(paths, seed=0).vectors.any()


def test_products_of_one_company_have_vectors_close_together() -> None:
    """Two collections of 40 products; no visit holds both p000 and p001, which only the others of their collection relate."""
    rng = np.random.default_rng(0)
    names = [f"p{number:03d}" for number in range(80)]
    frames = []
    for number in range(600):
        own = rng.permutation(40)[:6] + 40 * (number % 2)
        if {0, 1} <= set(own.tolist()):
            own = own[own != 1]
        frames += [(f"v{number}", place, names[product]) for place, product in enumerate(own)]
    frame = pd.DataFrame(frames, columns=["visitor_id", "minute", "product_id"])
    frame["occurred_at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["minute"], unit="min")
    ids = IdMap(names)
    made = read_visits(
        frame.sort_values("visitor_id", kind="stable").assign(basket_id=frame["visitor_id"], kind="view"), ids
    )
    embedding = fit_embedding(read_paths(made, 80), seed=0)
    cosines = embedding.vectors @ embedding.vectors.T
    assert np.linalg.norm(embedding.vectors, axis=1) == pytest.approx(1, abs=1e-5)
    apart, together = cosines[:40, 40:].mean(), cosines[:40, :40][~np.eye(40, dtype=bool)].mean()
    assert together > apart + 0.02
    assert cosines[0, 1] > apart
    history = known_history(History(["p002", "p003"], np.array([0, 60]), ["view"] * 2), ids, moment=61)
    likeness = embedding.likeness(history, np.array([2, 50]))
    assert likeness[0].tolist() == pytest.approx([cosines[2, 3], (cosines[2, 3] + 1) / 2, 1], abs=1e-5)
    assert likeness.shape == (2, 3)
    assert np.isnan(
        embedding.likeness(known_history(History([], np.zeros(0, int), []), ids, moment=1), np.array([1]))
    ).all()
