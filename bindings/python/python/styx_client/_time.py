"""Times of records as datetimes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def from_microseconds(timestamp: int) -> datetime:
    """The datetime, in UTC, of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=timestamp)
