"""A shop with a home folder of its own, asked through the command line and over HTTP."""

import json
import os
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

COMMAND = [sys.executable, "-m", "cli.main"]
QUICK = {"snapshots": 3, "visitors": 200, "examples": 300, "judged": 100, "trees": 20, "min_data_in_leaf": 20}
ROOT = Path(__file__).parents[1]


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

    def train_recommender(self, *words: object) -> None:
        """With settings that learn from little, so that a test need not wait."""
        settings = self.home / "quick.json"
        settings.write_text(json.dumps(QUICK))
        self.run("train", "recommender", *words, "--params", settings)

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
            wait_for(address + "/health/live", server)
            yield address
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) in (0, -signal.SIGTERM)


def wait_for(url: str, server: subprocess.Popen[bytes] | None = None, *, status: int = 200) -> None:
    for _ in range(300):
        assert server is None or server.poll() is None, "the service ended"
        try:
            if httpx.get(url, timeout=2).status_code == status:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"{url} did not answer {status}")
