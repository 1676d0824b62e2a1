"""Requests that arrive at their own times, whatever the answers do: a process of its own, since it must not wait for them.

    python -m benchmarks.open_loop ADDRESS KEY CUSTOMERS PRODUCTS --rate 400 --events 200 --seconds 60

``CUSTOMERS`` and ``PRODUCTS``: files of ids, one per line. A question is about any of the customers; an event tells that any of
them viewed any of the products, so that they are weighed anew when they are asked about next. Arrivals are a Poisson process; an
answer's time counts from the moment it was due, so that a server that falls behind is not spared (Tene, How NOT to Measure
Latency, 2013).
"""

import argparse
import json
import selectors
import socket
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

MOST_CONNECTIONS = 256
PATIENCE_S = 20.0
READ_AT_ONCE = 65_536
DRAWN_AT_ONCE = 1_000
LENGTH = b"content-length:"
BETWEEN = b"\r\n\r\n"

Asked = tuple[str, bytes, float]  # what for, the request, when it was due (seconds of the monotonic clock)


class Connection:
    """One connection, on which one request at a time is waiting for its answer."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.asked: Asked | None = None
        self.got = b""

    def ask(self, asked: Asked) -> None:
        self.asked, self.got = asked, b""
        self.socket.sendall(asked[1])  # less than what the system keeps for a connection, so that it need not wait

    def status(self) -> str | None:
        """The status of an answer that is here as a whole by now; raises OSError where the connection is lost."""
        part = self.socket.recv(READ_AT_ONCE)
        if not part:
            raise ConnectionError
        self.got += part
        end = self.got.find(BETWEEN)
        if end < 0:
            return None
        head = self.got[:end].lower() + b"\r\n"
        at = head.find(LENGTH) + len(LENGTH)
        length = int(head[at : head.index(b"\r\n", at)])
        return head[9:12].decode() if len(self.got) >= end + len(BETWEEN) + length else None


class Load:
    """Connections to one server, opened as they are needed, and what came of the requests."""

    def __init__(self, host: str, port: int) -> None:
        self.address = host, port
        self.ready = selectors.DefaultSelector()
        self.idle: list[Connection] = []
        self.waiting: deque[Asked] = deque()
        self.opened: set[Connection] = set()
        self.took: dict[str, list[float]] = {}
        self.statuses: Counter[str] = Counter()

    @property
    def pending(self) -> bool:
        """Whether something was asked and is not answered."""
        return bool(self.waiting) or len(self.idle) < len(self.opened)

    def ask(self, asked: Asked) -> None:
        """Send the request now, or once a connection is free."""
        if not self.idle and len(self.opened) < MOST_CONNECTIONS:
            self._open()
        if not self.idle:
            self.waiting.append(asked)
            return
        one = self.idle.pop()
        try:
            one.ask(asked)
        except OSError:
            self._lost(one)

    def look(self, seconds: float) -> None:
        """Take what answers come within ``seconds``, at least those that are here."""
        for key, _ in self.ready.select(seconds):
            one: Connection = key.data
            try:
                status = one.status()
            except OSError:
                self._lost(one)
                continue
            if status is not None:
                self._answered(one, status)
                self.idle.append(one)
            while self.waiting and self.idle:
                self.ask(self.waiting.popleft())

    def give_up(self) -> None:
        """Count what has no answer by now."""
        for task, _, _ in (*self.waiting, *(one.asked for one in self.opened if one.asked is not None)):
            self.statuses[f"{task} without an answer"] += 1

    def _open(self) -> None:
        try:
            one = Connection(self.address)
        except OSError:  # the request waits for one of the others, and is without an answer where there is none
            return
        self.opened.add(one)
        self.idle.append(one)
        self.ready.register(one.socket, selectors.EVENT_READ, one)

    def _lost(self, one: Connection) -> None:
        if one not in self.opened:  # noticed twice, when it was asked and when it was looked at
            return
        if one.asked is not None:
            self._answered(one, "connection lost")
        self.ready.unregister(one.socket)
        one.socket.close()
        self.opened.discard(one)
        if one in self.idle:
            self.idle.remove(one)

    def _answered(self, one: Connection, status: str) -> None:
        assert one.asked is not None
        task, _, due = one.asked
        one.asked = None
        self.statuses[f"{task} {status}"] += 1
        self.took.setdefault(task, []).append(1_000 * (time.monotonic() - due))


def main() -> None:
    """Load, and print what came of it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("key")
    parser.add_argument("customers", type=Path)
    parser.add_argument("products", type=Path)
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--events", type=float, default=0.0)
    parser.add_argument("--seconds", type=float, default=60.0)
    asked = parser.parse_args()
    load = _run(asked, asked.customers.read_text().split(), asked.products.read_text().split())
    print(json.dumps({
        "statuses": dict(load.statuses),
        **{f"{task}_{name}_ms": float(np.quantile(times, share)) for task, times in load.took.items()
           for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))},
        **{f"{task}_per_second": len(times) / asked.seconds for task, times in load.took.items()},
    }))  # fmt: skip


def _run(asked: argparse.Namespace, customers: Sequence[str], products: Sequence[str]) -> Load:
    load = Load(str(urlsplit(asked.address).hostname), int(urlsplit(asked.address).port or 80))
    rng = np.random.default_rng(0)
    who, what = _any_of(customers, rng), _any_of(products, rng)
    arrivals = sorted(
        (float(at), task)
        for task, rate in (("ask", asked.rate), ("event", asked.events))
        for at in np.cumsum(rng.exponential(1 / rate, int(rate * asked.seconds)) if rate else [])
    )
    began = time.monotonic() + 0.1
    for at, task in arrivals:
        load.look(max(began + at - time.monotonic(), 0))
        while (wait := began + at - time.monotonic()) > 0:
            load.look(wait)
        made = _question(next(who), asked.key) if task == "ask" else _event(next(who), next(what), asked.key)
        load.ask((task, made, began + at))
    while load.pending and time.monotonic() < began + asked.seconds + PATIENCE_S:
        load.look(0.05)
    load.give_up()
    return load


def _any_of(names: Sequence[str], rng: np.random.Generator) -> Iterator[str]:
    while True:
        yield from (names[place] for place in rng.integers(len(names), size=DRAWN_AT_ONCE).tolist())


def _question(name: str, key: str) -> bytes:
    path = f"/v1/recommendations?customer_id={name}&limit=10"
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def _event(name: str, product: str, key: str) -> bytes:
    told = {"event": "Product Viewed", "userId": name, "properties": {"product_id": product}}
    body = json.dumps(told | {"messageId": uuid.uuid4().hex})
    head = f"POST /v1/track HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


if __name__ == "__main__":
    main()
