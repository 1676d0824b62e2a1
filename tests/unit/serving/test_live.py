"""What a worker holds while it runs."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from regulars.settings import read_settings
from serving.champions import Champions
from serving.live import Live
from serving.store import open_store
from serving.store.forgetting import forget_in_store
from serving.store.generations import begin_generation, flip_to
from tests.builders import at
from tests.published import bring_champion, publish
from tests.services import ROOT

NOW = at("2024-06-01T12:00")


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    address = f"sqlite:///{tmp_path}/store.db"
    settings = read_settings({"REGULARS_HOME": str(tmp_path), "REGULARS_DATABASE_URL": address})
    store = open_store(address)
    flip_to(store, begin_generation(store, as_of=NOW, about="{}"), published_at=NOW)
    found = Live(settings, store, Champions(tmp_path), now=lambda: NOW)
    found.refresh()
    yield found
    store.close()


def held(live: Live) -> list[str | None]:
    shelf = live.published()
    return [kept.get("ann", state=()) for kept in (shelf.remembered, shelf.answered)]


def test_who_was_forgotten_by_another_process_is_so_here_with_the_next_refresh(live: Live) -> None:
    for _ in range(2):
        shelf = live.published()
        shelf.remembered.put("ann", "weighed", state=())
        shelf.answered.put("ann", "answered", state=())
        live.refresh()
        assert held(live) == ["weighed", "answered"]
        with closing(open_store(live.settings.database_url)) as elsewhere:
            forget_in_store(elsewhere, "ann")
        live.refresh()
        assert held(live) == [None, None]
        assert live.published() is shelf


CARRIED = """
import sys
from regulars.settings import read_settings
from serving.live import bring
import serving.app
brought = bring(read_settings())
assert brought.shelf is not None and brought.champions.recommender is not None
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_a_worker_carries_neither_mlflow_nor_what_trains_models(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/store.db"
    (tmp_path / "rows").mkdir()
    publish(database, tmp_path / "rows")
    bring_champion(tmp_path, 1)
    env = os.environ | {"REGULARS_HOME": str(tmp_path), "REGULARS_DATABASE_URL": database}
    carried = subprocess.run(
        [sys.executable, "-c", CARRIED], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    found = set(carried.stdout.split())
    assert "serving" in found
    assert not found & {"mlflow", "training", "matplotlib"}
