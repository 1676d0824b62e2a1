"""A ranker that learns from clicks on what was shown, where the places in a list are looked at unequally."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from regulars.models.history import History, known_history
from regulars.models.pairs import NAMES
from regulars.models.ranker import Ranker
from regulars.models.retrieval import Retrieval
from tests.builders import at, lake_tables, shop_orders
from tests.parts import pair_features
from training.impressions import impression_lessons, joined
from training.lessons import Lessons, fit_ranker
from training.recommender import PARAMS, snapshot_at, train_recommender
from training.visits import seconds

AT, UNTIL = at("2024-05-01"), at("2024-06-01")
CUSTOMERS, SHOWN_TO, PRODUCTS, KINDS, SLOTS, LENGTH = 240, 160, 48, 6, 8, 12
CHOSEN = PARAMS | {"trees": 60, "min_data_in_leaf": 20}
QUICK = {"trees": 10, "min_data_in_leaf": 20, "snapshots": 2, "visitors": 120, "models": 1}
HOUR = timedelta(hours=1)


def wanted(customer: int) -> NDArray[np.float64]:
    """The true chance that a customer who looks at a product clicks on it: each likes two of six kinds."""
    kinds = np.arange(PRODUCTS) % KINDS
    return np.where((kinds == customer % KINDS) | (kinds == (customer // KINDS) % KINDS), 0.7, 0.1)


def made_shop(*, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Orders by taste before the window; in it lists that put dear products first, whoever asks, and clicks on them.

    A click is made with the true chance, where the place is looked at: the first always, the tenth one time in ten.
    """
    rng = np.random.default_rng(seed)
    rows: dict[str, list[dict[str, Any]]] = {"orders": [], "impressions": [], "events": []}
    start = AT.replace(tzinfo=None)
    for customer in range(CUSTOMERS):
        who, want = f"c{customer}", wanted(customer)
        for number in range(6):
            day = start - timedelta(days=float(rng.uniform(1, 120)))
            for product in rng.choice(PRODUCTS, size=3, replace=False, p=want / want.sum()):
                rows["orders"].append(
                    {"order_id": f"{who}-{number}", "customer_id": who, "product_id": f"p{product}", "ordered_at": day,
                     "quantity": 1.0, "unit_price": 1.0 + product}
                )  # fmt: skip
        for number in range(SLOTS if customer < SHOWN_TO else 0):
            when = start + timedelta(days=float(rng.uniform(0, 25)))
            drawn = rng.choice(PRODUCTS, size=LENGTH, replace=False)
            listed = drawn[np.argsort(-(drawn + rng.normal(0, 4, size=LENGTH)))]
            told = {"recommendation_id": f"r{customer}-{number}", "customer_id": who}
            for rank, product in enumerate(listed, 1):
                rows["impressions"].append(
                    told | {"placement": "home", "product_id": f"p{product}", "shown_at": when, "rank": rank}
                )
                if rng.random() < want[product] / rank:
                    rows["events"].append(
                        told | {"event_id": f"{customer}-{number}-{rank}", "name": "Product Clicked",
                                "product_id": f"p{product}", "occurred_at": when + timedelta(minutes=1)}
                    )  # fmt: skip
    rows["products"] = [{"product_id": f"p{n}", "category": f"k{n % KINDS}", "price": 1.0 + n} for n in range(PRODUCTS)]
    return rows


def fit(lessons: list[Lessons]) -> Ranker | None:
    return fit_ranker(lessons, chosen=CHOSEN, seed=0)


def histories(rows: dict[str, list[dict[str, Any]]]) -> dict[int, History]:
    """What the customers to whom nothing was shown bought before the window."""
    bought = pd.DataFrame(rows["orders"]).sort_values("ordered_at")
    found = {}
    for name, part in bought.groupby("customer_id"):
        if int(str(name)[1:]) >= SHOWN_TO:
            history = History(part["product_id"].tolist(), seconds(part["ordered_at"]), ["purchase"] * len(part))
            found[int(str(name)[1:])] = history
    return found


def rightly_ordered(ranker: Ranker | None, retrieval: Retrieval, known: dict[int, History]) -> float:
    """The share of pairs of products, one truly wanted and one not, that are in the right order, over customers."""
    assert ranker is not None
    rows, moment = np.arange(len(retrieval.ids)), int(AT.timestamp())
    numbers = [int(name[1:]) for name in retrieval.ids.ids(rows)]
    shares = []
    for customer, history in known.items():
        then = known_history(history, retrieval.ids, moment=moment)
        scores = ranker.predict(pair_features(retrieval, then, rows, moment=moment))
        want = wanted(customer)[numbers]
        above = scores[want > 0.5][:, None] > scores[want < 0.5]
        shares.append(above.mean())
    return float(np.mean(shares))


def test_with_positions_the_true_preference_is_found_that_clicks_as_they_come_hide(tmp_path: Path) -> None:
    rows = made_shop(seed=1)
    tables = lake_tables(ibis.duckdb.connect(), tmp_path, **rows)
    snapshot = snapshot_at(tables, AT, UNTIL, seed=0)
    shown = impression_lessons(tables, snapshot, as_of=UNTIL, most=2_000)
    assert shown is not None
    assert shown.positions is not None
    first = shown.grades[shown.positions == 1].mean() / shown.grades[shown.positions > 6].mean()
    assert first > 3  # the first place is clicked several times as often
    known = histories(rows)
    fair, naive = (
        rightly_ordered(fit([part]), snapshot.retrieval, known) for part in (shown, replace(shown, positions=None))
    )
    assert naive < 0.95
    assert 1 - fair < 0.6 * (1 - naive)  # a third of the wrong pairs are left, by a margin


def test_a_position_that_a_whole_example_shares_changes_nothing() -> None:
    rng = np.random.default_rng(0)
    features = np.zeros((900, len(NAMES)), np.float32)
    features[:, :3] = rng.normal(size=(900, 3))
    grades = (features[:, 0] + rng.normal(size=900) > 1).astype(np.int8)
    plain = Lessons(features, grades, np.full(90, 10))
    neutral = replace(plain, positions=np.zeros(900, np.int32))
    apart = replace(plain, positions=np.repeat(np.arange(90, dtype=np.int32) % 3, 10))
    scores = [fitted.predict(features) for part in (plain, neutral, apart) if (fitted := fit([part])) is not None]
    assert len(scores) == 3
    assert scores[0].std() > 0.1
    np.testing.assert_allclose(scores[1], scores[0], rtol=1e-6)
    np.testing.assert_allclose(scores[2], scores[0], rtol=1e-6)
    assert joined([plain, plain]).positions is None
    mixed = joined([plain, apart]).positions
    assert mixed is not None
    assert mixed[:900].max() == 0


def test_lessons_of_new_products_keep_their_positions() -> None:
    features = np.zeros((4, len(NAMES)), np.float32)
    features[1, NAMES.index("bought_days")] = 1
    new = Lessons(features, np.array([0, 1, 1, 0], np.int8), np.array([4]), np.array([1, 2, 3, 4], np.int32))
    assert new.of_new_products.positions is not None
    assert new.of_new_products.positions.tolist() == [1, 3, 4]


def test_a_slot_becomes_what_was_known_when_it_was_shown(tmp_path: Path) -> None:
    rows = made_shop(seed=1)
    rows["impressions"] = [row for row in rows["impressions"] if row["recommendation_id"] == "r3-0"]
    when = rows["impressions"][0]["shown_at"]
    told = {"customer_id": "c3", "recommendation_id": "r3-0", "name": "Product Clicked"}
    rows["events"] = [
        told | {"event_id": "x", "product_id": rows["impressions"][4]["product_id"], "occurred_at": when + HOUR},
        told | {"event_id": "y", "product_id": "p1", "recommendation_id": None, "occurred_at": when - HOUR},
    ]
    rows["impressions"].append(rows["impressions"][0] | {"product_id": "unknown", "rank": 13})
    beside = [row | {"placement": "product"} for row in rows["impressions"]]

    def lessons(name: str, **more: list[dict[str, Any]]) -> Lessons | None:
        (tmp_path / name).mkdir()
        tables = lake_tables(ibis.duckdb.connect(), tmp_path / name, **(rows | more))
        return impression_lessons(tables, snapshot_at(tables, AT, UNTIL, seed=0), as_of=UNTIL, most=10)

    made = lessons("known")
    assert made is not None
    assert made.sizes.tolist() == [LENGTH]
    assert made.positions is not None
    assert made.grades[made.positions == 5].tolist() == [1]
    assert made.grades.sum() == 1
    assert sorted(made.positions) == list(range(1, LENGTH + 1))
    assert set(made.features[:, NAMES.index("days_since_any")].round(3)) == {np.float32(round(1 / 24, 3))}
    late = {"occurred_at": when - HOUR / 2, "received_at": when + HOUR, "event_id": "z", "product_id": "p2"}
    later = lessons("later", events=[*rows["events"], rows["events"][1] | late])
    assert later is not None
    np.testing.assert_array_equal(later.features, made.features)
    assert lessons("beside", impressions=beside) is None
    assert lessons("nobody", impressions=[row | {"customer_id": "nobody"} for row in rows["impressions"]]) is None


def test_training_learns_from_impressions_as_of_a_moment_and_is_the_same_without(tmp_path: Path) -> None:
    orders = shop_orders(customers=150, days=300, end=at("2024-07-01"), seed=3).to_dict("records")
    shown, clicks = [], []
    for number in range(400):
        when = pd.Timestamp("2024-03-01") + pd.Timedelta(hours=8 * number)
        told = {"recommendation_id": f"r{number}", "customer_id": f"c{number % 150}"}
        shown += [
            told | {"placement": "home", "product_id": f"p{place}", "shown_at": when, "rank": place + 1}
            for place in range(8)
        ]
        clicks.append(told | {"event_id": f"e{number}", "name": "Product Clicked", "product_id": f"p{number % 8}",
                              "occurred_at": when + HOUR})  # fmt: skip

    def trained(name: str, **rows: list[Any]) -> tuple[str, ...]:
        (tmp_path / name).mkdir()
        tables = lake_tables(ibis.duckdb.connect(), tmp_path / name, orders=orders, **rows)
        model = train_recommender(tables, as_of=UNTIL, params=QUICK).model
        assert model.ranker is not None
        assert model.explorer is not None
        return model.ranker.texts + model.explorer.texts

    def before(rows: list[Any], column: str) -> list[Any]:
        return [row for row in rows if row[column] < pd.Timestamp("2024-06-01")]

    elsewhere = [row | {"product_id": None, "name": "Page Viewed", "recommendation_id": None} for row in clicks]
    without = trained("without", events=elsewhere)
    strangers = [row | {"customer_id": None} for row in shown]  # so that no order of a customer follows
    assert trained("unfollowed", events=elsewhere, impressions=strangers) == without
    told = trained("followed", events=clicks, impressions=shown)
    assert told != without
    cut = trained("cut", events=before(clicks, "occurred_at"), impressions=before(shown, "shown_at"))
    assert len(before(shown, "shown_at")) < len(shown)
    assert cut == told
