"""A running service over a real database, and how to ask it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from serving.services.keys import create_key
from serving.store import open_store
from tests.builders import at

ROOT = Path(__file__).parents[1]
SECRET = "a secret of the shop that is long enough"
SCOPES = ("storefront", "events", "lists", "models", "admin")


@dataclass
class Service:
    """A running service; ``ask`` and ``send`` use an admin key unless told otherwise."""

    home: Path
    address: str
    database: str
    keys: dict[str, str]

    def ask(self, path: str, *, scope: str = "admin", **headers: str) -> httpx.Response:
        return httpx.get(self.address + path, headers=self._with(scope, headers), timeout=20)

    def send(
        self, path: str, body: Any, *, scope: str = "admin", method: str = "POST", **headers: str
    ) -> httpx.Response:
        address, said = self.address + path, self._with(scope, headers)
        return httpx.request(method, address, json=body, headers=said, timeout=20)

    def _with(self, scope: str, headers: dict[str, str]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {"Authorization": f"Bearer {self.keys[scope]}"} | named


@contextmanager
def running(
    home: Path, database: str, *, workers: int, keys: dict[str, str] | None = None, **settings: object
) -> Iterator[Service]:
    """A service with a key of every scope, ended at the end of the block."""
    made, server = start(home, database, workers=workers, keys=keys, **settings)
    try:
        yield made
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) in (0, -signal.SIGTERM)


def start(
    home: Path, database: str, *, workers: int, keys: dict[str, str] | None = None, **settings: object
) -> tuple[Service, subprocess.Popen[bytes]]:
    """The same, left to the caller to end: it leads a process group of its own."""
    if keys is None:
        store = open_store(database)
        keys = {scope: create_key(store, scope=scope, label="", now=at("2024-06-01")).key for scope in SCOPES}
        store.close()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {
        "REGULARS_HOME": str(home),
        "REGULARS_DATABASE_URL": database,
        "REGULARS_TOKEN_SECRET": SECRET,
        "REGULARS_TIME_BUDGET_MS": "10000",  # a busy machine is no reason to answer otherwise
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/mlflow.db",
        **{f"REGULARS_{name.upper()}": str(value) for name, value in settings.items()},
    }
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--workers", str(workers)]
    with (home / "serve.log").open("a") as log:
        server = subprocess.Popen(
            command, cwd=ROOT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    made = Service(home, f"http://127.0.0.1:{port}", database, keys)
    try:
        until(lambda: httpx.get(made.address + "/health/live").status_code == 200)
    except BaseException:
        os.killpg(server.pid, signal.SIGKILL)
        raise
    return made, server


def until(happened: Callable[[], bool]) -> None:
    """Wait until ``happened``, at most two minutes: what was never compiled is when a service starts."""
    for _ in range(1_200):
        try:
            if happened():
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError("it did not happen within two minutes")
