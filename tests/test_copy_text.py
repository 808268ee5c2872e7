"""The encoder of COPY in text format."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from pgproto.errors import DataError
from pgproto.types import CopyTextEncoder
from pgproto.types.copyrows import RecordEncoder

INT4, TEXT, DATE, MONEY, TEXTS, BYTEA = 23, 25, 1082, 790, 1009, 17


def test_lines() -> None:
    encoder = CopyTextEncoder(["n", "t", "d", "m"], [INT4, TEXT, DATE, MONEY])
    assert encoder.encode((1, "a", date(2024, 1, 31), "$1.00")) == b"1\ta\t2024-01-31\t$1.00\n"
    assert encoder.encode([None] * 4) == b"\\N\t\\N\t\\N\t\\N\n"
    assert encoder.encode({"m": "2", "d": None, "t": "", "n": -1, "x": 0}) == b"-1\t\t\\N\t2\n"
    assert CopyTextEncoder([], []).encode(()) == b"\n"


@pytest.mark.parametrize(
    ("oid", "value", "line"),
    [
        (TEXT, "\\N", b"\\\\N\n"),
        (TEXT, "\\.", b"\\\\.\n"),
        (TEXT, "\b\f\n\r\t\v", b"\\b\\f\\n\\r\\t\\v\n"),
        (TEXT, "é\u2028\x01", b"\xc3\xa9\xe2\x80\xa8\x01\n"),
        (BYTEA, b"\0\\", b"\\\\x005c\n"),
        (TEXTS, ["a\tb", None, "\\"], b'{"a\\tb",NULL,"\\\\\\\\"}\n'),
    ],
)
def test_escapes(oid: int, value: object, line: bytes) -> None:
    parts: list[bytes] = []
    assert CopyTextEncoder(["c"], [oid]).add(parts, (value,)) == len(line)
    assert b"".join(parts) == line


class Broken:
    def __index__(self) -> int:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("record", "says"),
    [
        ((1,), "record 2 has 1 values for 2 columns"),
        ({"n": 1}, "record 2: the value of column 't' is missing"),
        ((1, 2), "record 2, column 't' of type text: expected str, got int"),
        ((2**31, "a"), "record 2, column 'n' of type int4: int out of range"),
        (
            (Broken(), "a"),
            "record 2, column 'n' of type int4: ZeroDivisionError was raised when it was encoded",
        ),
    ],
)
def test_unfit(record: Any, says: str) -> None:
    encoder = CopyTextEncoder(["n", "t"], [INT4, TEXT])
    parts: list[bytes] = []
    encoder.add(parts, (1, "a"))
    with pytest.raises(DataError, match=says) as caught:
        encoder.add(parts, record)
    assert parts == [b"1\ta\n"]
    assert isinstance(caught.value.__cause__, ZeroDivisionError) == (says.find("Zero") > 0)


def test_columns_without_types() -> None:
    with pytest.raises(DataError, match="1 columns with 2 types"):
        CopyTextEncoder(["n"], [INT4, TEXT])
    with pytest.raises(NotImplementedError):
        RecordEncoder([], []).encode(())
