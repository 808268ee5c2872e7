"""Codecs of dates, times and intervals: no value is changed or truncated."""

from __future__ import annotations

import copy
import operator
import pickle
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto.errors import DataError
from pgproto.types import Codec, Interval, calendar
from pgproto.types.calendar import EPOCH, MAX_MICROS, MIN_MICROS, by_arithmetic, by_timedelta, moment
from tests.support.codecs import binary_codec

FIXED = settings(deadline=None, derandomize=True)

DATE, TIME, TIMETZ, TIMESTAMP, TIMESTAMPTZ, INTERVAL = 1082, 1083, 1266, 1114, 1184, 1186
INDIA = timezone(timedelta(hours=5, minutes=30))
WEST = timezone(-timedelta(hours=3, minutes=30, seconds=15))


def codec(oid: int) -> Codec:
    found = binary_codec(oid)
    assert found is not None
    return found


def decode(oid: int, binary: bytes) -> object:
    return codec(oid).decode(b"\x11" + binary + b"\x22", 1, 1 + len(binary))


VECTORS: list[tuple[int, Any, str]] = [
    (DATE, date(2000, 1, 1), "00000000"),
    (DATE, date(1999, 12, 31), "ffffffff"),
    (DATE, date(2024, 2, 29), "00002279"),
    (DATE, date.min, struct.pack(">i", -730119).hex()),
    (DATE, date.max, struct.pack(">i", 2921939).hex()),
    (TIME, time(0, 0), "0000000000000000"),
    (TIME, time(0, 0, 1), "00000000000f4240"),
    (TIME, time.max, "000000141dd75fff"),
    (TIMETZ, time(0, 0, 1, 0, UTC), "00000000000f4240 00000000"),
    (TIMETZ, time(0, 0, 1, 0, INDIA), "00000000000f4240 ffffb2a8"),
    (TIMETZ, time(0, 0, 1, 0, WEST), "00000000000f4240 00003147"),
    (TIMESTAMP, datetime(2000, 1, 1), "0000000000000000"),
    (TIMESTAMP, datetime(1999, 12, 31, 23, 59, 59, 999999), "ffffffffffffffff"),
    (TIMESTAMP, datetime.min, struct.pack(">q", MIN_MICROS).hex()),
    (TIMESTAMP, datetime.max, struct.pack(">q", MAX_MICROS).hex()),
    (TIMESTAMPTZ, datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC), "00000000000f4240"),
    (INTERVAL, Interval(14, -3, 1), "0000000000000001 fffffffd 0000000e"),
    (INTERVAL, Interval(-(2**31), -(2**31), 1 - 2**63), "8000000000000001 80000000 80000000"),
    (INTERVAL, Interval(2**31 - 1, 2**31 - 1, 2**63 - 2), "7ffffffffffffffe 7fffffff 7fffffff"),
]


@pytest.mark.parametrize(("oid", "value", "data"), VECTORS)
def test_vector(oid: int, value: object, data: str) -> None:
    binary = bytes.fromhex(data)
    assert codec(oid).encode(value) == binary
    decoded = decode(oid, binary)
    assert decoded == value
    assert type(decoded) is type(value)
    if isinstance(value, datetime | time):
        assert isinstance(decoded, datetime | time)
        assert decoded.utcoffset() == value.utcoffset()


class Nowhere(tzinfo):
    """A tzinfo that does not know its offset."""

    def utcoffset(self, dt: datetime | None, /) -> timedelta | None:
        return None

    def dst(self, dt: datetime | None, /) -> timedelta | None:
        return None

    def tzname(self, dt: datetime | None, /) -> str | None:
        return None


@pytest.mark.parametrize(
    ("oid", "value", "error", "text"),
    [
        (DATE, datetime(2000, 1, 1, 0, 0, 1), TypeError, "expected date, got datetime"),
        (DATE, "2000-01-01", TypeError, "expected date, got str"),
        (TIME, time(1, tzinfo=UTC), ValueError, "time with tzinfo"),
        (TIME, 5, TypeError, "expected time, got int"),
        (TIMETZ, time(1), ValueError, "time without a fixed UTC offset"),
        (TIMETZ, time(1, tzinfo=Nowhere()), ValueError, "time without a fixed UTC offset"),
        (TIMETZ, time(1, tzinfo=timezone(timedelta(microseconds=1))), ValueError, "fraction of a second"),
        (TIMETZ, 5, TypeError, "expected time, got int"),
        (TIMESTAMP, datetime(2000, 1, 1, tzinfo=UTC), ValueError, "datetime with time zone"),
        (TIMESTAMPTZ, date(2000, 1, 1), TypeError, "expected datetime, got date"),
        (TIMESTAMPTZ, datetime(2000, 1, 1), ValueError, "datetime without time zone"),
        (TIMESTAMPTZ, datetime(2000, 1, 1, tzinfo=Nowhere()), ValueError, "datetime without time zone"),
        (TIMESTAMPTZ, 0, TypeError, "expected datetime, got int"),
        (INTERVAL, 5, TypeError, "expected Interval or timedelta, got int"),
        (INTERVAL, Interval(2**31 - 1, 2**31 - 1, 2**63 - 1), ValueError, "would take it for infinity"),
        (INTERVAL, Interval(-(2**31), -(2**31), -(2**63)), ValueError, "would take it for -infinity"),
    ],
)
def test_refused(oid: int, value: object, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        codec(oid).encode(value)


@pytest.mark.parametrize(
    ("oid", "data", "text"),
    [
        (DATE, struct.pack(">i", 2**31 - 1), "date infinity: Python has no such value; select it as text"),
        (DATE, struct.pack(">i", -(2**31)), "date -infinity: Python has no such value"),
        (DATE, struct.pack(">i", -730120), "date -730120 days from 2000-01-01, not in the years 1 to 9999"),
        (DATE, struct.pack(">i", 2921940), "date 2921940 days"),
        (DATE, b"123", "3 bytes instead of 4"),
        (TIME, struct.pack(">q", 86_400_000_000), "time 24:00:00: Python has no such value"),
        (TIME, struct.pack(">q", 86_400_000_001), "malformed binary value of type time: 86400000001 micro"),
        (TIME, struct.pack(">q", -1), "-1 microseconds after midnight"),
        (TIMETZ, struct.pack(">qi", 86_400_000_000, 0), "timetz 24:00:00"),
        (TIMETZ, struct.pack(">qi", 0, 86400), "86400 seconds west of UTC"),
        (TIMETZ, struct.pack(">qi", 0, -86400), "-86400 seconds west of UTC"),
        (TIMETZ, b"12345678", "8 bytes instead of 12"),
        (INTERVAL, struct.pack(">qii", 2**63 - 1, 2**31 - 1, 2**31 - 1), "interval infinity: Python has no"),
        (INTERVAL, struct.pack(">qii", -(2**63), -(2**31), -(2**31)), "interval -infinity: Python has no"),
        (TIMESTAMP, struct.pack(">q", 2**63 - 1), "timestamp infinity: Python has no such value"),
        (TIMESTAMPTZ, struct.pack(">q", -(2**63)), "timestamptz -infinity: Python has no such value"),
        (TIMESTAMP, struct.pack(">q", MIN_MICROS - 1), "microseconds from 2000-01-01, not in the years"),
        (TIMESTAMPTZ, struct.pack(">q", MAX_MICROS + 1), "microseconds from 2000-01-01, not in the years"),
        (INTERVAL, b"x" * 15, "15 bytes instead of 16"),
    ],
)
def test_no_python_value(oid: int, data: bytes, text: str) -> None:
    with pytest.raises(DataError, match=text):
        decode(oid, data)


def test_timestamptz_is_a_moment() -> None:
    there = datetime(2024, 2, 29, 13, 14, 15, 678901, INDIA)
    decoded = decode(TIMESTAMPTZ, codec(TIMESTAMPTZ).encode(there))
    assert decoded == there
    assert isinstance(decoded, datetime)
    assert decoded.tzinfo is UTC


@FIXED
@given(st.integers(MIN_MICROS, MAX_MICROS), st.booleans())
def test_two_calendars_agree(micros: int, aware: bool) -> None:
    expected = by_timedelta(micros, aware)
    assert by_arithmetic(micros, aware) == expected == moment(micros, aware)
    assert (expected.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1) == micros


def test_the_compiled_build_reckons_by_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "COMPILED", True)
    for micros in (MIN_MICROS, -1, 0, 86_400_000_001, MAX_MICROS):
        for aware in (False, True):
            assert moment(micros, aware) == by_timedelta(micros, aware)


def test_two_calendars_agree_on_every_month_and_leap_day() -> None:
    for year in [*range(1, 9999, 3), 1900, 2000, 2100, 2400, 9999]:
        for month in range(1, 13):
            first = (datetime(year, month, 1) - EPOCH) // timedelta(microseconds=1)
            for micros in (first, max(first - 1, MIN_MICROS)):
                assert by_arithmetic(micros, False) == by_timedelta(micros, False)


_OFFSETS = st.integers(-86399, 86399).map(lambda seconds: timezone(timedelta(seconds=seconds)))


@pytest.mark.parametrize(
    ("oid", "values"),
    [
        (DATE, st.dates()),
        (TIME, st.times()),
        (TIMETZ, st.times(timezones=_OFFSETS)),
        (TIMESTAMP, st.datetimes()),
        (TIMESTAMPTZ, st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=_OFFSETS)),
        (
            INTERVAL,
            st.builds(
                Interval,
                st.integers(-(2**31), 2**31 - 1),
                st.integers(-(2**31), 2**31 - 1),
                st.integers(-(2**63), 2**63 - 1),
            ),
        ),
    ],
)
def test_round_trip(oid: int, values: st.SearchStrategy[Any]) -> None:
    @FIXED
    @given(values)
    def check(value: object) -> None:
        assert decode(oid, codec(oid).encode(value)) == value

    check()


@FIXED
@given(st.timedeltas())
def test_timedelta_round_trip(delta: timedelta) -> None:
    interval = decode(INTERVAL, codec(INTERVAL).encode(delta))
    assert isinstance(interval, Interval)
    assert interval == Interval.from_timedelta(delta)
    assert interval.to_timedelta() == delta


def test_interval_class() -> None:
    interval = Interval(1, 2, 3)
    assert (interval.months, interval.days, interval.microseconds) == (1, 2, 3)
    assert repr(interval) == "Interval(months=1, days=2, microseconds=3)"
    assert Interval() == Interval(0, 0, 0) != interval
    assert hash(Interval(1, 2, 3)) == hash(interval)
    assert pickle.loads(pickle.dumps(interval)) == interval
    assert copy.deepcopy(interval) == interval
    assert Interval(0, 1, 86_400_000_000).to_timedelta() == timedelta(days=2)
    with pytest.raises(ValueError, match="has months"):
        interval.to_timedelta()
    with pytest.raises(OverflowError):
        Interval(0, 2**31 - 1).to_timedelta()
    for name in ("months", "days", "microseconds", "years"):
        with pytest.raises(AttributeError):
            setattr(interval, name, 5)


ADD: Callable[[Any, Any], Any] = operator.add
SUB: Callable[[Any, Any], Any] = operator.sub
ZURICH = ZoneInfo("Europe/Zurich")
EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("start", "interval", "later", "earlier"),
    [
        (datetime(2024, 1, 31, 5), Interval(1), datetime(2024, 2, 29, 5), datetime(2023, 12, 31, 5)),
        (datetime(2023, 3, 31), Interval(-1), datetime(2023, 2, 28), datetime(2023, 4, 30)),
        (datetime(2023, 1, 31), Interval(1, 1, -1), datetime(2023, 2, 28, 23, 59, 59, 999999),
         datetime(2022, 12, 30, 0, 0, 0, 1)),
        (datetime(2024, 2, 29), Interval(12), datetime(2025, 2, 28), datetime(2023, 2, 28)),
        (date(2024, 1, 31), Interval(1), datetime(2024, 2, 29), datetime(2023, 12, 31)),
        (datetime(1, 1, 1), Interval(12 * 9998 + 11, 30), datetime(9999, 12, 31), None),
        (datetime(1, 1, 1, tzinfo=EAST), Interval(1), datetime(1, 2, 1, tzinfo=EAST), None),
        (datetime(2024, 1, 31, tzinfo=EAST), Interval(1, 1), datetime(2024, 3, 1, tzinfo=EAST),
         datetime(2023, 12, 30, tzinfo=EAST)),
        (
            datetime(2024, 3, 31, 1, 30, tzinfo=ZURICH),
            Interval(0, 0, 3_600_000_000),
            datetime(2024, 3, 31, 3, 30, tzinfo=ZURICH),
            datetime(2024, 3, 31, 0, 30, tzinfo=ZURICH),
        ),
        (datetime(9999, 12, 1), Interval(1), None, datetime(9999, 11, 1)),
        (datetime(2024, 1, 1), Interval(2**31 - 1, 2**31 - 1, 2**63 - 1), None, None),
        (datetime(2024, 1, 1), Interval(0, 2**31 - 1), None, None),
        (datetime(2024, 1, 1), Interval(0, 0, 2**63 - 1), None, None),
    ],
)  # fmt: skip
def test_an_interval_moves_a_datetime(start: Any, interval: Interval, later: Any, earlier: Any) -> None:
    for move, left, right, expected in (
        (ADD, start, interval, later),
        (ADD, interval, start, later),
        (SUB, start, interval, earlier),
    ):
        if expected is None:
            with pytest.raises(OverflowError):
                move(left, right)
        else:
            moved = move(left, right)
            assert (moved, moved.tzinfo, type(moved)) == (expected, expected.tzinfo, datetime)


def test_what_an_interval_does_not_move() -> None:
    moment = datetime(2024, 1, 1, tzinfo=ZURICH)
    for interval in (Interval(1), Interval(0, 1)):
        for move, left, right in (
            (ADD, moment, interval),
            (ADD, interval, moment),
            (SUB, moment, interval),
        ):
            with pytest.raises(ValueError, match="not exact in a time zone whose offset changes"):
                move(left, right)
    one: Any = Interval(1)
    wrong: list[tuple[Callable[[Any, Any], Any], Any, Any]] = [
        (ADD, one, 1),
        (ADD, 1, one),
        (SUB, 1, one),
        (SUB, one, moment),
        (ADD, one, one),
    ]
    for move, left, right in wrong:
        with pytest.raises(TypeError, match="unsupported operand"):
            move(left, right)


def test_interval_order_is_total_and_close_to_sql() -> None:
    month, thirty_days = Interval(1), Interval(0, 30)
    assert month != thirty_days
    assert thirty_days < month
    assert thirty_days <= month
    assert month > thirty_days
    assert month >= thirty_days
    assert Interval(0, 31) > month
    ordered = [Interval(-1), Interval(0, 0, -1), Interval(), Interval(0, 0, 1), Interval(0, 1), Interval(1)]
    shuffled = ordered[::-1]
    assert sorted(shuffled) == ordered
    assert (month == 5) is False
    for compare in ("__lt__", "__le__", "__gt__", "__ge__"):
        assert getattr(month, compare)(timedelta(1)) is NotImplemented


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((2**31, 0, 0), ValueError, "months out of range"),
        ((0, -(2**31) - 1, 0), ValueError, "days out of range"),
        ((0, 0, 2**63), ValueError, "microseconds out of range"),
        ((0, 1.5, 0), TypeError, "int"),
    ],
)
def test_interval_arguments(arguments: tuple[Any, Any, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Interval(*arguments)
