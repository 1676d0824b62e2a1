"""How far long work has come, for whoever watches: work says what stage it is in, and nothing here draws anything."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

Share = Callable[[], float]


class Watcher(Protocol):
    """Is told of each stage; ``share`` gives the share of all the work (0-1) that is done by now, from any thread."""

    def stage(self, name: str, share: Share) -> None: ...


_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell ``watcher`` of the stages that are entered within the block."""
    before = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(before)


def is_watched() -> bool:
    """Whether anybody wants to know; asking costs something."""
    return _watcher.get() is not None


def stage(name: str, *, begins: float, ends: float, within: Share) -> None:
    """Say that the work from share ``begins`` to ``ends`` has begun; ``within`` gives the share of it that is done (0-1).

    >>> class Printed:
    ...     def stage(self, name, share):
    ...         print(name, share())
    >>> with watched(Printed()):
    ...     stage("writing", begins=0.5, ends=1.0, within=lambda: 0.5)
    writing 0.75
    """
    watcher = _watcher.get()
    if watcher is not None:
        watcher.stage(name, lambda: begins + (ends - begins) * min(max(within(), 0.0), 1.0))
