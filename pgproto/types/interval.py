"""Interval: PostgreSQL's interval without loss.

A month has no fixed number of days and a day no fixed number of seconds, so PostgreSQL keeps three numbers,
and so does this class.  timedelta has no months; drivers that turn a month into 30 days do not return the
value that is in the table.

Manual: "Date/Time Types", "Interval Input".
"""

from __future__ import annotations

import operator
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

__all__ = ["Interval"]

_DAY: Final = 86_400_000_000
_INT32: Final = 1 << 31
_INT64: Final = 1 << 63


def _checked(name: str, value: int, limit: int) -> int:
    number = operator.index(value)
    if not -limit <= number < limit:
        raise ValueError(f"{name} out of range: it goes from {-limit} to {limit - 1}")
    return number


class Interval:
    """Months, days and microseconds, each with its own sign.  Immutable and hashable.

    Two intervals are equal if all three numbers are equal; `1 month` and `30 days` differ, although SQL
    compares them as equal.  The order is PostgreSQL's (a month counts as 30 days, a day as 24 hours); of two
    intervals that are equal in SQL, the one with fewer months, then fewer days, comes first.
    It can be added to a datetime and subtracted from one, as the server does it: first the months, where a
    day that the month does not have becomes its last one, then the days, then the microseconds.  With a date,
    the result is a datetime, too.  With a fixed UTC offset that is what a session with this offset gives; in
    a time zone whose offset changes, microseconds only can be added.
    PostgreSQL 17's `infinity` and `-infinity` have the largest and the smallest value in all three.

    Args:
        months: an int32; a year is 12 months.
        days: an int32.
        microseconds: an int64.

    Raises:
        TypeError: an argument is not an int.
        ValueError: an argument is out of range.
    """

    __slots__ = ("_days", "_microseconds", "_months")

    def __init__(self, months: int = 0, days: int = 0, microseconds: int = 0) -> None:
        self._months: int = _checked("months", months, _INT32)
        self._days: int = _checked("days", days, _INT32)
        self._microseconds: int = _checked("microseconds", microseconds, _INT64)

    @property
    def months(self) -> int:
        """The months; a year is 12 of them."""
        return self._months

    @property
    def days(self) -> int:
        """The days."""
        return self._days

    @property
    def microseconds(self) -> int:
        """The time part in microseconds; it may be more than a day."""
        return self._microseconds

    @staticmethod
    def from_timedelta(delta: timedelta) -> Interval:
        """The interval of a timedelta's days, seconds and microseconds, exactly."""
        return Interval(0, delta.days, delta.seconds * 1_000_000 + delta.microseconds)

    def to_timedelta(self) -> timedelta:
        """The timedelta of the same days and microseconds, counting a day as 24 hours.

        Raises:
            ValueError: the interval has months, whose length in days is not known.
            OverflowError: it is longer than a timedelta can be (999,999,999 days).
        """
        if self._months:
            raise ValueError(f"{self!r} has months, which are no fixed number of days")
        seconds, microseconds = divmod(self._microseconds, 1_000_000)
        return timedelta(self._days, seconds, microseconds)

    def __add__(self, other: object) -> datetime:
        """The datetime that much later.

        Raises:
            ValueError: it has months or days, and the datetime a time zone without a fixed offset.
            OverflowError: Python has no such datetime.
        """
        if not isinstance(other, date):
            return NotImplemented
        return self._moved(other, 1)

    def __radd__(self, other: object) -> datetime:
        if not isinstance(other, date):
            return NotImplemented
        return self._moved(other, 1)

    def __rsub__(self, other: object) -> datetime:
        """The datetime that much earlier; raises as `+`."""
        if not isinstance(other, date):
            return NotImplemented
        return self._moved(other, -1)

    def _moved(self, start: date, sign: int) -> datetime:
        moment = start if isinstance(start, datetime) else datetime.combine(start, time())
        zone = moment.tzinfo
        if zone is not None and zone.utcoffset(None) is None:
            if self._months or self._days:
                raise ValueError(
                    "months and days are not exact in a time zone whose offset changes, because the server "
                    "reckons in that of the session; convert the datetime to UTC"
                )
            return (moment.astimezone(UTC) + timedelta(0, 0, sign * self._microseconds)).astimezone(zone)
        month = 12 * moment.year + moment.month - 1 + sign * self._months
        if not 12 <= month < 12 * 10000:
            raise OverflowError("date value out of range")
        year = month // 12
        month = month % 12 + 1
        day = min(moment.day, monthrange(year, month)[1])
        moment = moment.replace(year=year, month=month, day=day, fold=0)
        return moment + timedelta(sign * self._days, 0, sign * self._microseconds)

    def _key(self) -> tuple[int, int, int]:
        estimate = (self._months * 30 + self._days) * _DAY + self._microseconds
        return (estimate, self._months, self._days)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._key() < other._key()

    def __le__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._key() <= other._key()

    def __gt__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._key() > other._key()

    def __ge__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return self._key() >= other._key()

    def __reduce__(self) -> tuple[type[Interval], tuple[int, int, int]]:
        return (Interval, (self._months, self._days, self._microseconds))

    def __repr__(self) -> str:
        return f"Interval(months={self._months}, days={self._days}, microseconds={self._microseconds})"
