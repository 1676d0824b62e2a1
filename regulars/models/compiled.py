"""Compiled functions that are kept on disk until any of the code they may be made of changes.

Numba's own cache (beside the file, or in the user's cache folder) compares the file of the function only: after an update it
would go on with what another file's function was, compiled into it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")

Stamp = tuple[tuple[str, int, int], ...]


def stamp_of(folder: Path) -> Stamp:
    """Name, moment and size of every file of code in ``folder`` and below."""
    files = ((file, file.stat()) for file in sorted(folder.rglob("*.py")))
    return tuple((str(file.relative_to(folder)), found.st_mtime_ns, found.st_size) for file, found in files)


STAMP = stamp_of(Path(__file__).parent)


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` compiled at its first call; it gives up the interpreter's lock while it runs."""
    return kept(njit(cache=True, nogil=True)(function), STAMP)


def compiled_inline(function: Callable[P, R]) -> Callable[P, R]:
    """The same, part of each compiled function that calls it: for large ones, which would be compiled alone and there again."""
    return kept(njit(cache=True, nogil=True, inline="always")(function), STAMP)


def compiled_loosely(function: Callable[P, R]) -> Callable[P, R]:
    """The same, where sums may be added in another order."""
    return kept(njit(cache=True, nogil=True, fastmath={"reassoc", "contract"})(function), STAMP)


def kept(dispatcher: Any, stamp: Stamp) -> Any:
    """``dispatcher``, which takes from disk only what was compiled from code of that ``stamp``."""
    dispatcher._cache._cache_file._source_stamp = stamp
    return dispatcher
