"""How long something usually takes: the middle of the latest times, which one slow time does not move."""

from collections import deque
from statistics import median

REMEMBERED = 31


class Usual:
    """The latest 31 times in seconds, and their median, which is asked for far more often than it changes."""

    def __init__(self) -> None:
        self._took = deque[float](maxlen=REMEMBERED)
        self._median: float | None = 0.0

    def __len__(self) -> int:
        return len(self._took)

    def add(self, seconds: float) -> None:
        self._took.append(seconds)
        self._median = None

    @property
    def mean(self) -> float:
        """The mean: what each takes of the time of several, one after the other, slow ones too; 0 where nothing is known."""
        return sum(self._took) / max(len(self._took), 1)

    @property
    def seconds(self) -> float:
        """The median; 0 where nothing is known."""
        found = self._median
        if found is None:
            found = self._median = median(self._took)
        return found
