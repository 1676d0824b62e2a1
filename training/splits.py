"""Moments in time to learn from and to judge on; nothing that is judged was seen while learning."""

from collections.abc import Sequence
from datetime import datetime, timedelta


def snapshots(first: datetime, as_of: datetime, *, horizon_days: int, step_days: int, most: int) -> list[datetime]:
    """Up to ``most`` moments, newest first, not before ``first``, whose label windows [t, t + horizon) end by ``as_of``.

    >>> from datetime import timezone
    >>> day = lambda number: datetime(2024, 1, number, tzinfo=timezone.utc)
    >>> [at.day for at in snapshots(day(3), day(31), horizon_days=10, step_days=7, most=9)]
    [21, 14, 7]
    """
    newest = as_of - timedelta(days=horizon_days)
    moments = [newest - timedelta(days=step_days * number) for number in range(most)]
    return [at for at in moments if at >= first]


def before(moments: Sequence[datetime], test: datetime, *, horizon_days: int) -> list[datetime]:
    """The moments to learn from before judging at ``test``: their label windows end at or before it (the embargo).

    >>> from datetime import timezone
    >>> day = lambda number: datetime(2024, 1, number, tzinfo=timezone.utc)
    >>> [at.day for at in before([day(21), day(14), day(7)], day(21), horizon_days=10)]
    [7]
    """
    return [at for at in moments if at + timedelta(days=horizon_days) <= test]
