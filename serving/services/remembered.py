"""What was weighed for a visitor a moment ago, since pages ask for several slots, and visitors reload.

It holds as long as the visitor does nothing new, the products and the model stay as they are, and for two minutes at most:
so long may who was forgotten still be in another worker's memory.
"""

import time
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")

MOST = 3_000
SECONDS = 120.0


class Remembered(Generic[T]):
    """The newest ``most`` values by key, each for ``seconds``; safe to use from several threads."""

    def __init__(self, *, most: int = MOST, seconds: float = SECONDS) -> None:
        self.most, self.seconds = most, seconds
        self._kept: OrderedDict[Hashable, tuple[float, Hashable, T]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, *, state: Hashable) -> T | None:
        """What was put under ``key`` when things were as ``state`` says; None where it is not there, or too old."""
        found = self._find(key, state)
        return None if found is None else found[2]

    def since(self, key: Hashable, *, state: Hashable) -> float:
        """Since when what ``get`` gives holds, in seconds of the monotonic clock; now where it gives nothing."""
        found = self._find(key, state)
        return time.monotonic() if found is None else found[0]

    def put(self, key: Hashable, value: T, *, state: Hashable, since: float | None = None) -> None:
        """Keep ``value``, which holds ``since`` then or now; the oldest goes where there are too many."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = (time.monotonic() if since is None else since, state, value)
            while len(self._kept) > self.most:
                self._kept.popitem(last=False)

    def forget(self) -> None:
        """Keep nothing of anybody."""
        with self._lock:
            self._kept.clear()

    def _find(self, key: Hashable, state: Hashable) -> tuple[float, Hashable, T] | None:
        found = self._kept.get(key)  # a dictionary may be looked into while others write
        if found is None or found[1] != state or time.monotonic() - found[0] > self.seconds:
            return None
        return found


@dataclass(frozen=True)
class Memory(Generic[T]):
    """One place in ``Remembered``."""

    kept: Remembered[T]
    key: Hashable
    state: Hashable

    def recall(self) -> T | None:
        """What was kept there while things were as they are; None where nothing is."""
        return self.kept.get(self.key, state=self.state)

    def since(self) -> float:
        """Since when what ``recall`` gives holds, in seconds of the monotonic clock; now where it gives nothing."""
        return self.kept.since(self.key, state=self.state)

    def keep(self, value: T) -> None:
        self.kept.put(self.key, value, state=self.state)
