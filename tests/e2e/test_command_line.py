"""The whole way on a made shop, through the command line and over HTTP, as its users go it."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from tests.builders import at, shop_orders

AS_OF = "2024-06-01"
COMMAND = [sys.executable, "-m", "cli.main"]
ROOT = Path(__file__).parents[2]


class Shop:
    """A home folder of its own; call it with the command line's words."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.env = os.environ | {
            "REGULARS_HOME": str(home),
            "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        }

    def run(self, *words: object, expect: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*COMMAND, *map(str, words)],
            cwd=ROOT,
            env=self.env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode == expect, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *words: object) -> Any:
        return json.loads(self.run(*words, "--json").stdout.splitlines()[-1])

    @contextmanager
    def serving(self) -> Iterator[str]:
        """The address of a running service of this shop, ready or not."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        log = (self.home / "serve.log").open("w")
        server = subprocess.Popen(
            [*COMMAND, "serve", "--port", str(port)],
            cwd=ROOT,
            env=self.env,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        address = f"http://127.0.0.1:{port}"
        try:
            _wait_for(address + "/health/live", server)
            yield address
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) in (0, -signal.SIGTERM)


def _wait_for(url: str, server: subprocess.Popen[bytes], *, status: int = 200) -> None:
    for _ in range(300):
        assert server.poll() is None, "the service ended"
        try:
            if httpx.get(url, timeout=2).status_code == status:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer {status}")


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
    shop.run("import", "orders", shop.home / "orders.parquet")
    for table in ("customers", "offers", "assignments", "outcomes"):
        shop.run("import", table, shop.home / f"{table}.csv")
    for model in ("churn", "recommender"):
        shop.run("train", model, "--as-of", AS_OF, "--horizon", "28")
    shop.run("train", "offers", "--as-of", AS_OF, "--outcome", "visited")
    shop.run("score", "--as-of", AS_OF, "--out", shop.home / "scores.parquet")
    shop.run("publish")
    return shop


def test_scores_have_one_row_per_eligible_customer(shop: Shop) -> None:
    scores = pd.read_parquet(shop.home / "scores.parquet")
    assert scores["customer_id"].is_unique
    assert scores["churn_probability"].between(0, 1).all()
    assert (scores["churn_low"] <= scores["churn_probability"]).all()
    assert (scores["churn_probability"] <= scores["churn_high"]).all()
    assert set(scores["risk"]) <= {"low", "medium", "high"}
    assert all(json.loads(reasons) for reasons in scores["reasons"])


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


def test_a_service_without_models_lives_and_says_what_mends_it(tmp_path: Path) -> None:
    empty = Shop(tmp_path)
    with empty.serving() as address:
        ready = httpx.get(address + "/health/ready")
        assert ready.status_code == 503
        assert "regulars train churn" in ready.text
        assert httpx.get(address + "/health/live").status_code == 200
