"""What is packed of a customer's history, and what newer events add to it."""

from datetime import UTC, datetime

import numpy as np
import orjson
import pandas as pd

from regulars.ids import IdMap, Numbered
from regulars.models.history import NOTHING, History, known_history
from serving.services.history import Clock, happened, interactions_in, joined_by_time, pack, unpack

IDS = IdMap(["axe", "cup", "tea"])
NOW = datetime(2024, 6, 1, tzinfo=UTC)
ROWS = pd.DataFrame(
    {
        "product_id": ["tea", "gone", "cup", "tea"],
        "occurred_at": pd.to_datetime(["2024-05-01 10:00", "2024-05-02 00:00", "2024-05-03 00:00", "2024-05-04 00:00"]),
        "kind": ["view", "view", "purchase", "other"],
    }
)


def told(history: History) -> list[tuple[str, int, str]]:
    return list(zip(history.product_ids, history.occurred_at.tolist(), history.kinds, strict=True))


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_what_is_packed_comes_out_again_without_products_that_nobody_knows() -> None:
    body = pack(ROWS, IDS)
    assert interactions_in(body) == 3
    assert told(unpack(body, IDS)) == [
        ("tea", seconds("2024-05-01T10:00"), "view"),
        ("cup", seconds("2024-05-03"), "purchase"),
        ("tea", seconds("2024-05-04"), "other"),
    ]
    assert told(unpack(b"", IDS)) == []


def test_the_newest_500_are_kept() -> None:
    many = pd.concat([ROWS.iloc[[0]]] + [ROWS.iloc[[2]]] * 500)
    assert list(unpack(pack(many, IDS), IDS).product_ids) == ["cup"] * 500


def test_what_an_earlier_version_packed_is_read() -> None:
    body = orjson.dumps({"products": ["tea"], "at": [5], "kinds": ["view"]})
    assert told(unpack(body, IDS)) == [("tea", 5, "view")]
    assert interactions_in(body) == 1


def test_numbers_mean_the_same_to_a_model_as_names_do() -> None:
    model = IdMap(["tea", "pot", "axe", "cup"])
    packed = unpack(pack(ROWS, IDS), IDS)
    named = History(list(packed.product_ids), packed.occurred_at, list(packed.kinds))
    moment = int(NOW.timestamp())
    one, other = known_history(packed, model, moment=moment), known_history(named, model, moment=moment)
    assert one.rows.tolist() == other.rows.tolist() == [0, 3]  # "other" says nothing
    assert one.strength.tolist() == other.strength.tolist()
    assert one.bought.tolist() == other.bought.tolist() == [False, True]


def test_newer_events_come_behind_by_time_also_of_products_that_were_not_published() -> None:
    packed = unpack(pack(ROWS, IDS), IDS)
    axe = joined_by_time(packed, History(["axe"], np.array([seconds("2024-05-03") + 1]), ["cart"]))
    assert list(axe.product_ids) == ["tea", "cup", "axe", "tea"]
    assert isinstance(axe.product_ids, Numbered)
    new = joined_by_time(packed, History(["new"], np.array([seconds("2024-05-09")]), ["cart"]))
    assert list(new.product_ids) == ["tea", "cup", "tea", "new"]
    assert list(new.kinds) == ["view", "purchase", "other", "cart"]
    assert joined_by_time(NOTHING, packed) is packed
    assert joined_by_time(packed, NOTHING) is packed


def test_events_that_came_late_are_where_they_happened() -> None:
    clock = Clock(int(NOW.timestamp()), 1_000, NOW)
    now = int(NOW.timestamp())
    newest_first = [
        (1_000_000 * (now - 60) + 999_999, '[["tea", "view"]]'),  # came last, happened first
        (1_000_000 * (now + 86_400), '[["axe", "cart"]]'),  # a clock that is ahead
        (1_000_000 * (now - 5), '[["cup", "view"], ["pot", "view"]]'),
    ]
    expected = [("tea", 940, "view"), ("cup", 995, "view"), ("pot", 995, "view"), ("axe", 999, "cart")]
    assert told(happened(newest_first, clock)) == expected
    assert told(joined_by_time(NOTHING, happened(newest_first, clock))) == expected
    assert told(happened((), clock)) == []
