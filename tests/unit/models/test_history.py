"""A long history is read from its end, and says what all of it would."""

from dataclasses import fields

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from regulars.ids import IdMap
from regulars.models.history import NEWEST, History, Known, known_history, told_history

IDS = IdMap(f"p{number}" for number in range(300))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_the_end_of_a_long_history_says_what_all_of_it_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count, unknown = int(rng.integers(0, 12 * NEWEST)), int(rng.choice([0, 300, 30_000]))
    products = [f"p{number}" for number in rng.integers(0, 300 + unknown, count)]
    kinds = rng.choice(["purchase", "view", "other"], count, p=[0.2, 0.2, 0.6]).tolist()
    at = np.sort(rng.integers(0, 10**6, count))
    history, moment = History(products, at, kinds), int(rng.integers(0, 10**6 + 1))
    whole, ended = told_history(history, IDS).known(moment), known_history(history, IDS, moment=moment)
    for field in fields(Known):
        np.testing.assert_array_equal(getattr(ended, field.name), getattr(whole, field.name))


def test_no_more_is_looked_up_than_the_end_that_is_read() -> None:
    count = 100 * NEWEST
    history = History(["p1"] * count, np.arange(count), ["view"] * count)
    assert len(told_history(history, IDS, moment=count).rows) == NEWEST
    assert len(told_history(history, IDS, moment=count).known(count).rows) == NEWEST
