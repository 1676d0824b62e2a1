"""Small matrices on one processor: threads of BLAS wait for each other longer than such a product takes.

Its number of threads is one for the whole process, not for each of our threads: who answers several questions side by side
sets it once, at the start.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread inside; where each history brings matrices of 64 columns this is several times as fast."""
    with _controller().limit(limits=1, user_api="blas"):
        yield


def always_one_thread() -> None:
    """BLAS on one thread from now on, as far as its libraries are loaded by now."""
    ThreadpoolController().limit(limits=1, user_api="blas")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
