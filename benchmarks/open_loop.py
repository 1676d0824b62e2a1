"""Requests that arrive at their own times, whatever the answers do: a process of its own, since it must not wait for them.

    python -m benchmarks.open_loop ADDRESS KEY NAMES --rate 400 --events 200 --seconds 60

``NAMES``: a file of customer ids, one per line, asked about in turn. Arrivals are a Poisson process; an answer's time counts from
the moment it was due, so that a server that falls behind is not spared (Tene, How NOT to Measure Latency, 2013).
"""

import argparse
import asyncio
import json
import re
import uuid
from collections import Counter, deque
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

MOST_CONNECTIONS = 256
PATIENCE_S = 20.0
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")


class Connection(asyncio.Protocol):
    """One connection, on which one request at a time is waiting for its answer."""

    def __init__(self, load: "Load") -> None:
        self.load, self.transport, self.got = load, None, b""
        self.asked: tuple[str, float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, task: str, request: bytes, due: float) -> None:
        assert self.transport is not None
        self.asked, self.got = (task, due), b""
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.got += data
        head, between, body = self.got.partition(b"\r\n\r\n")
        found = LENGTH.search(head) if between else None
        if found and len(body) >= int(found[1]):
            self._answered(head.split(maxsplit=2)[1].decode())
            self.load.free(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._answered("connection lost")
        self.load.lost(self)

    def _answered(self, status: str) -> None:
        if self.asked is not None:
            task, due = self.asked
            self.asked = None
            self.load.answered(task, status, due)


class Load:
    """Connections to one server, opened as they are needed, and what came of the requests."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port = host, port
        self.idle: list[Connection] = []
        self.waiting: deque[tuple[str, bytes, float]] = deque()
        self.opened = 0
        self.took: dict[str, list[float]] = {}
        self.statuses: Counter[str] = Counter()
        self.loop = asyncio.get_running_loop()

    def ask(self, task: str, request: bytes, due: float) -> None:
        """Send ``request`` now, or once a connection is free; its answer's time counts from ``due`` (the loop's clock)."""
        if self.idle:
            self.idle.pop().ask(task, request, due)
            return
        self.waiting.append((task, request, due))
        if self.opened < MOST_CONNECTIONS:
            self.opened += 1
            self.loop.create_task(self._open())

    def free(self, one: Connection) -> None:
        if self.waiting:
            one.ask(*self.waiting.popleft())
        else:
            self.idle.append(one)

    def lost(self, one: Connection) -> None:
        self.opened -= 1
        if one in self.idle:
            self.idle.remove(one)

    def answered(self, task: str, status: str, due: float) -> None:
        self.statuses[f"{task} {status}"] += 1
        self.took.setdefault(task, []).append(1_000 * (self.loop.time() - due))

    async def _open(self) -> None:
        try:
            _, one = await self.loop.create_connection(lambda: Connection(self), self.host, self.port)
        except OSError as error:
            self.opened -= 1
            if self.waiting:
                task, _, due = self.waiting.popleft()
                self.answered(task, type(error).__name__, due)
            return
        self.free(one)


def main() -> None:
    """Load, and print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("key")
    parser.add_argument("names", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--events", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    load = asyncio.run(_run(asked, asked.names.read_text().split()))
    print(json.dumps({
        "statuses": dict(load.statuses),
        **{f"{task}_{name}_ms": float(np.quantile(times, share)) for task, times in load.took.items()
           for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))},
        **{f"{task}_per_second": len(times) / asked.seconds for task, times in load.took.items()},
    }))  # fmt: skip


async def _run(asked: argparse.Namespace, names: list[str]) -> Load:
    load = Load(str(urlsplit(asked.address).hostname), int(urlsplit(asked.address).port or 80))
    rng, loop, who = np.random.default_rng(0), asyncio.get_running_loop(), cycle(names)
    arrivals = sorted(
        (float(at), task)
        for task, rate in (("ask", asked.rate), ("event", asked.events))
        for at in np.cumsum(rng.exponential(1 / rate, int(rate * asked.seconds)) if rate else [])
    )
    began = loop.time() + 0.1
    for at, task in arrivals:
        wait = began + at - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        made = _question(next(who), asked.key) if task == "ask" else _event(next(who), asked.key)
        load.ask(task, made, began + at)
    while sum(load.statuses.values()) < len(arrivals) and loop.time() < began + asked.seconds + PATIENCE_S:
        await asyncio.sleep(0.05)
    return load


def _question(name: str, key: str) -> bytes:
    path = f"/v1/recommendations?customer_id={name}&limit=10"
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def _event(name: str, key: str) -> bytes:
    body = json.dumps({"event": "Tried", "userId": name, "messageId": uuid.uuid4().hex})
    head = f"POST /v1/track HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


if __name__ == "__main__":
    main()
