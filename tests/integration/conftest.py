"""The published shop behind a running service, on either database."""

from collections.abc import Iterator

import httpx
import pytest

from tests.published import bring_champion, publish
from tests.services import Service, running, until


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    sqlite = request.param == "sqlite"
    database = f"sqlite:///{home}/store.db" if sqlite else request.getfixturevalue("postgresql")
    (home / "rows").mkdir()
    publish(database, home / "rows")
    bring_champion(home, 1)
    with running(home, database, workers=1 if sqlite else 2) as made:
        until(lambda: httpx.get(made.address + "/health/ready").status_code == 200)
        yield made
