"""What all retrievers reach in one pass is what each of them reaches alone; candidates are the best of each."""

from dataclasses import replace

import numpy as np
import pytest

from regulars.ids import IdMap
from regulars.models.history import NOTHING, History, Known, known_history
from regulars.models.pairs import NAMES
from regulars.models.retrieval import ALL_OF, BRING, BRING_FACTORS, NO_ROWS, PARTS, Retrieval
from regulars.models.retrievers.embedding import Embedding
from regulars.models.retrievers.followers import Followers
from regulars.models.retrievers.lookalikes import own_frequency
from regulars.models.retrievers.neighbours import Neighbours
from regulars.models.retrievers.reached import Reached, best, scores_at
from regulars.models.retrievers.transitions import Transitions
from tests.builders import random_retrieval, tiny_retrieval
from tests.parts import candidates, clues, pair_features

NOW, DAY = 1_700_000_000, 86_400
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
LONG = History(
    ["tea", "axe", "pot", "tea", "saw", "cup", "nope", "axe"],
    NOW - np.array([90, 60, 60, 30, 2, 1, 1, 0]) * DAY - np.arange(8, 0, -1) * 60,
    ["purchase", "purchase", "purchase", "view", "cart", "view", "view", "other"],
)
VISIT = History(["tea", "axe", "pot"], NOW - np.array([900, 600, 10]), ["view", "cart", "view"])


def alone(retrieval: Retrieval, known: Known) -> dict[str, Reached]:
    newest = known.newest[:10]
    latest, ones = newest[:1], np.ones(len(newest[:1]))
    visit, later = known.visited
    return {
        "baskets": retrieval.baskets.reached(*known.strongest),
        "visitors": retrieval.visitors.reached(*known.strongest),
        "linear": retrieval.linear.reached(known.products, np.ones(len(known.products))),
        "newest": retrieval.baskets.reached(latest, ones),
        "recent": retrieval.baskets.reached(newest, 0.8 ** np.arange(len(newest))),
        "followers": retrieval.followers.reached(known),
        "onward": retrieval.onward.reached(known),
        "following": retrieval.followers.near.reached(latest, ones),
        "next_step": retrieval.next_step.reached(latest, ones),
        "step_before": retrieval.step_before.reached(latest, ones),
        "two_steps": retrieval.two_steps.reached(latest, ones),
        "akin": retrieval.embedding.near.reached(latest, ones),
        "second": retrieval.baskets.reached(newest[1:2], np.ones(len(newest[1:2]))),
        "akin_visit": retrieval.embedding.reached(known),
        "transitions": retrieval.transitions.reached(known),
        "linear_visit": retrieval.linear.reached(visit[:10], 0.6 ** later[:10]),
        **retrieval.sessions.all_reached(known),
        "lookalikes": retrieval.lookalikes.reached(known),
        "own_frequency": own_frequency(known),
    }


@pytest.mark.parametrize("history", [LONG, VISIT, NOTHING], ids=["long", "visit", "nothing"])
def test_each_part_is_what_its_retriever_reaches_alone(history: History) -> None:
    retrieval, known = random_retrieval(IDS), known_history(history, IDS, moment=NOW)
    found, scores, ends = clues(retrieval, known).parts
    wanted = alone(retrieval, known)
    assert tuple(wanted) == PARTS
    for name, first, last in zip(PARTS, [0, *ends[:-1]], ends, strict=True):
        assert found[first:last].tolist() == wanted[name][0].tolist(), name
        assert scores[first:last] == pytest.approx(wanted[name][1], rel=1e-12), name


@pytest.mark.parametrize("allowed", [None, ["cup", "nail"]])
@pytest.mark.parametrize("history", [LONG, VISIT, NOTHING], ids=["long", "visit", "nothing"])
def test_candidates_are_the_best_of_each(history: History, allowed: list[str] | None) -> None:
    retrieval, known = random_retrieval(IDS), known_history(history, IDS, moment=NOW)
    reached, mask = alone(retrieval, known), None if allowed is None else IDS.mask(allowed)
    parts = [best(reached[name], most) for name, most in BRING.items()]
    parts += [retrieval.factors.candidates(known, BRING_FACTORS), retrieval.repeat.candidates(known, 250)]
    parts += [known.newest[:50], retrieval.popular.order[:100], retrieval.categories.candidates(known, 60)]
    parts += [retrieval.content.candidates(known, 10), NO_ROWS if mask is None else retrieval.popular_of(mask, ALL_OF)]
    wanted = np.unique(np.concatenate(parts))
    assert candidates(retrieval, known, allowed=mask).tolist() == wanted[wanted != known.looking_at].tolist()


def test_features_hold_what_retrievers_say() -> None:
    retrieval, known = random_retrieval(IDS), known_history(VISIT, IDS, moment=NOW)
    rows, reached = np.arange(6), alone(retrieval, known)
    made = dict(zip(NAMES, pair_features(retrieval, known, rows, moment=NOW).T, strict=True))
    for feature, part in (("near_baskets", "baskets"), ("near_linear_visit", "linear_visit"), ("follows", "followers"),
                          ("in_sessions_after", "sessions_after"), ("of_lookalikes", "lookalikes")):  # fmt: skip
        np.testing.assert_array_equal(made[feature], scores_at(reached[part], rows).astype(np.float32))
    assert made["visit_count"].tolist() == [1, 1, 0, 1, 0, 0]
    np.testing.assert_array_equal(made["content"], retrieval.content.scores(known, rows).astype(np.float32))
    chances = retrieval.transitions.chances(known, rows)
    assert chances.any()
    assert [made["transition"], made["transition_newest"]] == pytest.approx(chances, rel=1e-6)
    assert made["akin_newest"] == pytest.approx(retrieval.embedding.likeness(known, rows)[:, 0], abs=1e-6)


def test_of_many_that_are_allowed_the_best_of_each_part_come_too() -> None:
    """700 products of which the first 600 are allowed: those far behind in popularity come where a retriever names them."""
    count = 700
    ids = IdMap([f"p{number:03}" for number in range(count)])
    tiny = tiny_retrieval(IDS)
    rows = np.full((count, 1), -1, np.int32)
    rows[0] = 598
    near = Neighbours(rows, np.ones((count, 1), np.float32))
    none = Neighbours(np.full((count, 1), -1, np.int32), np.zeros((count, 1), np.float32))
    repeated = {name: np.resize(getattr(tiny.catalogue, name), count) for name in tiny.catalogue.__dataclass_fields__}
    counts = np.repeat(np.arange(count, 0, -1, dtype=np.float32)[:, None], 4, axis=1)
    sessions = replace(
        tiny.sessions, posting_starts=np.resize(np.zeros(1, np.int64), count + 1), rarity=np.zeros(count, np.float32)
    )
    retrieval = replace(
        tiny, ids=ids, catalogue=replace(tiny.catalogue, **repeated), popular=replace(tiny.popular, counts=counts),
        factors=replace(tiny.factors, vectors=np.zeros((count, 2), np.float32)),
        baskets=near, visitors=none, linear=none, followers=Followers(none), onward=Followers(none, 0.4),
        next_step=none, step_before=none, two_steps=none, transitions=Transitions.none(count),
        embedding=Embedding(np.zeros((count, 2), np.float32), none.rows, none.similarity), sessions=sessions,
        lookalikes=replace(tiny.lookalikes, posting_starts=np.zeros(count + 1, np.int64)),
        content=replace(tiny.content, starts=np.zeros(count + 1, np.int64)),
    )  # fmt: skip
    known = known_history(History(["p000"], np.array([NOW - DAY]), ["purchase"]), ids, moment=NOW)
    allowed = np.arange(count) < 600
    assert 598 in candidates(retrieval, known, allowed=allowed)
    assert len(retrieval.popular_of(allowed, ALL_OF)) == ALL_OF == 500
    assert 599 not in candidates(retrieval, known, allowed=allowed)
    few = candidates(retrieval, known, allowed=np.arange(count) >= 690)
    assert set(range(690, 700)) <= set(few.tolist())
