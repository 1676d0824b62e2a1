"""MLflow's own client, with only the wheel of this project beside it, gives what the service answers."""

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import httpx
import pandas as pd
import pytest

from tests.builders import at, shop_orders
from tests.shops import ROOT, Shop, wait_for

ASKED = """
import json, sys
import pandas as pd
from mlflow.pyfunc import load_model

features, history, moment = sys.argv[1:]
churn = load_model("models:/churn@champion").predict(pd.read_parquet(features))
rows = load_model("models:/recommender@champion").predict(pd.read_parquet(history), params={"moment": int(moment), "n": 10})
mine = [name for name in sys.modules if name.split(".")[0] in ("features", "training", "serving", "cli")]
print(json.dumps({"churn": churn.to_dict("records"), "products": list(rows["product_id"]), "scores": list(rows["score"]),
                  "not_needed": mine, "regulars": sys.modules["regulars"].__file__}))
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has this project's wheel, and third parties' packages, but not this checkout."""
    folder = tmp_path_factory.mktemp("outside")
    source = folder / "source"
    source.mkdir()
    for name in ("regulars", "features", "training", "serving", "cli"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source], check=True, timeout=200)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    program = folder / "venv" / "bin" / "python"
    purelib = subprocess.run(
        [program, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    wheel = next(folder.glob("regulars-*.whl"))
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--target", purelib, wheel], check=True, timeout=200)
    (Path(purelib) / "third-parties.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return program


def test_the_wheel_and_mlflow_give_the_services_own_answers(tmp_path: Path, outside: Path) -> None:
    end = at("2024-06-01")
    lines = shop_orders(customers=80, days=300, end=end, seed=7)
    lines.to_parquet(tmp_path / "orders.parquet", index=False)
    shop = Shop(tmp_path / "home")
    shop.run("import", "orders", tmp_path / "orders.parquet")
    shop.run("train", "churn", "--as-of", "2024-06-01")
    shop.train_recommender("--as-of", "2024-06-01")
    shop.run("score", "--as-of", "2024-06-01", "--out", tmp_path / "scores.parquet")
    shop.run("publish")
    shop.run("features", "--as-of", "2024-06-01", "--out", tmp_path / "features.parquet")
    key = {"Authorization": f"Bearer {shop.json('keys', 'create', '--scope', 'admin')['key']}"}
    customer = str(lines["customer_id"].iloc[-1])
    own = lines[lines["customer_id"] == customer].rename(
        columns={"customer_id": "history_id", "ordered_at": "occurred_at"}
    )
    own.assign(kind="purchase").to_parquet(tmp_path / "history.parquet", index=False)
    with shop.serving() as address:
        wait_for(f"{address}/health/ready")
        said = httpx.get(f"{address}/v1/customers/{customer}/churn", headers=key, timeout=60).json()
        shown = httpx.get(f"{address}/v1/recommendations?customer_id={customer}", headers=key, timeout=60).json()
    moment = int(pd.Timestamp(end).timestamp())
    asked = subprocess.run(
        [outside, "-c", ASKED, tmp_path / "features.parquet", tmp_path / "history.parquet", str(moment)],
        cwd=tmp_path, env=shop.env, capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    answered = json.loads(asked.stdout.splitlines()[-1])
    assert answered["not_needed"] == []
    assert not answered["regulars"].startswith(str(ROOT))
    mine = next(row for row in answered["churn"] if row["customer_id"] == customer)
    assert mine["churn_probability"] == pytest.approx(said["probability"], abs=1e-12)
    assert [mine["churn_low"], mine["churn_high"]] == pytest.approx(said["interval"], abs=1e-12)
    assert [reason["code"] for reason in json.loads(mine["reasons"])] == [reason["code"] for reason in said["reasons"]]
    assert answered["products"] == [item["product_id"] for item in shown["items"]]
