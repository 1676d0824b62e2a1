"""When the model registry need not be asked."""

import sqlite3
from pathlib import Path

from serving.registry import written


def test_a_file_is_as_it_was_until_somebody_writes_into_it(tmp_path: Path) -> None:
    address = f"sqlite:///{tmp_path}/mlflow.db"
    assert written(address) is None
    registry = sqlite3.connect(tmp_path / "mlflow.db")
    registry.execute("create table versions (body)")
    registry.commit()
    before = written(address)
    assert registry.execute("select count(*) from versions").fetchone() == (0,)
    assert written(address) == before is not None
    registry.execute("insert into versions values (zeroblob(100000))")
    registry.commit()
    assert written(address) != before
    registry.close()


def test_a_server_must_be_asked() -> None:
    assert written("http://127.0.0.1:5000") is None
