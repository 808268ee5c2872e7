"""Codecs of date, time, timetz, timestamp, timestamptz and interval.

    date         date         a datetime only at midnight, because its time would be lost
    time         time         without tzinfo
    timetz       time         with a tzinfo of fixed offset
    timestamp    datetime     without tzinfo; or a date
    timestamptz  datetime     with tzinfo; arrives in UTC
    interval     Interval     timedelta

Rule: no value is changed to fit.  PostgreSQL has dates before year 1 and after 9999, `infinity`, `-infinity`
and `24:00:00`; Python has not.  Decoding one raises DataError, whose text names the value and says to select
it as text.  A naive datetime for timestamptz (and an aware one for timestamp) is refused, because the
conversion would need a time zone that is not given.

Binary forms: int32 days or int64 microseconds since 2000-01-01; timetz is int64 microseconds and an int32 of
seconds *west* of UTC; interval is int64 microseconds, int32 days, int32 months.
"""

from __future__ import annotations

import struct
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError
from ..wire.native import read_int32, read_int64
from .calendar import EPOCH, EPOCH_UTC, MAX_MICROS, MIN_MICROS, moment
from .codec import Codec, FixedCodec, expected, malformed, malformed_text
from .interval import Interval
from .timetext import days_of, interval_of, interval_text, micros_and_offset, micros_of, micros_of_day

if TYPE_CHECKING:
    from mypy_extensions import i64

__all__ = ["DateCodec", "IntervalCodec", "TimeCodec", "TimestampCodec", "TimetzCodec"]

# Constants, so that compiled code does not look them up by name.
_DATE: Final[Any] = date
_DATETIME: Final[Any] = datetime
_TIME: Final[Any] = time
_TIMEZONE: Final[Any] = timezone
_TIMEDELTA: Final[Any] = timedelta
_FROM_ORDINAL: Final[Any] = date.fromordinal
_EPOCH: Final[Any] = EPOCH
_EPOCH_UTC: Final[Any] = EPOCH_UTC
_DAY: Final = 86_400_000_000
_MIDNIGHT: Final = time()
_EPOCH_ORDINAL: Final = 730120
_MAX_ORDINAL: Final = 3652059
# Length and value.
_PACK_TIMETZ: Final[Any] = struct.Struct(">4sqi").pack
_PACK_INTERVAL: Final[Any] = struct.Struct(">4sqii").pack
_TIMETZ_LENGTH: Final = b"\x00\x00\x00\x0c"
_INTERVAL_LENGTH: Final = b"\x00\x00\x00\x10"
_INTERVAL: Final = struct.Struct(">qii")
# Since PostgreSQL 17 these (microseconds, days, months) mean infinite intervals.
_INFINITE: Final = {
    (2**63 - 1, 2**31 - 1, 2**31 - 1): "infinity",
    (-(2**63), -(2**31), -(2**31)): "-infinity",
}
_MOST_MONTHS: Final = 2**31 - 1  # of an interval that is not infinite less


def _no_python_value(name: str, what: str) -> DataError:
    return DataError(f"{name} {what}: Python has no such value; select it as text (cast it ::text)")


def _clock(name: str, micros: int, zone: timezone | None) -> time:
    """The time of day `micros` after midnight."""
    if not 0 <= micros < _DAY:
        if micros == _DAY:
            raise _no_python_value(name, "24:00:00")
        raise malformed(name, f"{micros} microseconds after midnight")
    rest: i64 = micros
    seconds: i64 = rest // 1_000_000
    minutes: i64 = seconds // 60
    hours: i64 = minutes // 60
    # Its pickled form, as in `calendar`: hour, minute and second, and three bytes of microseconds.
    state: i64 = (hours << 8 | (minutes - 60 * hours)) << 8 | (seconds - 60 * minutes)
    state = state << 24 | (rest - 1_000_000 * seconds)
    data = int(state).to_bytes(6, "big")
    made: time = _TIME(data) if zone is None else _TIME(data, zone)
    return made


def _micros_of_day(value: Any) -> int:
    """The microseconds from midnight to a time.  Of Any: compiled code has no need to look at its class."""
    hour: i64 = value.hour
    minute: i64 = value.minute
    second: i64 = value.second
    micro: i64 = value.microsecond
    return ((hour * 60 + minute) * 60 + second) * 1_000_000 + micro


class DateCodec(FixedCodec):
    """date, from 0001-01-01 to 9999-12-31."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name, "i", None)

    def raw(self, value: object) -> object:
        """Take a date; a datetime only if nothing of it is lost."""
        given: Any = value
        if type(value) is not _DATE:
            if not isinstance(value, date):
                raise expected("date", value)
            if isinstance(value, datetime) and (value.tzinfo is not None or value.time() != _MIDNIGHT):
                raise TypeError("expected date, got datetime whose time would be lost; pass its date()")
        ordinal: i64 = given.toordinal()
        return ordinal - _EPOCH_ORDINAL

    def convert(self, raw: object) -> object:
        """The date that many days after 2000-01-01."""
        assert isinstance(raw, int)
        ordinal = raw + _EPOCH_ORDINAL
        if 1 <= ordinal <= _MAX_ORDINAL:
            return _FROM_ORDINAL(ordinal)
        if raw == 0x7FFFFFFF:
            raise _no_python_value(self.name, "infinity")
        if raw == -0x80000000:
            raise _no_python_value(self.name, "-infinity")
        raise _no_python_value(self.name, f"{raw} days from 2000-01-01, not in the years 1 to 9999")

    def decode_text(self, text: str) -> object:
        """The date, in a DateStyle that says which number is the month: ISO or German."""
        return self.convert(days_of(self.name, text))


class TimeCodec(FixedCodec):
    """time without time zone, from 00:00:00 to 23:59:59.999999."""

    __slots__ = ()

    def __init__(self, oid: int, name: str) -> None:
        super().__init__(oid, name, "q", None)

    def raw(self, value: object) -> object:
        """Take a time without tzinfo."""
        given: Any = value
        if type(value) is not _TIME and not isinstance(value, time):
            raise expected("time", value)
        if given.tzinfo is not None:
            raise ValueError("time with tzinfo; pass one without, or use timetz")
        return _micros_of_day(given)

    def convert(self, raw: object) -> object:
        """The time that many microseconds after midnight."""
        assert isinstance(raw, int)
        return _clock(self.name, raw, None)

    def decode_text(self, text: str) -> object:
        """The time."""
        return self.convert(micros_of_day(self.name, text))


class TimetzCodec(Codec):
    """time with time zone: a time of day and an offset from UTC in seconds."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """Take a time whose tzinfo has a fixed offset of whole seconds."""
        return self._field(value)[4:]

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append length and value by one `struct` call."""
        parts.append(self._field(value))
        return 16

    def _field(self, value: object) -> bytes:
        """The length and the value."""
        given: Any = value
        if type(value) is not _TIME and not isinstance(value, time):
            raise expected("time", value)
        zone = given.tzinfo
        # A timezone's own method takes half the time of the time's, which looks it up by its name.
        offset = zone.utcoffset(None) if type(zone) is _TIMEZONE else given.utcoffset()
        if offset is None:
            raise ValueError("time without a fixed UTC offset; pass one with tzinfo, such as timezone.utc")
        micros: i64 = offset.microseconds
        if micros:
            raise ValueError("UTC offset with a fraction of a second")
        days: i64 = offset.days
        seconds: i64 = offset.seconds
        field: bytes = _PACK_TIMETZ(_TIMETZ_LENGTH, _micros_of_day(given), -(days * 86400 + seconds))
        return field

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The time, with its offset as a datetime.timezone."""
        if end - start != 12:
            raise malformed(self.name, f"{end - start} bytes instead of 12")
        micros = read_int64(buffer, start)
        west: i64 = read_int32(buffer, start + 8)
        if not -86400 < west < 86400:
            raise malformed(self.name, f"{west} seconds west of UTC")
        return _clock(self.name, micros, _TIMEZONE(_TIMEDELTA(0, -west)))

    def encode_text(self, value: object) -> str:
        """Take a time whose tzinfo has a fixed offset of whole seconds."""
        data = self.encode(value)
        return str(self.decode(data, 0, len(data)))

    def decode_text(self, text: str) -> object:
        """The time, with its offset as a datetime.timezone."""
        micros, east = micros_and_offset(self.name, text)
        field: bytes = _PACK_TIMETZ(_TIMETZ_LENGTH, micros, -east)
        return self.decode(field, 4, len(field))


class TimestampCodec(FixedCodec):
    """timestamp (naive) or timestamptz (aware), in the years 1 to 9999."""

    __slots__ = ("_aware",)

    def __init__(self, oid: int, name: str, aware: bool) -> None:
        super().__init__(oid, name, "q", None)
        self._aware = aware

    def raw(self, value: object) -> object:
        """Take a datetime, with tzinfo for timestamptz and without for timestamp, or a date for that."""
        given: Any = value
        if type(value) is not _DATETIME and not isinstance(value, datetime):
            if not isinstance(value, date):
                raise expected("datetime", value)
            if self._aware:
                raise TypeError(
                    "expected datetime, got date; pass midnight with tzinfo, such as timezone.utc"
                )
            return (value.toordinal() - _EPOCH_ORDINAL) * _DAY
        if self._aware:
            if type(given.tzinfo) is not _TIMEZONE and given.utcoffset() is None:
                raise ValueError("datetime without time zone; pass one with tzinfo, such as timezone.utc")
            delta = given - _EPOCH_UTC
        else:
            if given.tzinfo is not None:
                raise ValueError("datetime with time zone; pass one without tzinfo, or use timestamptz")
            delta = given - _EPOCH
        days: i64 = delta.days
        seconds: i64 = delta.seconds
        micros: i64 = delta.microseconds
        return (days * 86400 + seconds) * 1_000_000 + micros

    def convert(self, raw: object) -> object:
        """The datetime that many microseconds after 2000-01-01."""
        assert isinstance(raw, int)
        if MIN_MICROS <= raw <= MAX_MICROS:
            return moment(raw, self._aware)
        if raw == 0x7FFFFFFFFFFFFFFF:
            raise _no_python_value(self.name, "infinity")
        if raw == -0x8000000000000000:
            raise _no_python_value(self.name, "-infinity")
        raise _no_python_value(self.name, f"{raw} microseconds from 2000-01-01, not in the years 1 to 9999")

    def decode_text(self, text: str) -> object:
        """The datetime, in a DateStyle that leaves no doubt: ISO, and for timestamp German and Postgres, too.

        The other styles print timestamptz with an abbreviation of the time zone, which is no offset.
        """
        return self.convert(micros_of(self.name, text, self._aware))


class IntervalCodec(Codec):
    """interval, without loss."""

    __slots__ = ()

    def encode(self, value: object) -> bytes:
        """Take an Interval, or a timedelta (its days, and the rest as microseconds)."""
        return self._field(value)[4:]

    def add_field(self, parts: list[bytes], value: object) -> i64:
        """Append length and value by one `struct` call."""
        parts.append(self._field(value))
        return 20

    def _field(self, value: object) -> bytes:
        """The length and the value."""
        if not isinstance(value, Interval):
            if not isinstance(value, timedelta):
                raise expected("Interval or timedelta", value)
            value = Interval.from_timedelta(value)
        months: i64 = value.months
        if not -_MOST_MONTHS < months < _MOST_MONTHS:
            name = _INFINITE.get((value.microseconds, value.days, months))
            if name is not None:
                raise ValueError(f"PostgreSQL would take it for {name}")
        field: bytes = _PACK_INTERVAL(_INTERVAL_LENGTH, value.microseconds, value.days, months)
        return field

    def decode(self, buffer: bytes, start: i64, end: i64) -> object:
        """The Interval."""
        if end - start != 16:
            raise malformed(self.name, f"{end - start} bytes instead of 16")
        microseconds = read_int64(buffer, start)
        days = read_int32(buffer, start + 8)
        months = read_int32(buffer, start + 12)
        if not -_MOST_MONTHS < months < _MOST_MONTHS:
            name = _INFINITE.get((microseconds, days, months))
            if name is not None:
                raise _no_python_value(self.name, name)
        return Interval(months, days, microseconds)

    def encode_text(self, value: object) -> str:
        """Take an Interval, or a timedelta."""
        microseconds, days, months = _INTERVAL.unpack(self.encode(value))
        return interval_text(months, days, microseconds)

    def decode_text(self, text: str) -> object:
        """The Interval, in any IntervalStyle."""
        months, days, microseconds = interval_of(self.name, text)
        try:
            data = _INTERVAL.pack(microseconds, days, months)
        except struct.error:
            raise malformed_text(self.name, "out of range") from None
        return self.decode(data, 0, len(data))
