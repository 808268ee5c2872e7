"""The text forms of dates, times and intervals, read to the numbers of their binary forms.

The session's settings decide how the server prints them.

    DateStyle ISO        2024-01-31, 2024-01-31 12:34:56.789, 2024-01-31 12:34:56.789+05:30, 0044-03-15 BC
    German               31.01.2024, 31.01.2024 12:34:56.789
    Postgres             Wed Jan 31 12:34:56.789 2024, Wed 31 Jan 12:34:56.789 2024
    IntervalStyle        -1 years -2 mons +3 days -04:05:06.789
      postgres_verbose   @ 1 year 2 mons -3 days 4 hours 5 mins 6.789 secs ago
      iso_8601           P-1Y-2M3DT-4H-5M-6.789S
      sql_standard       -1-2 +3 -4:05:06.789; or 1-2, 3 4:05:06, 4:05:06, 0, perhaps with a minus for all

Rule: what does not say all is refused, even if this value would do: a query must not fail on some days only.
So 01/02/2024 (DateStyle SQL) and 01-02-2024 (Postgres), of which day and month depend on the setting, and
timestamptz in every style but ISO, because an abbreviation such as IST means several time zones.

Sources: EncodeDateOnly, EncodeTimeOnly, EncodeDateTime and EncodeInterval in PostgreSQL's
src/backend/utils/adt/datetime.c.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

from ..errors import DataError
from .codec import malformed_text

__all__ = ["days_of", "interval_of", "interval_text", "micros_and_offset", "micros_of", "micros_of_day"]

_DAY: Final = 86_400_000_000
_EPOCH_ORDINAL: Final = 730120
_ERA_YEARS: Final = 400
_ERA_DAYS: Final = 146097
_INT32: Final = 2**31
_INT64: Final = 2**63
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

_ISO: Final = r"(?P<y>\d{4,7})-(?P<m>\d\d)-(?P<d>\d\d)"
_GERMAN: Final = r"(?P<d>\d\d)\.(?P<m>\d\d)\.(?P<y>\d{4,7})"
_NAMED: Final = r"[A-Z][a-z]{2} (?:(?P<d>\d\d) )?(?P<m>[A-Z][a-z]{2})(?: (?P<d2>\d\d))?"
_TIME: Final = r"(?P<H>\d\d):(?P<M>\d\d):(?P<S>\d\d)(?:\.(?P<f>\d{1,6}))?"
_OFFSET: Final = r"(?P<o>[+-])(?P<oH>\d\d)(?::(?P<oM>\d\d))?(?::(?P<oS>\d\d))?"
_BC: Final = r"(?P<bc> BC)?"

_DATES: Final = [re.compile(form + _BC, re.ASCII) for form in (_ISO, _GERMAN)]
_TIMESTAMPS: Final = [
    re.compile(form + _BC, re.ASCII)
    for form in (f"{_ISO} {_TIME}", f"{_GERMAN} {_TIME}", rf"{_NAMED} {_TIME} (?P<y>\d{{4,7}})")
]
_TIMESTAMPTZ: Final = [re.compile(f"{_ISO} {_TIME}{_OFFSET}{_BC}", re.ASCII)]
_CLOCK: Final = re.compile(_TIME, re.ASCII)
_CLOCK_TZ: Final = re.compile(_TIME + _OFFSET, re.ASCII)
_OTHER_STYLE: Final = re.compile(r"\d\d[-/.]\d\d[-/.]\d{4}|[A-Z][a-z]{2} \w\w", re.ASCII)

_SECONDS: Final = r"(?P<S>\d{1,2})(?:\.(?P<f>\d{1,6}))?"
_HOURS: Final = r"(?P<H>\d{1,10}):(?P<M>\d\d):" + _SECONDS
_INTERVALS: Final = [
    re.compile(form, re.ASCII)
    for form in (
        r"(?:(?P<y>[+-]?\d{1,9}) years? ?)?(?:(?P<m>[+-]?\d{1,2}) mons? ?)?(?:(?P<d>[+-]?\d{1,10}) days? ?)?"
        rf"(?:(?P<t>[+-]?){_HOURS})?",
        r"@(?: (?P<y>-?\d{1,9}) years?)?(?: (?P<m>-?\d{1,2}) mons?)?(?: (?P<d>-?\d{1,10}) days?)?"
        rf"(?: (?P<H>-?\d{{1,10}}) hours?)?(?: (?P<M>-?\d{{1,2}}) mins?)?(?: (?P<s>-?){_SECONDS} secs?)?"
        r"(?: 0)?(?P<minus> ago)?",
        r"P(?:(?P<y>-?\d{1,9})Y)?(?:(?P<m>-?\d{1,2})M)?(?:(?P<d>-?\d{1,10})D)?"
        rf"(?:T(?:(?P<H>-?\d{{1,10}})H)?(?:(?P<M>-?\d{{1,2}})M)?(?:(?P<s>-?){_SECONDS}S)?)?",
        r"(?P<ys>[+-])(?P<y>\d{1,9})-(?P<m>\d{1,2}) (?P<d>[+-]\d{1,10}) (?P<t>[+-])" + _HOURS,
        rf"(?P<minus>-)?(?:(?P<y>\d{{1,9}})-(?P<m>\d{{1,2}})|(?P<d>\d{{1,10}}) {_HOURS}|0)",
    )
]


def days_of(name: str, text: str) -> int:
    """The days from 2000-01-01 to a date; the extreme values of an int32 for the infinities.

    Args:
        name: of the type, for messages.
        text: the date.

    Raises:
        DataError: it is no date, or in a DateStyle that does not say which number is the month.
    """
    if text.endswith("infinity"):
        return _infinite(name, text, _INT32)
    for form in _DATES:
        found = form.fullmatch(text)
        if found is not None:
            return _days(name, found.groupdict())
    raise _unclear(name, text)


def micros_of(name: str, text: str, aware: bool) -> int:
    """The microseconds from 2000-01-01 to a timestamp; the extreme values of an int64 for the infinities.

    Args:
        name: of the type, for messages.
        text: the timestamp.
        aware: True for timestamptz, which has an offset from UTC.

    Raises:
        DataError: it is no timestamp, or in a DateStyle that leaves a doubt.
    """
    if text.endswith("infinity"):
        return _infinite(name, text, _INT64)
    for form in _TIMESTAMPTZ if aware else _TIMESTAMPS:
        found = form.fullmatch(text)
        if found is not None:
            parts = found.groupdict()
            micros = _days(name, parts) * _DAY + _clock(name, parts)
            return micros - _offset(name, parts) * 1_000_000 if aware else micros
    raise _unclear(name, text)


def micros_of_day(name: str, text: str) -> int:
    """The microseconds from midnight to a time; DataError if it is none."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise malformed_text(name, "it is no time")
    return _clock(name, found.groupdict())


def micros_and_offset(name: str, text: str) -> tuple[int, int]:
    """The microseconds from midnight, and the seconds east of UTC, of a timetz; DataError if it is none."""
    found = _CLOCK_TZ.fullmatch(text)
    if found is None:
        raise malformed_text(name, "it is no time with an offset from UTC")
    parts = found.groupdict()
    return _clock(name, parts), _offset(name, parts)


def interval_of(name: str, text: str) -> tuple[int, int, int]:
    """The months, days and microseconds of an interval, which may be out of range.

    Args:
        name: of the type, for messages.
        text: the interval.

    Returns:
        The extreme values of int32, int32 and int64 for the infinities.

    Raises:
        DataError: it is no interval.
    """
    if text.endswith("infinity"):
        months = _infinite(name, text, _INT32)
        return months, months, _infinite(name, text, _INT64)
    for form in _INTERVALS:
        found = form.fullmatch(text)
        if found is not None and text not in ("", "@", "P", "PT"):
            return _interval(found.groupdict())
    raise malformed_text(name, "it is no interval")


def interval_text(months: int, days: int, micros: int) -> str:
    """An interval in the IntervalStyle "postgres", which reads the same under every other."""
    parts: list[str] = []
    sign = ""  # of a positive number: a plus after a negative one
    whole = abs(months)
    years, rest = (whole // 12, whole % 12) if months > 0 else (-(whole // 12), -(whole % 12))
    for number, unit in ((years, "year"), (rest, "mon"), (days, "day")):
        if number:
            parts.append(f"{sign if number > 0 else ''}{number} {unit}{'' if number == 1 else 's'}")
            sign = "+" if number < 0 else ""
    if micros or not parts:
        seconds, fraction = divmod(abs(micros), 1_000_000)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        if fraction:
            clock += f".{fraction:06d}".rstrip("0")
        parts.append(("-" if micros < 0 else sign) + clock)
    return " ".join(parts)


def _infinite(name: str, text: str, limit: int) -> int:
    if text == "infinity":
        return limit - 1
    if text == "-infinity":
        return -limit
    raise malformed_text(name, "something around infinity")


def _unclear(name: str, text: str) -> DataError:
    if _OTHER_STYLE.match(text) is None:
        return malformed_text(name, "it is no date")
    return DataError(
        f"{name} as text in a DateStyle that does not say all (which number is the month, or the offset "
        "from UTC): set DateStyle to ISO"
    )


def _days(name: str, parts: dict[str, str | None]) -> int:
    """The days from 2000-01-01 to the date of y, m, d and bc."""
    year = int(parts["y"] or 0)
    if parts["bc"]:
        year = 1 - year
    month = parts["m"] or ""
    day = parts["d"] or parts.get("d2") or "0"
    era, year_of_era = divmod(year - 2000, _ERA_YEARS)
    try:
        number = _MONTHS.index(month) + 1 if month.isalpha() else int(month)
        ordinal = date(2000 + year_of_era, number, int(day)).toordinal()
    except ValueError:
        raise malformed_text(name, "there is no such day") from None
    return ordinal - _EPOCH_ORDINAL + era * _ERA_DAYS


def _clock(name: str, parts: dict[str, str | None]) -> int:
    """The microseconds of H, M, S and f, at most a day."""
    hours, minutes, seconds = int(parts["H"] or 0), int(parts["M"] or 0), int(parts["S"] or 0)
    micros = ((hours * 60 + minutes) * 60 + seconds) * 1_000_000 + _fraction(parts)
    if minutes > 59 or seconds > 59 or micros > _DAY:
        raise malformed_text(name, "there is no such time")
    return micros


def _fraction(parts: dict[str, str | None]) -> int:
    return int((parts["f"] or "0").ljust(6, "0"))


def _offset(name: str, parts: dict[str, str | None]) -> int:
    """The seconds east of UTC of o, oH, oM and oS."""
    hours, minutes, seconds = int(parts["oH"] or 0), int(parts["oM"] or 0), int(parts["oS"] or 0)
    east = (hours * 60 + minutes) * 60 + seconds
    if minutes > 59 or seconds > 59 or hours > 23:
        raise malformed_text(name, "there is no such offset from UTC")
    return -east if parts["o"] == "-" else east


def _interval(parts: dict[str, str | None]) -> tuple[int, int, int]:
    """The months, days and microseconds of y, m, d, H, M, S and f.

    Signs of their own: ys of years and months, t of all three of the time, s of the seconds; minus turns all.
    """

    def number(part: str) -> int:
        return int(parts.get(part) or "0")

    def turned(part: str, value: int) -> int:
        return -value if parts.get(part) == "-" else value

    months = turned("ys", number("y") * 12 + number("m"))
    seconds = turned("s", number("S") * 1_000_000 + _fraction(parts))
    micros = turned("t", (number("H") * 60 + number("M")) * 60_000_000 + seconds)
    return (-months, -number("d"), -micros) if parts.get("minus") else (months, number("d"), micros)
