"""Requests that arrive at their own times, whatever the answers do: a process of its own, since it must not wait for them.

    python -m benchmarks.open_loop ADDRESS KEY NAMES --rate 400 --events 200 --seconds 60

``NAMES``: a file of customer ids, one per line, asked about in turn. Arrivals are a Poisson process; an answer's time counts from
the moment it was due, so that a server that falls behind is not spared (Tene, How NOT to Measure Latency, 2013).
"""

import argparse
import asyncio
import json
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

MOST_CONNECTIONS = 256


@dataclass
class Load:
    """Connections to one server, opened as they are needed, and what came of the requests."""

    host: str
    port: int
    idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=deque)
    took: dict[str, list[float]] = field(default_factory=dict)
    statuses: Counter[str] = field(default_factory=Counter)
    opened: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MOST_CONNECTIONS))

    async def ask(self, task: str, request: bytes, due: float) -> None:
        """Send ``request`` and note how long after ``due`` (the loop's clock) its answer was whole."""
        async with self.opened:
            try:
                reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port)
                writer.write(request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
                await reader.readexactly(length)
                self.idle.append((reader, writer))
                status = head.split(maxsplit=2)[1].decode()
            except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                status = type(error).__name__
        self.statuses[f"{task} {status}"] += 1
        self.took.setdefault(task, []).append(1_000 * (asyncio.get_running_loop().time() - due))


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
    load = Load(str(urlsplit(asked.address).hostname), int(urlsplit(asked.address).port or 80))
    names = asked.names.read_text().split()
    asyncio.run(_run(load, asked, names))
    print(json.dumps({
        "statuses": dict(load.statuses),
        **{f"{task}_{name}_ms": float(np.quantile(times, share)) for task, times in load.took.items()
           for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))},
        **{f"{task}_per_second": len(times) / asked.seconds for task, times in load.took.items()},
    }))  # fmt: skip


async def _run(load: Load, asked: argparse.Namespace, names: list[str]) -> None:
    rng, loop, who = np.random.default_rng(0), asyncio.get_running_loop(), cycle(names)
    arrivals = sorted(
        (float(at), task)
        for task, rate in (("ask", asked.rate), ("event", asked.events))
        for at in np.cumsum(rng.exponential(1 / rate, int(rate * asked.seconds)) if rate else [])
    )
    began, running = loop.time() + 0.1, set()
    for at, task in arrivals:
        wait = began + at - loop.time()
        if wait > 0:
            await asyncio.sleep(wait)
        made = _question(next(who), asked.key) if task == "ask" else _event(next(who), asked.key)
        one = asyncio.create_task(load.ask(task, made, began + at))
        running.add(one)
        one.add_done_callback(running.discard)
    await asyncio.gather(*running)


def _question(name: str, key: str) -> bytes:
    path = f"/v1/recommendations?customer_id={name}&limit=10"
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


def _event(name: str, key: str) -> bytes:
    body = json.dumps({"event": "Tried", "userId": name, "messageId": uuid.uuid4().hex})
    head = f"POST /v1/track HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


if __name__ == "__main__":
    main()
