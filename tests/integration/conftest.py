"""The published shop behind a running service, on either database."""

from collections.abc import Iterator

import pytest

from tests.published import ready
from tests.services import Service


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def service(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("home")
    several = {} if request.param == "sqlite" else {"database": request.getfixturevalue("postgresql"), "workers": 2}
    with ready(home, **several) as made:
        yield made
