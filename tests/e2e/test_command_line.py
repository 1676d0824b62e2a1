"""The whole way on a made shop, through the command line and over HTTP, as its users go it."""

import json
import re
import shlex
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pandas as pd
import pytest

from regulars.models.artifact import verify_artifact
from serving.champions import champions_folder, current_version
from tests.builders import at, shop_orders
from tests.shops import ROOT, Shop

AS_OF = "2024-06-01"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """A shop with everything imported, trained, scored and published."""
    shop = Shop(tmp_path_factory.mktemp("home"))
    orders = shop_orders(customers=300, days=400, end=at(AS_OF), seed=7)
    orders.to_parquet(shop.home / "orders.parquet", index=False)
    customers = sorted(orders["customer_id"].unique())
    pd.DataFrame(
        {
            "customer_id": customers,
            "email": [f"{name}@example.com" for name in customers],
            "consent_email": [number % 2 == 0 for number in range(len(customers))],
        }
    ).to_csv(shop.home / "customers.csv", index=False)
    pd.DataFrame({"offer_id": ["ten"], "kind": ["percent"], "name": ["Ten off"], "value": [10], "cost": [0.1]}).to_csv(
        shop.home / "offers.csv", index=False
    )
    pd.DataFrame(
        {
            "assignment_id": [f"a-{name}" for name in customers],
            "customer_id": customers,
            "assigned_at": "2024-04-01",
            "offer_id": ["ten" if number % 2 else None for number in range(len(customers))],
            "propensity": 0.5,
        }
    ).to_csv(shop.home / "assignments.csv", index=False)
    pd.DataFrame(
        {
            "assignment_id": [f"a-{name}" for number, name in enumerate(customers) if number % 4 == 1],
            "kind": "visited",
            "occurred_at": "2024-04-03",
        }
    ).to_csv(shop.home / "outcomes.csv", index=False)
    pd.DataFrame(
        {
            "subscription_id": range(100),
            "customer_id": [*customers[:99], "subscriber"],  # who never ordered
            "started_at": "2023-11-01",
            "cancelled_at": ["2024-04-20" if number % 3 == 1 else None for number in range(100)],
        }
    ).to_csv(shop.home / "subscriptions.csv", index=False)
    shop.run("import", "orders", shop.home / "orders.parquet")
    for table in ("customers", "offers", "assignments", "outcomes", "subscriptions"):
        shop.run("import", table, shop.home / f"{table}.csv")
    shop.run("train", "churn", "--as-of", AS_OF, "--horizon", "28")
    shop.train_recommender("--as-of", AS_OF, "--horizon", "28")
    shop.run("train", "offers", "--as-of", AS_OF, "--outcome", "visited")
    shop.run("train", "cancellation", "--as-of", AS_OF)
    shop.run("score", "--as-of", AS_OF, "--out", shop.home / "scores.parquet")
    shop.run("publish")
    return shop


def test_a_service_finds_the_champion_that_was_published(shop: Shop) -> None:
    folder = champions_folder(shop.home) / "recommender"
    assert current_version(folder) == 1
    verify_artifact(folder / "1")
    assert [found.name for found in folder.iterdir() if found.name.startswith("incoming")] == []


def test_scores_have_one_row_per_eligible_customer(shop: Shop) -> None:
    scores = pd.read_parquet(shop.home / "scores.parquet")
    assert scores["customer_id"].is_unique
    assert scores["churn_probability"].between(0, 1).all()
    assert (scores["churn_low"] <= scores["churn_probability"]).all()
    assert (scores["churn_probability"] <= scores["churn_high"]).all()
    assert set(scores["risk"]) <= {"low", "medium", "high"}
    assert all(json.loads(reasons) for reasons in scores["reasons"])


def test_cancellation_is_told_of_who_has_a_running_subscription(shop: Shop) -> None:
    rows = pd.read_csv(shop.home / "subscriptions.csv")
    running = set(rows.loc[rows["cancelled_at"].isna(), "customer_id"])
    scores = pd.read_parquet(shop.home / "scores.parquet").set_index("customer_id")["cancellation_probability"]
    told = scores.dropna()
    assert set(told.index) == running & set(scores.index)
    assert told.between(0.001, 0.5).all()
    again = shop.json("train", "cancellation", "--as-of", "2024-05-01", "--horizon", 14)
    assert (again["version"], again["aliases"], again["settings"]["horizon_days"]) == (2, ["challenger"], 14)
    assert "--force" in shop.run("compare", "cancellation", expect=2).stderr
    shop.run("promote", "cancellation", 2, expect=1)
    assert shop.json("promote", "cancellation", 2, "--force")["aliases"] == ["champion"]
    assert shop.json("rollback", "cancellation")["version"] == 1


def test_recommend_gives_every_customer_of_the_file_rows(shop: Shop) -> None:
    asked = shop.home / "who.csv"
    asked.write_text("customer_id\nc1\nc2\nnobody\n")
    shop.run("recommend", "--as-of", AS_OF, "-n", 5, "--customers", asked, "--out", shop.home / "r.parquet")
    rows = pd.read_parquet(shop.home / "r.parquet")
    assert rows.groupby("customer_id")["rank"].apply(list).to_dict() == {
        name: [1, 2, 3, 4, 5] for name in ("c1", "c2", "nobody")
    }
    assert not rows.duplicated(["customer_id", "product_id"]).any()


def test_recommend_takes_any_history(shop: Shop) -> None:
    histories = shop.home / "h.csv"
    histories.write_text(
        "history_id,product_id,occurred_at\nx,p1,2031-01-01T10:00:00Z\nx,p2,2031-01-01T10:05:00Z\ny,?,2031-01-01\n"
    )
    shop.run("recommend", "--as-of", AS_OF, "-n", 3, "--histories", histories, "--out", shop.home / "h.parquet")
    rows = pd.read_parquet(shop.home / "h.parquet")
    assert rows.groupby("history_id")["rank"].apply(list).to_dict() == {"x": [1, 2, 3], "y": [1, 2, 3]}


def test_decide_answers_for_every_customer_and_the_same_each_time(shop: Shop) -> None:
    asked = shop.home / "who.csv"
    asked.write_text("customer_id\nc1\nc2\nnobody\n")
    made = []
    for name in ("d1.parquet", "d2.parquet"):
        words = (
            "decide",
            "--as-of",
            AS_OF,
            "--customers",
            asked,
            "--explore",
            "off",
            "--out",
            shop.home / name,
        )
        shop.run(*words)
        made.append(pd.read_parquet(shop.home / name))
    assert made[0].equals(made[1])
    assert made[0]["customer_id"].tolist() == ["c1", "c2", "nobody"]
    assert (made[0]["propensity"] == 1).all()


def test_features_with_labels(shop: Shop) -> None:
    out = shop.home / "f.csv"
    told = shop.json(
        "features",
        "--as-of",
        "2024-03-01",
        "--as-of",
        "2024-04-01",
        "--labels",
        "churn",
        "--horizon",
        28,
        "--out",
        out,
    )
    table = pd.read_csv(out)
    assert told["rows"] == len(table)
    assert set(table["churned"]) == {0, 1}
    assert table["as_of"].nunique() == 2


def test_retention_by_cohort(shop: Shop) -> None:
    said = shop.json("retention", "--by", "cohort", "--as-of", AS_OF)
    assert (said["by"], said["active_days"]) == ("cohort", 90)
    assert sum(item["customers"] for item in said["items"]) > 200
    assert all(0 <= item["retention_rate"] <= 100 for item in said["items"] if item["retention_rate"] is not None)


def test_a_list_for_the_e_mail_tool(shop: Shop) -> None:
    out = shop.home / "list.csv"
    shop.run("list", "at-risk", "--channel", "email", "--min-probability", 0.2, "--out", out)
    table = pd.read_csv(out)
    consents = pd.read_csv(shop.home / "customers.csv").set_index("customer_id")["consent_email"]
    assert len(table)
    assert consents[table["customer_id"]].all()
    assert (table["probability"] >= 0.2).all()
    lines = shop.run("list", "at-risk", "--format", "ndjson").stdout.splitlines()
    assert all(json.loads(line)["risk"] in ("medium", "high") for line in lines)


def test_the_readmes_own_example_works(tmp_path: Path) -> None:
    """The csv and every command of the section, as they stand there."""
    section = (ROOT / "README.md").read_text().split("## Your own orders")[1].split("## ")[0]
    blocks = re.findall(r"```(\w*)\n(.*?)```", section, flags=re.DOTALL)
    newcomer = Shop(tmp_path)
    (tmp_path / "orders.csv").write_text(next(text for kind, text in blocks if kind == "csv"))
    commands = next(text for kind, text in blocks if not kind).splitlines()
    assert len(commands) == 2
    for command in commands:
        words = shlex.split(command.removeprefix(".venv/bin/regulars "))
        newcomer.run(*(tmp_path / word if word.endswith(".csv") else word for word in words))
    assert set(pd.read_csv(tmp_path / "features.csv")["customer_id"]) == {"ann", "bob", "cy"}


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("import", "orders", "nowhere.csv"), 1, "nowhere.csv"),
        (("train", "churn", "--as-of", "1999-01-01"), 1, "as-of"),
        (("score", "--as-of", "1999-01-01", "--out", "s.csv"), 1, "regulars train churn"),
        (("import", "nothing", "x.csv"), 2, "orders"),
        (("train", "churn", "--as-of", "yesterday"), 2, "yesterday"),
        (("train", "cancellation", "--as-of", "2020-01-01"), 1, "give a later --as-of"),
        (("publish", "--nonsense"), 2, "nonsense"),
        (("list", "nobody"), 2, "at-risk"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(shop: Shop, words: tuple[str, ...], status: int, said: str) -> None:
    done = shop.run(*words, expect=status)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    if status == 1:
        assert len(done.stderr.strip().splitlines()) == 1


def test_the_service_answers(shop: Shop) -> None:
    key = shop.json("keys", "create", "--scope", "admin")["key"]
    with (
        shop.serving() as address,
        httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as ask,
    ):
        for _ in range(100):
            if ask.get("/health/ready").status_code == 200:
                break
            time.sleep(0.1)
        listed = ask.get("/v1/lists/at-risk", params={"limit": 5}).json()
        assert len(listed["items"]) == 5
        customer = listed["items"][0]["customer_id"]
        churn = ask.get(f"/v1/customers/{customer}/churn").json()
        assert churn["interval"][0] <= churn["probability"] <= churn["interval"][1]
        assert churn["definition"]["horizon_days"] == 28
        assert 0 < ask.get("/v1/customers/subscriber").json()["cancellation_probability"] < 1
        written = ask.get("/v1/lists/at-risk", params={"channel": "email", "limit": 1000}).json()["items"]
        numbers = pd.read_csv(shop.home / "customers.csv").set_index("customer_id")["consent_email"]
        assert written
        assert all(numbers[item["customer_id"]] for item in written)
        liked = ask.get("/v1/recommendations", params={"customer_id": customer, "limit": 10}).json()
        assert [item["rank"] for item in liked["items"]] == list(range(1, 11))
        decision = ask.post("/v1/decisions", json={"customer_id": customer, "placement": "home"}).json()
        assert decision["considered"]
        same = ask.post("/v1/decisions", json={"customer_id": customer, "placement": "home"}).json()
        assert same["decision_id"] == decision["decision_id"]


def test_the_service_follows_a_promotion_within_ten_seconds_without_a_failed_request(shop: Shop) -> None:
    shop.train_recommender("--as-of", "2024-05-01", "--horizon", "28")
    refused = shop.run("promote", "recommender", 2, expect=1)
    assert "regulars compare recommender" in refused.stderr
    key = shop.json("keys", "create", "--scope", "admin")["key"]
    with (
        shop.serving() as address,
        httpx.Client(base_url=address, headers={"Authorization": f"Bearer {key}"}) as ask,
    ):

        def version() -> str:
            answer = ask.get("/v1/recommendations", params={"customer_id": "c1"})
            assert answer.status_code == 200
            return str(answer.json()["model_version"])

        def until(wanted: str) -> float:
            began = time.monotonic()
            while version() != wanted:
                assert time.monotonic() - began < 10
            return time.monotonic() - began

        for _ in range(200):
            if ask.get("/health/ready").status_code == 200:
                break
            time.sleep(0.1)
        until("recommender-1")
        shop.run("promote", "recommender", 2, "--force", "--why", "a test")
        until("recommender-2")
        shop.run("rollback", "recommender")
        until("recommender-1")
        listed = ask.get("/v1/models").json()["items"]
        assert [version["version"] for version in listed["recommender"]] == [2, 1]
        assert listed["recommender"][0]["metrics"]["ndcg_at_20"] > 0
        refused = ask.post("/v1/models/recommender/promote", json={"version": 2}, timeout=60)
        assert (refused.status_code, "never compared" in refused.json()["detail"]) == (409, True)
        assert ask.post("/v1/models/nothing/rollback").status_code == 404
        forced = ask.post("/v1/models/recommender/promote", json={"version": 2, "force": True}, timeout=60)
        assert forced.json()["version"] == 2
        until("recommender-2")
        assert ask.post("/v1/models/recommender/rollback", timeout=60).json()["version"] == 1
        until("recommender-1")


def test_retrain_does_what_is_new_and_skips_the_rest(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "home")
    shop.home.mkdir()
    assert "import" in shop.run("retrain", expect=1).stderr
    orders = shop_orders(customers=80, days=400, end=at(AS_OF), seed=7)
    for name, rows in (("old", orders[orders["ordered_at"] < "2024-04-20"]), ("new", orders)):
        rows.to_parquet(tmp_path / f"{name}.parquet", index=False)
    shop.run("import", "orders", tmp_path / "old.parquet")

    def became() -> dict[str, str]:
        return {step["name"]: step["became"] for step in shop.json("retrain")["steps"]}

    done = {
        "compact": "skipped",
        "train churn": "done",
        "train value": "done",
        "train recommender": "done",
        "train offers": "skipped",
        "train cancellation": "skipped",
        "score": "done",
        "publish": "done",
    }
    assert became() == done
    assert set(became().values()) == {"skipped"}
    (shop.home / "lake" / "scores" / "churn-1.parquet").unlink()
    state = json.loads((shop.home / "retrain.json").read_text())
    del state["score"], state["publish"]  # as a kill between the steps leaves it
    (shop.home / "retrain.json").write_text(json.dumps(state))
    assert became() == dict.fromkeys(done, "skipped") | {"score": "done", "publish": "done"}
    shop.run("import", "orders", tmp_path / "new.parquet")
    assert became() == done
    assert (
        len(shop.run("list", "at-risk", "--risk", "low", "--risk", "medium", "--risk", "high").stdout.splitlines()) > 50
    )


def test_versions_are_compared_on_a_holdout_that_none_of_them_saw(shop: Shop) -> None:
    for as_of in ("2024-04-01", "2024-04-15"):
        shop.run("train", "churn", "--as-of", as_of, "--horizon", "28")
    out = shop.home / "compared.json"
    told = shop.json(
        "compare",
        "churn",
        "--versions",
        "2,3",
        "--holdout",
        "2024-05-03..2024-05-31",
        "--by",
        "frequency",
        "--out",
        out,
    )
    assert set(told["refused"]) == {"1"}  # the champion, trained as of 2024-06-01
    assert "lies in the holdout" in told["refused"]["1"]
    models = {row["model"] for row in told["rows"]}
    assert {"2", "3", "LightGBM", "BG/NBD", "prevalence"} <= models
    assert {row["segment"] for row in told["rows"]} >= {"all", "6 orders or more"}
    assert set(json.loads(out.read_text())["curves"]["3"]) == {"calibration", "gain"}
    shop.run("promote", "churn", 3, expect=1)


def test_a_service_without_models_lives_and_says_what_mends_it(tmp_path: Path) -> None:
    empty = Shop(tmp_path)
    with empty.serving() as address:
        ready = httpx.get(address + "/health/ready")
        assert ready.status_code == 503
        assert "regulars train churn" in ready.text
        assert httpx.get(address + "/health/live").status_code == 200


def test_imports_at_the_same_time_wait_for_each_other_and_lose_nothing(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "home")
    shop.home.mkdir()
    orders = shop_orders(customers=80, days=300, end=at(AS_OF), seed=7)
    files = []
    for number in range(4):
        files.append(tmp_path / f"{number}.parquet")
        orders[orders["customer_id"].str[-1].isin({"0", str(number), str(number + 5)})].to_parquet(
            files[-1], index=False
        )
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda file: shop.run("import", "orders", file), files))
    written = pd.concat(map(pd.read_parquet, files)).drop_duplicates()
    assert shop.json("import", "orders", files[0])["tables"][0]["added"] == 0
    shop.run("features", "--as-of", AS_OF, "--out", tmp_path / "f.parquet")
    counted = pd.read_parquet(tmp_path / "f.parquet").set_index("customer_id")["count_orders"]
    expected = written.groupby("customer_id")["order_id"].nunique()
    assert counted.astype(int).sort_index().to_dict() == expected.sort_index().to_dict()
