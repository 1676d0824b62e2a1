"""What every retriever promises, on a shop whose right answer is known."""

import numpy as np
import pytest

from regulars.ids import IdMap
from regulars.models.history import NOTHING, History, Known, known_history
from regulars.models.retrievers.categories import Categories
from regulars.models.retrievers.content import Content
from regulars.models.retrievers.embedding import Embedding
from regulars.models.retrievers.factors import Factors
from regulars.models.retrievers.followers import Followers
from regulars.models.retrievers.lookalikes import Lookalikes, own_frequency
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.popular import Popular
from regulars.models.retrievers.repeat import Repeat
from regulars.models.retrievers.sessions import Sessions
from regulars.models.retrievers.transitions import SHARPNESS, Transitions
from tests.builders import tiny_retrieval

NOW = 1_700_000_000
DAY = 86_400
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
Retriever = (
    Repeat
    | Popular
    | Factors
    | Neighbours
    | Categories
    | Followers
    | Sessions
    | Lookalikes
    | Content
    | Embedding
    | Transitions
)

TINY = tiny_retrieval(IDS)
RETRIEVERS: dict[str, Retriever] = {
    "repeat": TINY.repeat,
    "popular": TINY.popular,
    "factors": TINY.factors,
    "baskets": TINY.baskets,
    "visitors": TINY.visitors,
    "categories": TINY.categories,
    "linear": TINY.linear,
    "followers": TINY.followers,
    "onward": TINY.onward,
    "next_step": TINY.next_step,
    "step_before": TINY.step_before,
    "two_steps": TINY.two_steps,
    "embedding": TINY.embedding,
    "transitions": TINY.transitions,
    "sessions": TINY.sessions,
    "lookalikes": TINY.lookalikes,
    "content": TINY.content,
}
every = pytest.mark.parametrize("retriever", RETRIEVERS.values(), ids=RETRIEVERS)


def known(*products: str) -> Known:
    at = np.array([NOW - DAY * (len(products) - place) for place in range(len(products))])
    return known_history(History(products, at, ["purchase"] * len(products)), IDS, moment=NOW)


@every
@pytest.mark.parametrize("n", [1, 3, 100])
def test_never_more_than_asked_never_twice_never_what_is_not_there(retriever: Retriever, n: int) -> None:
    rows = retriever.candidates(known("tea", "pot", "tea"), n)
    assert len(rows) <= n
    assert len(set(rows.tolist())) == len(rows)
    assert all(0 <= row < len(IDS) for row in rows)


@every
def test_best_first(retriever: Retriever) -> None:
    history = known("tea", "pot", "cup", "tea")
    rows = retriever.candidates(history, 6)
    scores = retriever.scores(history, rows)
    if not isinstance(retriever, Categories):  # its scores are of the category, its order also of the product
        assert (np.diff(scores) <= 1e-6).all()


@every
def test_an_empty_history_is_no_error(retriever: Retriever) -> None:
    nothing = known_history(NOTHING, IDS, moment=NOW)
    rows = retriever.candidates(nothing, 3)
    assert len(rows) == (3 if isinstance(retriever, Popular) else 0)
    assert np.isfinite(retriever.scores(nothing, np.arange(len(IDS)))).all()


@every
def test_the_same_answer_each_time(retriever: Retriever) -> None:
    history = known("axe", "saw")
    assert retriever.candidates(history, 4).tolist() == retriever.candidates(history, 4).tolist()


def test_repeat_counts_recent_purchases_most() -> None:
    at = np.array([NOW - 300 * DAY, NOW - 299 * DAY, NOW - DAY])
    history = known_history(History(("tea", "tea", "pot"), at, ("purchase",) * 3), IDS, moment=NOW)
    assert IDS.ids(Repeat(60.0).candidates(history, 2)) == ["pot", "tea"]
    assert Repeat(60.0).scores(history, IDS.rows(["pot"]))[0] == pytest.approx(0.5 ** (1 / 60))


def test_repeat_leaves_out_what_was_only_looked_at() -> None:
    history = known_history(History(("tea",), np.array([NOW - DAY]), ("view",)), IDS, moment=NOW)
    assert not len(Repeat().candidates(history, 5))


def test_neighbours_find_what_goes_together() -> None:
    assert set(IDS.ids(TINY.baskets.candidates(known("tea"), 2))) == {"pot", "cup"}
    assert set(IDS.ids(TINY.baskets.candidates(known("axe"), 2))) == {"saw", "nail"}
    assert TINY.baskets.source(IDS.rows(["axe", "tea"]), np.ones(2), IDS.row("pot")) == IDS.row("tea")


def test_a_folded_in_visitor_is_the_one_that_least_squares_gives() -> None:
    """Hu, Koren & Volinsky's equation 4 solved by hand: x = (Y'CY + lI)^-1 Y'Cp."""
    history = known("tea", "pot")
    factors = TINY.factors
    vectors = factors.vectors.astype(float)
    confidence, liked = np.ones(len(IDS)), np.zeros(len(IDS))
    confidence[history.products] = 1 + factors.alpha * np.log1p(history.weights)
    liked[history.products] = 1
    left = vectors.T @ np.diag(confidence) @ vectors + factors.regularization * np.eye(vectors.shape[1])
    assert factors.fold_in(history) == pytest.approx(np.linalg.solve(left, vectors.T @ (confidence * liked)))


def test_categories_propose_what_was_never_touched() -> None:
    assert IDS.row("cup") in TINY.categories.candidates(known("tea"), 3)
    assert IDS.row("axe") not in TINY.categories.candidates(known("tea"), 3)


def test_followers_fade_with_every_later_moment_of_the_visit() -> None:
    at = np.array([NOW - 3 * DAY, NOW - 120, NOW - 60])
    history = known_history(History(("axe", "tea", "pot"), at, ("view",) * 3), IDS, moment=NOW)
    scores = dict(zip(IDS.ids(range(6)), TINY.followers.scores(history, np.arange(6)), strict=True))
    assert scores["cup"] == pytest.approx(0.5 + 0.6 * 0.5)
    assert scores["tea"] == pytest.approx(1.0)
    assert scores["saw"] == 0  # of another visit


def test_sessions_weigh_likeness_by_how_late_they_part() -> None:
    """The visit tea, pot has weights 1/2 and 1; visits with tea only match one step earlier, which counts 0.9."""
    history = known_history(History(("tea", "pot"), np.array([NOW - 60, NOW - 30]), ("view",) * 2), IDS, moment=NOW)
    reached = TINY.sessions.all_reached(history)
    found, scores = reached["sessions"]
    assert IDS.ids(found) == ["tea", "pot", "cup"]
    assert scores == pytest.approx([1.5 + 0.9 * 0.5, 1.5 + 1.0, 0.9 * 0.5 + 1.0])
    assert reached["sessions_rarity"][1] == pytest.approx(scores * np.log(3), rel=1e-6)
    assert reached["sessions_after"][1] == pytest.approx([(0.45 + 1.0) * np.exp(-1 / 1.5)])


def test_lookalikes_give_the_mean_basket_of_the_nearest() -> None:
    history = known("tea", "pot")
    assert TINY.lookalikes.scores(history, IDS.rows(["cup", "axe"])) == pytest.approx([0.2 / 300, 0])


def test_own_frequency_fades_by_groups_of_baskets() -> None:
    found, values = own_frequency(known(*["tea"] * 13, "pot"))
    assert IDS.ids(found) == ["tea", "pot"]
    tea = sum((0.9 ** (place % 2) / 2) * (0.7 ** (place // 2) / 7) for place in range(1, 14))
    assert values == pytest.approx([tea, 1 / 14])


def test_content_finds_new_products_by_their_words_alone() -> None:
    assert IDS.ids(TINY.content.candidates(known("tea"), 5)) == ["cup"]
    assert TINY.content.scores(known("tea", "axe"), IDS.rows(["cup"])) == pytest.approx(
        np.log1p(known("tea", "axe").weights[0]) / np.linalg.norm(np.log1p(known("tea", "axe").weights))
    )


def looked(*products: str) -> Known:
    at = NOW - 60 * np.arange(len(products), 0, -1)
    return known_history(History(products, at, ["view"] * len(products)), IDS, moment=NOW)


def test_transitions_mix_what_comes_next_after_each_product_of_the_visit() -> None:
    """Alike products have a cosine of 1, others of 0; nothing is liked more; the latest counts twice as much as the one before."""
    alike, other = np.exp(SHARPNESS), 1.0
    after_tea = alike / (2 * alike + 3 * other)
    assert TINY.transitions.chances(looked("tea"), IDS.rows(["cup", "tea"])) == pytest.approx(
        np.array([[after_tea, 0], [after_tea, 0]]), rel=1e-5
    )
    after_axe = alike / (3 * alike + 2 * other)  # tea is on the screen and never comes next; axe itself may
    of_axe, of_tea = other / (2 * alike + 3 * other), other / (3 * alike + 2 * other)
    mixed = [(2 * after_tea + of_tea) / 3, (2 * of_axe + after_axe) / 3]
    found = TINY.transitions.chances(looked("axe", "tea"), IDS.rows(["cup", "axe"]))
    assert found == pytest.approx(np.array([mixed, [after_tea, of_axe]]), rel=1e-5)


def test_the_chances_of_all_products_sum_to_one() -> None:
    for visit in (["tea"], ["axe", "tea"], ["cup", "axe", "saw"]):
        assert TINY.transitions.chances(looked(*visit), np.arange(len(IDS))).sum(axis=1) == pytest.approx(1, abs=1e-5)
