from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from regulars.errors import ArtifactError
from regulars.ids import IdMap
from regulars.models.history import NOTHING, History, done_with, known_history
from regulars.models.pairs import NAMES
from regulars.models.recommender import Context, Recommender
from tests.builders import tiny_retrieval
from tests.parts import pair_features

NOW = 1_700_000_000
DAY = 86_400
IDS = IdMap(["tea", "pot", "cup", "axe", "saw", "nail"])
TEA = History(("tea",), np.array([NOW - DAY]), ("purchase",))


@pytest.fixture
def model() -> Recommender:
    return Recommender(tiny_retrieval(IDS), None, about={"as_of": "2023-11-01T00:00:00+00:00"})


def ids(answer: object) -> list[str]:
    return [item.product_id for item in answer.items]  # type: ignore[attr-defined]


def test_own_purchases_first_then_what_goes_with_them(model: Recommender) -> None:
    answer = model.recommend(TEA, Context(moment=NOW), n=3)
    assert ids(answer)[0] == "tea"
    assert set(ids(answer)[1:]) == {"pot", "cup"}
    assert [item.rank for item in answer.items] == [1, 2, 3]
    assert [item.reason_code for item in answer.items] == ["bought_before", "bought_together", "bought_together"]
    assert answer.fallback is None


def test_nobody_known_gets_popular_products_and_is_told_so(model: Recommender) -> None:
    answer = model.recommend(NOTHING, Context(moment=NOW), n=2)
    assert ids(answer) == ["tea", "pot"]
    assert answer.fallback == "no_history"


def test_a_history_of_unknown_products_is_no_history(model: Recommender) -> None:
    unknown = History(("?",), np.array([NOW - 1]), ("view",))
    assert model.recommend(unknown, Context(moment=NOW), n=6).fallback == "no_history"


def test_what_comes_at_or_after_the_moment_changes_nothing(model: Recommender) -> None:
    later = History(("tea", "axe"), np.array([NOW - DAY, NOW]), ("purchase", "purchase"))
    assert model.recommend(later, Context(moment=NOW), n=6) == model.recommend(TEA, Context(moment=NOW), n=6)


@pytest.mark.parametrize(("repeat", "kept"), [("only", ["tea"]), ("never", ["pot", "cup", "axe", "saw", "nail"])])
def test_repeat(model: Recommender, repeat: str, kept: list[str]) -> None:
    assert sorted(ids(model.recommend(TEA, Context(moment=NOW, repeat=repeat), n=6))) == sorted(kept)


def test_what_is_looked_at_right_now_is_not_what_comes_next(model: Recommender) -> None:
    looking = History(("tea", "pot"), np.array([NOW - DAY, NOW - 60]), ("purchase", "view"))
    assert "pot" not in ids(model.recommend(looking, Context(moment=NOW), n=6))
    assert "pot" in ids(model.recommend(looking, Context(moment=NOW + DAY), n=6))


def test_filters_hold_for_what_fills_up_as_well(model: Recommender) -> None:
    allowed = model.mask(["saw", "nail", "pot"])
    context = Context(moment=NOW, allowed=allowed, exclude=frozenset({"nail"}))
    assert sorted(ids(model.recommend(TEA, context, n=6))) == ["pot", "saw"]


def test_a_products_page_shows_what_goes_with_it_and_never_itself(model: Recommender) -> None:
    context = Context(moment=NOW, placement="product", product_ids=("axe",))
    answer = model.recommend(TEA, context, n=5)
    assert set(ids(answer)[:2]) == {"saw", "nail"}
    assert "axe" not in ids(answer)
    assert len(ids(answer)) == 5
    assert answer.items[0].reason_product_id == "axe"


def test_similar_and_bought_together(model: Recommender) -> None:
    for answer in (model.similar("axe", n=2), model.bought_together("axe", n=2)):
        assert set(ids(answer)) == {"saw", "nail"}
        assert answer.fallback is None
    assert model.similar("?", n=2).fallback == "nothing_known_of_product"


def test_many_at_once_are_the_same_as_one_by_one(model: Recommender) -> None:
    histories = [TEA, NOTHING, History(("axe", "saw"), np.array([NOW - 9, NOW - 3]), ("view", "cart"))]
    contexts = [Context(moment=NOW), Context(moment=NOW), Context(moment=NOW, repeat="never")]
    together = model.recommend_many(histories, contexts, n=4)
    assert together == [model.recommend(h, c, n=4) for h, c in zip(histories, contexts, strict=True)]


def test_saved_and_loaded_it_answers_the_same(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert Recommender.load(tmp_path).recommend(TEA, Context(moment=NOW), n=6) == model.recommend(
        TEA, Context(moment=NOW), n=6
    )


def test_saved_and_loaded_transitions_are_the_same(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path)
    before, after = model.retrieval.transitions, Recommender.load(tmp_path).retrieval.transitions
    for array in fields(before):
        assert np.array_equal(getattr(after, array.name), getattr(before, array.name))


def test_an_altered_artifact_is_refused(model: Recommender, tmp_path: Path) -> None:
    model.save(tmp_path)
    file = tmp_path / "popular-counts.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactError, match=r"popular-counts\.npy was altered"):
        Recommender.load(tmp_path)


def test_pair_features_of_a_known_history(model: Recommender) -> None:
    history = History(("tea", "pot", "tea"), NOW - DAY * np.array([20, 20, 10]), ("purchase",) * 3)
    known = model.retrieval
    rows = known.ids.rows(["tea", "axe"])
    values = pair_features(known, known_history(history, IDS, moment=NOW), rows, moment=NOW)
    tea, axe = (dict(zip(NAMES, row, strict=True)) for row in values)
    assert tea["bought_days"] == 2
    assert tea["days_since_bought"] == pytest.approx(10)
    assert tea["own_gap_days"] == pytest.approx(10)
    assert tea["own_overdue"] == pytest.approx(1)
    assert tea["bought_faded_30d"] == pytest.approx(0.5 ** (20 / 30) + 0.5 ** (10 / 30))
    assert tea["own_basket_share"] == pytest.approx(1)
    assert tea["place_from_end"] == 0
    assert tea["category_share"] == pytest.approx(1)
    assert axe["bought_days"] == 0
    assert np.isnan(axe["own_gap_days"])
    assert axe["category_share"] == 0
    assert axe["count_baskets"] == tea["count_baskets"] == 2
    assert tea["repeat_share"] == pytest.approx(1 / 3)


def test_a_filter_that_three_products_meet_gives_those_three(model: Recommender) -> None:
    allowed = model.mask(["nail", "cup", "saw"])
    for placement, page in (("home", ()), ("product", ("tea",)), ("cart", ("axe", "tea"))):
        context = Context(moment=NOW, allowed=allowed, placement=placement, product_ids=page)
        assert sorted(ids(model.recommend(TEA, context, n=10))) == ["cup", "nail", "saw"]


def test_a_given_list_is_ranked_and_nothing_else(model: Recommender) -> None:
    answer = model.recommend(TEA, Context(moment=NOW, candidates=("nail", "pot", "tea", "?")), n=10)
    assert ids(answer) == ["tea", "pot", "nail"]


def test_after_an_order_its_products_are_bought_and_not_proposed(model: Recommender) -> None:
    answer = model.recommend(NOTHING, Context(moment=NOW, placement="order", product_ids=("axe",)), n=2)
    assert set(ids(answer)) == {"saw", "nail"}
    assert answer.fallback is None
    assert answer.items[0].reason_product_id == "axe"


def test_diversity_changes_what_stands_together(model: Recommender) -> None:
    bought = History(("tea", "pot", "cup"), NOW - DAY * np.array([3, 2, 1]), ("purchase",) * 3)
    plain = ids(model.recommend(bought, Context(moment=NOW), n=2))
    mixed = ids(model.recommend(bought, Context(moment=NOW, diversity=0.9), n=2))
    assert set(plain) < {"tea", "pot", "cup"}
    assert mixed[0] == plain[0]
    assert mixed[1] in {"axe", "saw", "nail"}
    assert ids(model.recommend(bought, Context(moment=NOW, placement="email", diversity=0.0), n=2)) == plain


def test_one_variant_of_each_product(model: Recommender) -> None:
    family = np.array([0, 0, -1, 1, 1, 1], np.int32)
    catalogue = replace(model.retrieval.catalogue, family=family)
    model = Recommender(replace(model.retrieval, catalogue=catalogue), None, about={})
    assert ids(model.recommend(TEA, Context(moment=NOW), n=6)) == ["tea", "cup", "axe"]
    assert ids(model.recommend(NOTHING, Context(moment=NOW), n=6)) == ["tea", "cup", "axe"]
    assert ids(model.similar("saw", n=6)) == ["tea", "cup"]


def test_what_came_back_for_its_quality_is_held_back_but_from_who_bought_it_or_named_it(model: Recommender) -> None:
    held = np.array([True, True, False, False, False, False])
    catalogue = replace(model.retrieval.catalogue, held_back=held)
    model = Recommender(replace(model.retrieval, catalogue=catalogue), None, about={})
    assert "tea" in ids(model.recommend(TEA, Context(moment=NOW), n=6))
    assert "pot" not in ids(model.recommend(TEA, Context(moment=NOW), n=6))
    assert not {"tea", "pot"} & set(ids(model.recommend(NOTHING, Context(moment=NOW), n=6)))
    assert ids(model.recommend(NOTHING, Context(moment=NOW, candidates=("pot",)), n=6)) == ["pot"]


def test_pinned_products_come_first_and_steered_ones_move(model: Recommender) -> None:
    context = Context(moment=NOW, pinned=("nail", "tea"), exclude=frozenset({"cup"}))
    assert ids(model.recommend(TEA, context, n=3))[:2] == ["nail", "tea"]
    factors = np.array([0.001, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert ids(model.recommend(TEA, Context(moment=NOW, steering=factors), n=6))[0] != "tea"


def test_who_has_no_history_gets_what_is_popular_in_their_country(model: Recommender) -> None:
    answer = model.recommend(NOTHING, Context(moment=NOW, country="DE"), n=3)
    assert ids(answer) == ["axe", "saw", "tea"]
    assert [item.reason_code for item in answer.items] == ["popular_in_country", "popular_in_country", "popular"]
    assert ids(model.recommend(NOTHING, Context(moment=NOW, country="FR"), n=2)) == ["tea", "pot"]


def test_new_products_get_their_share_of_places_and_say_how_likely_they_were(model: Recommender) -> None:
    found = {
        item.product_id: item.propensity
        for seed in range(20)
        for item in model.recommend(NOTHING, Context(moment=NOW, explore=0.5, seed=seed), n=2).items
    }
    assert found == {"tea": 1.0, "cup": 0.5, "nail": 0.5}
    assert ids(model.recommend(NOTHING, Context(moment=NOW, explore=0.1), n=2)) == ["tea", "pot"]


def test_ten_thousand_events_still_answer(model: Recommender) -> None:
    at = NOW - 10_000 + np.arange(10_000)
    history = History([IDS.to_json()[place % 6] for place in range(10_000)], at, ["view"] * 10_000)
    assert len(ids(model.recommend(history, Context(moment=NOW + DAY), n=6))) == 6


def test_how_often_a_product_was_bought_is_told_from_three_days_on() -> None:
    ids = IdMap(["tea", "cup"])
    days = [0, 20, 20, 41, 50]
    history = History(("tea", "tea", "cup", "tea", "cup"), np.array(days) * 86_400, ("purchase",) * 5)
    known = known_history(history, ids, moment=60 * 86_400)
    assert (done_with(known, 0).every_days, done_with(known, 1).every_days) == (20, None)
