"""What is given is the same whether a worker makes it by itself or completes what was sketched beside the model."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from regulars.ids import IdMap
from regulars.models.asking import Answer, Recommendation
from regulars.models.recommendation_texts import BESIDE, PLAIN
from serving.services.asked import Question
from serving.services.given import Sketch, completed, given, sketch
from serving.services.shelf import Shelf

NOW = datetime(2024, 6, 1, tzinfo=UTC)
NAMES = {
    "tea": "Green tea",
    "pot": None,
    "cup": 'A "cup"',
    "a\0b": "\0",
    '"text":"\\u0000"': '"text":"\\u0000"',
    "\u00e4": "\u2603",
}
SHELF = Shelf(
    1,
    NOW,
    NOW,
    {},
    IdMap(list(NAMES)),
    ["{}" if name is None else json.dumps({"name": name}) for name in NAMES.values()],
    (),
)
CODES = ("bought_before", "popular_in_country", *PLAIN, *BESIDE)
products = st.sampled_from([*NAMES, "unknown"])
items = st.builds(
    Recommendation,
    product_id=products,
    rank=st.integers(1, 100),
    score=st.floats(0, 1),
    reason_code=st.sampled_from(CODES),
    reason_product_id=st.none() | products,
    propensity=st.sampled_from([1.0, 0.25]),
    every_days=st.none() | st.integers(1, 90),
)
answers = st.builds(Answer, st.lists(items, max_size=6).map(tuple), st.sampled_from([None, "no_history"]))


@over(answers, st.sampled_from(["home", "email"]), st.sampled_from([None, "DE"]))
def test_a_sketch_is_completed_to_what_is_given(answer: Answer, placement: str, country: str | None) -> None:
    question = Question(customer_id="ann", placement=placement, country=country)
    told = json.loads(json.dumps(sketch(answer, placement=placement, country=country)))  # it comes from another process
    made = completed(Sketch(*told), SHELF, policy="recommender-3")
    assert made == given(SHELF, [question], [answer], policy="recommender-3")


@pytest.mark.parametrize(("product_id", "text"), [("tea", "Green tea"), ("cup", 'A "cup"'), ("pot", "what you chose")])
def test_a_sketch_takes_names_as_they_are_by_then(product_id: str, text: str) -> None:
    answer = Answer((Recommendation("axe", 1, 0.5, "bought_together", product_id),), None)
    made = completed(sketch(answer, placement="home", country=None), SHELF, policy="p")
    assert json.loads(made.body)["items"][0]["reason"]["text"] == f"Often bought together with {text}"
