"""When the model registry need not be asked, and what is brought from it."""

import sqlite3
from pathlib import Path

import pytest

from regulars.settings import read_settings
from serving.registry import _put, bring_all, written


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


def test_a_registry_that_is_away_is_left_to_the_service(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    away = tmp_path / "file"
    away.write_text("no folder")
    told = {"REGULARS_HOME": str(tmp_path / "home"), "MLFLOW_TRACKING_URI": f"sqlite:///{away}/mlflow.db"}
    bring_all(read_settings(told))
    assert "will try again" in caplog.text


def test_what_another_process_brought_meanwhile_stays(tmp_path: Path) -> None:
    for name in ("fetched", "target"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "ranker.txt").write_text(name)
    _put(tmp_path / "fetched", tmp_path / "target")
    assert (tmp_path / "target" / "ranker.txt").read_text() == "target"
    with pytest.raises(FileNotFoundError):
        _put(tmp_path / "gone", tmp_path / "elsewhere")
