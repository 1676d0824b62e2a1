"""Stores that retrievers read, on shops small enough to compute by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from regulars.ids import IdMap
from regulars.models.history import History, known_history
from training.onward import fit_onward
from training.ranking_baselines import linear_scores
from training.stores import fit_content, fit_followers, fit_linear, fit_lookalikes, fit_sessions, linear_weights
from training.visits import Visits, read_visits

IDS = IdMap(["a", "b", "c", "d"])


def visits(*rows: tuple[str, str, int, str, str]) -> Visits:
    """(visitor, product, minute, basket, kind) of each interaction."""
    frame = pd.DataFrame(rows, columns=["visitor_id", "product_id", "minute", "basket_id", "kind"])
    frame["occurred_at"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(frame["minute"], unit="min")
    frame = frame.sort_values(["visitor_id", "occurred_at", "product_id"], ignore_index=True)
    return read_visits(frame, IDS)


VIEWS = visits(
    ("x", "a", 0, "s1", "view"),
    ("x", "b", 1, "s1", "view"),
    ("x", "c", 2, "s1", "view"),
    ("y", "a", 10, "s2", "view"),
    ("y", "b", 11, "s2", "view"),
    ("z", "d", 20, "s3", "view"),
)
ORDERS = visits(
    ("x", "a", 0, "o1", "purchase"),
    ("x", "b", 100, "o2", "purchase"),
    ("y", "a", 0, "o3", "purchase"),
    ("y", "c", 0, "o3", "purchase"),
    ("y", "b", 200, "o4", "purchase"),
)


def test_followers_count_what_comes_later_in_the_visit() -> None:
    near = fit_followers(VIEWS, 4, most=3).near
    a = dict(zip(near.rows[0].tolist(), near.similarity[0].tolist(), strict=True))
    assert near.rows[0].tolist() == [1, 2, -1]
    assert a[2] / a[1] == pytest.approx(0.6 / 2)
    assert near.rows[2].tolist() == [-1, -1, -1]


def test_followers_count_what_the_next_order_holds_where_two_did_so() -> None:
    near = fit_followers(ORDERS, 4, most=2).near
    assert near.rows[:, 0].tolist() == [1, -1, -1, -1]


def test_onward_is_the_regression_of_what_followed_on_what_was_seen() -> None:
    """Visits a, b, c and a, b: by hand, with whole visits on themselves, for the products of two visits or more (a, b)."""
    near = fit_onward(VIEWS, 4, most=2)
    # cut after a (twice): seen a; after b (once): seen b, and a a step before; then came b, or only c, which is not fitted
    before = np.array([[1.0, 0.0], [1.0, 0.0], [0.4, 1.0]])
    after = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
    whole = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    both = whole.T @ whole
    gram = before.T @ before + both
    penalty = max(10.0, 3.0 * np.diag(gram).mean())
    weights = np.linalg.solve(gram + penalty * np.eye(2), before.T @ after + both)
    a = dict(zip(near.rows[0].tolist(), near.similarity[0].tolist(), strict=True))
    assert a == pytest.approx({0: weights[0, 0], 1: weights[0, 1]}, rel=1e-5)
    assert (near.rows[2:] == -1).all()


def test_onward_reads_nothing_into_the_order_of_a_basket() -> None:
    assert (fit_onward(ORDERS, 4, most=2).rows == -1).all()


def test_sessions_keep_visits_of_two_products_or_more_in_their_order() -> None:
    store = fit_sessions(VIEWS, 4)
    assert store.products.tolist() == [0, 1, 2, 0, 1]
    assert store.starts.tolist() == [0, 3, 5]
    assert store.postings[store.posting_starts[0] : store.posting_starts[1]].tolist() == [1, 0]
    assert store.rarity.tolist() == pytest.approx([0, 0, np.log(2), np.log(2)])


def test_lookalikes_store_frequencies_without_names() -> None:
    store = fit_lookalikes(ORDERS, 4)
    assert len(store.starts) == 3
    vector = slice(*store.starts[[0, 1]])  # the newest buyer first: y with {a, c} then {b}
    assert store.rows[vector].tolist() == [0, 1, 2]
    assert store.values[vector].tolist() == pytest.approx([0.35, 0.5, 0.35])
    history = known_history(History(("a", "c"), np.array([0, 0]), ("purchase",) * 2), IDS, moment=86_400)
    assert store.reached(history)[0].tolist() == [0, 1, 2]


def test_linear_weights_are_the_closed_form() -> None:
    matrix = sparse.csr_matrix(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], float))
    inverse = np.linalg.inv(matrix.toarray().T @ matrix.toarray() + 2 * np.eye(3))
    expected = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(expected, 0)
    assert linear_weights(matrix, l2=2.0) == pytest.approx(expected, abs=1e-5)
    asked = sparse.csr_matrix(np.array([[1.0, 0, 1]]))
    assert linear_scores(matrix, asked, l2=2.0) == pytest.approx(asked.toarray() @ expected, abs=1e-5)
    assert linear_scores(matrix[:2], asked, l2=2.0).shape == (1, 3)


def test_few_visitors_give_the_same_scores_as_many_products_do() -> None:
    matrix = sparse.csr_matrix((np.random.default_rng(0).random((5, 9)) < 0.4).astype(float))
    inverse = np.linalg.inv(matrix.toarray().T @ matrix.toarray() + 3 * np.eye(9))
    weights = -inverse / np.diag(inverse)[None, :]
    np.fill_diagonal(weights, 0)
    assert linear_scores(matrix, matrix[:2], l2=3.0) == pytest.approx(matrix[:2].toarray() @ weights, abs=1e-4)


def test_linear_neighbours_leave_out_what_hardly_anybody_knows() -> None:
    assert (fit_linear(VIEWS, 4).rows == -1).all()


def test_content_knows_words_that_two_products_share() -> None:
    products = pd.DataFrame(
        {
            "name": ["Red cup", "Red pot", "Blue lamp", None],
            "category": [None, None, "Home > Light", "Home > Desk"],
            "brand": [None] * 4,
            "first_seen_at": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03", None]),
            "count_customers": [9, 0, 9, 1],
        }
    )
    content = fit_content(products, least_visitors=3)
    assert content.fresh.tolist() == [3, 1]
    likeness = content.likeness(np.array([0]), np.ones(1), np.arange(4))
    assert likeness == pytest.approx([1, 1, 0, 0], abs=1e-6)
