"""When objects that refer to each other in circles are looked for: often among the young, seldom among all.

Python looks when many more objects were made than freed. Where much is remembered of visitors, and as much forgotten, that is
seldom, and then it looks through fifty thousand at once, while everybody waits for some 40 milliseconds. What was made within a
tenth of a second is looked through in less than one.
"""

import gc
import time
from collections.abc import Callable

YOUNG_S, ALL_S = 0.1, 600.0
BY_ITSELF = (100_000, 100, 10)  # what Python does beside: nothing, unless something keeps others from looking


class Tidying:
    """``look`` is to be called every tenth of a second. What is there at first, most of it code, is not looked through again."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*BY_ITSELF)
        self._clock, self._all_at = clock, clock() + ALL_S

    def look(self) -> None:
        """Look through what is young, or through all where that is ten minutes ago."""
        now = self._clock()
        if now < self._all_at:
            gc.collect(0)
        else:
            gc.collect()
            self._all_at = now + ALL_S
