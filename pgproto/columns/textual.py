"""Columns as lines of a COPY in text: what stands for each value there.

What `fetch_columns` gives as text is stored as text: the server reads what it has printed, so nothing of it
is lost, whatever Python has for it.  The other columns of such a table must be text as well.

Rule: the text of a value reads the same under every setting of a session.  A day is written as its number
(`J2451545`), which needs no year and no order of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from ..errors import DataError, because
from ..types.codec import Codec
from ..types.composites import LabelCodec
from ..types.copytext import COPY_NULL, escaped
from ..types.literals import write_array
from ..types.scalars import JsonCodec, TextCodec

__all__ = ["CUT", "array_text", "lines", "text_form", "vector_text"]

CUT: Final = frozenset({18, 19})
"""Types of which the server cuts a text that is too long, "char" and name; their form here is the text."""

_DATE: Final = 1082
_TIME: Final = 1083
_TIMESTAMP: Final = 1114
_TIMESTAMPTZ: Final = 1184
_DAY: Final = 86_400_000_000
_FIRST: Final = 2_451_545  # the Julian day of 2000-01-01, from which the wire counts


def _number(piece: bytes) -> int:
    return int.from_bytes(piece, "big", signed=True)


def _time(micros: int) -> str:
    seconds, rest = divmod(micros, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{rest:06}"


def _date_text(piece: bytes) -> bytes:
    return b"J%d" % (_number(piece) + _FIRST)


def _time_text(piece: bytes) -> bytes:
    return _time(_number(piece)).encode()


def _timestamp_text(piece: bytes) -> bytes:
    day, micros = divmod(_number(piece), _DAY)
    return f"J{day + _FIRST} {_time(micros)}".encode()


def _timestamptz_text(piece: bytes) -> bytes:
    return _timestamp_text(piece) + b"+00"


_MOMENTS: Final[dict[int, Callable[[bytes], bytes]]] = {
    _DATE: _date_text,
    _TIME: _time_text,
    _TIMESTAMP: _timestamp_text,
    _TIMESTAMPTZ: _timestamptz_text,
}


def text_form(codec: Codec) -> Callable[[bytes], bytes]:
    """What makes the text form of a value of a type from its binary form.

    Args:
        codec: the type's; none of the user's.
    """
    if codec.oid in CUT:
        return lambda piece: _uncut(piece, codec)
    if isinstance(codec, JsonCodec | TextCodec | LabelCodec):
        return lambda piece: piece
    return _MOMENTS.get(codec.oid) or (
        lambda piece: codec.encode_text(codec.decode(piece, 0, len(piece))).encode()
    )


def _uncut(piece: bytes, codec: Codec) -> bytes:
    try:
        return codec.encode_text(piece.decode()).encode()
    except ValueError as error:
        raise because(DataError(f"{codec.name}: {error}"), error) from error


def array_text(items: Sequence[bytes | None], delimiter: str) -> bytes:
    """An array of one dimension.

    Args:
        items: the elements' text forms; None is NULL.
        delimiter: what is between them.
    """
    texts = [None if item is None else item.decode("utf-8", "surrogateescape") for item in items]
    return write_array(texts, delimiter, [len(texts)]).encode("utf-8", "surrogateescape")


def vector_text(items: Sequence[bytes | None]) -> bytes:
    """An int2vector or oidvector; the server refuses one with a NULL.

    Args:
        items: the elements' text forms; None is NULL.
    """
    return b" ".join([item or b"NULL" for item in items])


def lines(columns: Sequence[Sequence[bytes]], nulls: Sequence[Sequence[int]]) -> bytes:
    """The lines of some rows.

    Args:
        columns: the values' text forms.
        nulls: for each column, the rows that are NULL.
    """
    written: list[list[bytes]] = []
    for pieces, absent in zip(columns, nulls, strict=True):
        column = list(map(escaped, pieces))
        for row in absent:
            column[row] = COPY_NULL
        written.append(column)
    return b"".join([b"\t".join(row) + b"\n" for row in zip(*written, strict=True)])
