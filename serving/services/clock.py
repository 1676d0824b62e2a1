"""Whose now it is: a shop whose data ended long ago is asked as of its own end."""

from datetime import datetime, timedelta

STALE = timedelta(hours=48)


def service_time(now: datetime, *, as_of: datetime, published_at: datetime) -> datetime:
    """``now``, or for data that was more than 48 hours old when published, the time that has passed since, after its end.

    >>> from datetime import timezone
    >>> day = lambda year, number: datetime(year, 1, number, tzinfo=timezone.utc)
    >>> service_time(day(2024, 5), as_of=day(2017, 1), published_at=day(2024, 4)).isoformat()
    '2017-01-02T00:00:00+00:00'
    >>> service_time(day(2024, 5), as_of=day(2024, 4), published_at=day(2024, 4)).isoformat()
    '2024-01-05T00:00:00+00:00'
    """
    return as_of + (now - published_at) if published_at - as_of > STALE else now
