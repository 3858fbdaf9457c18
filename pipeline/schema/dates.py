"""Dates and times as days since 1970 in UTC, to the microsecond."""

from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def epoch_days(text: str) -> float:
    """Days since 1970-01-01 of an ISO 8601 date or time, in UTC where it has no offset.

    Raises ValueError.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - EPOCH) / DAY


def iso(days: float) -> str:
    """The shortest ISO 8601 writing: a date at midnight, else a time with its offset."""
    moment = EPOCH + timedelta(days=days)
    is_midnight = not (moment.hour or moment.minute or moment.second or moment.microsecond)
    return moment.date().isoformat() if is_midnight else moment.isoformat()
