"""A real browser, and a shop whose pages it visits."""

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any, NoReturn

import httpx
import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WAIT_S = 60


def missing(what: str) -> NoReturn:
    """End the test, saying what it lacks: a failure where everything is checked, a named skip on a machine without it."""
    if os.environ.get("CI"):
        pytest.fail(f"not tested, {what} is missing")
    pytest.skip(f"{what} is missing")


class Web:
    """The shop's own pages by path, what they reported, and a way to the service that fails as often as told."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.pages: dict[str, str] = {}
        self.reported: dict[str, Any] = {}
        self.failures = 0
        self.passed_on: list[dict[str, Any]] = []
        self.refused: list[dict[str, Any]] = []
        self.arrived = Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path.startswith("/through/"):
                    self._give(httpx.get(web.service + self.path.removeprefix("/through")))
                else:
                    found = web.pages.get(path)
                    self._say(200 if found else 404, (found or "").encode(), "text/html")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path.startswith("/through/"):
                    self._through(body)
                    return
                web.reported = json.loads(body)
                web.arrived.set()
                self._say(200, b"", "text/plain")

            def _through(self, body: bytes) -> None:
                if self.path.endswith("/batch"):
                    kept = web.refused if web.failures else web.passed_on
                    kept.append(json.loads(body))
                    if web.failures:
                        web.failures -= 1
                        self._say(503, b"", "text/plain")
                        return
                headers = {name: self.headers[name] for name in ("Content-Type", "Authorization") if self.headers[name]}
                self._give(httpx.post(web.service + self.path.removeprefix("/through"), content=body, headers=headers))

            def _give(self, answer: httpx.Response) -> None:
                self._say(answer.status_code, answer.content, answer.headers["Content-Type"])

            def _say(self, status: int, body: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    @contextmanager
    def visiting(self, path: str) -> Iterator[dict[str, Any]]:
        """What the page at ``path``, or one that it leads to, reported from a browser without a past, still open."""
        with _browser(self.address + path):
            assert self.arrived.wait(WAIT_S), "the page reported nothing"
            yield self.reported

    def visit(self, path: str) -> dict[str, Any]:
        """What ``visiting`` gives, for a page that sends nothing after its report."""
        with self.visiting(path) as reported:
            return reported


@contextmanager
def web(service: str) -> Iterator[Web]:
    """A shop's web server on a port of its own, so that its pages are of another origin than the service."""
    made = Web(service)
    Thread(target=made.server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()


def rendered(address: str) -> str:
    """The page at ``address`` as HTML, after its script has done what it does in ten seconds of its own time."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [*_words(profile), "--virtual-time-budget=10000", "--dump-dom", address]
        done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT_S, check=True)
    return done.stdout


def _words(profile: str) -> list[str]:
    """How a browser without a past is started."""
    found = next((path for path in map(shutil.which, NAMES) if path), None)
    if found is None:
        missing("a browser (Debian: apt-get install chromium)")
    options = ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-dev-shm-usage")
    return [str(found), *(f"--{option}" for option in options), f"--user-data-dir={profile}"]


@contextmanager
def _browser(address: str) -> Iterator[None]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [*_words(profile), address]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def page(service: str, key: str, body: str, script: str, **said: str) -> str:
    """A page with ``body``, the service's script with the attributes ``said``, and a script of its own after it."""
    attributes = " ".join(f'data-{name}="{value}"' for name, value in said.items())
    return f"""<!doctype html><meta charset="utf-8"><title>Shop</title><body>{body}
<script src="{service}/regulars.js?key={key}" {attributes}></script>
<script type="module">
const until = async (happened) => {{ while (!happened()) await new Promise((go) => setTimeout(go, 20)); }};
const report = (told) => fetch("/report", {{ method: "POST", body: JSON.stringify(told) }});
{script}
</script>"""
