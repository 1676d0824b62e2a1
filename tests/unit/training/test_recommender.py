"""A recommender learnt on made shops."""

from pathlib import Path

import ibis
import numpy as np
import pandas as pd
import pytest

from regulars.errors import DataError, MissingData
from regulars.models.history import History
from regulars.models.recommender import Context, Recommender
from tests.builders import at, lake_tables, shop_orders
from training.lessons import fit_chances
from training.recommender import train_recommender
from training.retrieving import fit_retrieval, read_shop

BOTH = {"popular", "personal top", "BM25 item-kNN", "implicit ALS"}
END = at("2024-06-01")
SMALL = {"trees": 30, "min_data_in_leaf": 20}


@pytest.fixture(scope="module")
def orders() -> list[dict[str, object]]:
    return shop_orders(customers=150, days=300, end=at("2024-07-01"), seed=3).to_dict("records")


def shop(folder: Path, **rows: list[dict[str, object]]) -> dict[str, ibis.Table]:
    return lake_tables(ibis.duckdb.connect(), folder, **rows)


def test_it_stands_beside_its_baselines_and_beats_popularity(orders: list, tmp_path: Path) -> None:
    trained = train_recommender(shop(tmp_path, orders=orders), as_of=END, params=SMALL)
    ndcg = trained.table[trained.table["metric"] == "ndcg@20"].set_index("model")["value"]
    assert set(ndcg.index) == {*BOTH, "EASE", "TIFU-KNN", "regulars"}
    assert ndcg["regulars"] > ndcg["popular"]
    assert trained.metrics["ndcg_at_20"] == ndcg["regulars"]
    assert (trained.table["low"] <= trained.table["value"]).all()
    metrics = set(trained.table["metric"])
    assert {
        f"{name}@20{side}" for name in ("ndcg", "recall", "mrr", "hit rate") for side in ("", " of repeats", " of new")
    } <= metrics
    assert {"coverage@20", "novelty@20", "popularity@20"} <= metrics
    ours = trained.table[trained.table["model"] == "regulars"]
    assert (ours[["difference", "difference_low", "difference_high"]] == 0).all().all()


def test_lists_of_new_products_and_what_scores_come_to_are_judged_too(
    orders: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.judging.LEAST_CHECKED", 10)  # a small shop
    table = train_recommender(shop(tmp_path, orders=orders), as_of=END, params=SMALL).table
    wide = table.pivot(index="model", columns="metric", values="value")
    asked, mixed = wide["recall@20, repeat=never"], wide["recall@20 of new"]
    assert set(asked.dropna().index) == {*BOTH, "EASE", "TIFU-KNN", "regulars"}
    assert (asked >= mixed).all()  # the same products are looked for, and nothing else takes a place
    assert asked["personal top"] > mixed["personal top"]
    said = table[table["metric"] == "ece of score@20"]
    assert list(said["model"]) == ["regulars"]
    assert 0 <= said["low"].item() <= said["value"].item() <= said["high"].item() < 0.5


def test_scores_are_probabilities_in_falling_order_also_for_what_is_new(orders: list, tmp_path: Path) -> None:
    model = train_recommender(shop(tmp_path, orders=orders), as_of=END, params=SMALL).model
    assert model.about["score"] == "probability of a purchase within 28 days"
    moment = int(END.timestamp())
    history = History(("p1", "p2", "p1"), np.array([moment - 30, moment - 20, moment - 10]) - 86_400, ("purchase",) * 3)
    for repeat in ("auto", "never"):
        answer = model.recommend(history, Context(moment=moment, repeat=repeat), n=30)
        scores = np.array([item.score for item in answer.items])
        assert (np.diff(scores) <= 0).all()
        assert 0 <= scores.min() < scores.max() <= 1
    assert not {"p1", "p2"} & {item.product_id for item in answer.items}


def test_chances_are_the_shares_that_came_true() -> None:
    scores = np.repeat([0.0, 1.0, 2.0], 4)
    hits = np.array([0, 0, 0, 0, 1, 0, 0, 0, 1, 1, 1, 0], dtype=bool)
    chances = fit_chances(scores, hits)
    assert chances is not None
    assert chances.of(np.array([-5.0, 0.0, 1.0, 2.0])).tolist() == [0.0, 0.0, 0.25, 0.75]
    assert fit_chances(scores, np.zeros(12, dtype=bool)) is None


def test_what_is_not_known_yet_has_no_influence(orders: list, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("whole", "cut", "again")]
    for folder in folders:
        folder.mkdir()
    whole, cut = (
        shop(folders[0], orders=orders),
        [row for row in orders if row["ordered_at"] < pd.Timestamp("2024-06-01")],
    )
    assert len(cut) < len(orders)
    saved = []
    for tables in (whole, shop(folders[1], orders=cut), shop(folders[2], orders=cut[::-1])):
        folder = tmp_path / f"model-{len(saved)}"
        folder.mkdir()
        train_recommender(tables, as_of=END, params=SMALL).model.save(folder)
        saved.append({file.name: file.read_bytes() for file in sorted(folder.iterdir())})
    assert saved[0] == saved[1] == saved[2]


def test_a_shop_that_only_has_sessions_learns_the_next_product(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    events = []
    for session in range(400):
        start = pd.Timestamp("2024-05-01") + pd.Timedelta(minutes=90 * session)
        first = int(rng.integers(10))
        for step in range(4):
            events.append(
                {
                    "event_id": f"{session}-{step}",
                    "occurred_at": start + pd.Timedelta(minutes=step),
                    "name": "Product Viewed",
                    "anonymous_id": f"v{session}",
                    "session_id": f"s{session}",
                    "product_id": f"p{(first + step) % 10}",
                }
            )
    trained = train_recommender(shop(tmp_path, events=events), as_of=END, params=SMALL)
    ndcg = trained.table[trained.table["metric"] == "ndcg@20"].set_index("model")["value"]
    assert set(ndcg.index) == {*BOTH, "EASE", "VMIS-kNN", "regulars"}
    assert ndcg["regulars"] > ndcg["popular"]
    mrr = trained.table[trained.table["metric"] == "mrr@20 of next"].set_index("model")["value"]
    assert mrr["regulars"] > 0.9
    moment = int(END.timestamp())
    seen = History(("p3", "p4"), np.array([moment - 60, moment - 30]), ("view", "view"))
    answer = trained.model.recommend(seen, Context(moment=moment, repeat="auto"), n=2)
    assert "p5" in [item.product_id for item in answer.items]


def test_variants_countries_and_what_came_back_are_learnt_as_of_the_moment(orders: list, tmp_path: Path) -> None:
    bought = [row for row in orders if row["ordered_at"] < pd.Timestamp(END.date())]
    people = sorted({str(row["customer_id"]) for row in bought})
    countries = {person: "DE" if place % 2 else "FR" for place, person in enumerate(people)}
    last = max(row["ordered_at"] for row in bought)
    back = [
        {"return_id": f"r{number}", "order_id": bought[0]["order_id"], "product_id": "p2", "reason": "quality",
         "returned_at": last, "quantity": 100.0}
        for number in range(5)
    ]  # fmt: skip
    later = [
        row | {"return_id": f"x{row['return_id']}", "product_id": "p3", "returned_at": pd.Timestamp("2024-06-02")}
        for row in back
    ]
    tables = shop(
        tmp_path,
        orders=orders,
        customers=[{"customer_id": name, "country": country} for name, country in countries.items()],
        products=[{"product_id": "p5", "parent_id": "p1"}, {"product_id": "p1"}],
        returns=[*back, *later],
    )
    rows, products = read_shop(tables, as_of=END)
    found = fit_retrieval(rows, products, as_of=END, seed=0)
    family = dict(zip(found.ids.to_json(), found.catalogue.family.tolist(), strict=True))
    assert family["p1"] == family["p5"] >= 0
    assert {family[name] for name in family if name not in {"p1", "p5"}} == {-1}
    assert found.ids.ids(np.flatnonzero(found.catalogue.held_back)) == ["p2"]
    recent = [
        row
        for row in bought
        if row["ordered_at"] >= pd.Timestamp("2024-03-03") and countries[str(row["customer_id"])] == "DE"
    ]
    buyers = pd.DataFrame(recent).groupby("product_id")["customer_id"].nunique()
    assert found.countries.names == ("DE", "FR")
    assert buyers[found.ids.ids(found.countries.of("DE"))[0]] == buyers.max()


def test_a_tiny_shop_is_answered_without_a_ranker(tmp_path: Path) -> None:
    rows = [
        {"order_id": f"o{n}", "customer_id": "ann", "product_id": "tea", "ordered_at": f"2024-05-0{n}", "quantity": 1.0,
         "unit_price": 2.0}
        for n in range(1, 4)
    ]  # fmt: skip
    rows = [row | {"ordered_at": pd.Timestamp(str(row["ordered_at"]))} for row in rows]
    trained = train_recommender(shop(tmp_path, orders=rows), as_of=END)
    assert trained.model.ranker is None
    assert "without a ranker" in trained.notes[0]
    folder = tmp_path / "model"
    folder.mkdir()
    trained.model.save(folder)
    answer = Recommender.load(folder).recommend(
        History((), np.zeros(0, np.int64), ()), Context(moment=int(END.timestamp())), n=5
    )
    assert [item.product_id for item in answer.items] == ["tea"]


def test_wrong_input_is_said(orders: list, tmp_path: Path) -> None:
    tables = shop(tmp_path, orders=orders)
    with pytest.raises(MissingData, match="later --as-of"):
        train_recommender(tables, as_of=at("1999-01-01"))
    with pytest.raises(DataError, match="no setting wings"):
        train_recommender(tables, as_of=END, params={"wings": 2})
