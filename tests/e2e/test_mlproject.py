"""The entry points of mlflow/MLproject, run by MLflow itself."""

import subprocess
import sys
from pathlib import Path

from tests.builders import at, shop_orders
from tests.shops import ROOT, Shop


def test_mlflow_run_trains_and_registers(tmp_path: Path) -> None:
    shop = Shop(tmp_path / "home")
    shop.home.mkdir()
    shop_orders(customers=60, days=300, end=at("2024-06-01"), seed=7).to_parquet(
        tmp_path / "orders.parquet", index=False
    )
    shop.run("import", "orders", tmp_path / "orders.parquet")
    programs = Path(sys.executable).parent
    env = shop.env | {"PATH": f"{programs}:{shop.env['PATH']}"}
    words = [programs / "mlflow", "run", "mlflow", "-e", "churn", "--env-manager", "local", "-P", "as_of=2024-06-01"]
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "churn version 1 (champion)" in done.stdout
    refused = subprocess.run(
        [programs / "mlflow", "run", "mlflow", "-e", "churn", "--env-manager", "local", "-P", "as_of=yesterday"],
        cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert refused.returncode != 0
    assert not list((ROOT / "mlflow").glob("**/*.py"))
