"""FieldsEncoder: encodes the values of a statement or record as the fields of Bind and binary COPY.

A field is an int32 length (-1: NULL) and a value's binary form.  As in `rows`, the fields are cut into runs:
neighbouring ones of fixed width, then at most one other.  One `struct` call writes the fields of fixed width
and the length of the last; a call for each field takes twice as long.  A run with anything unusual (a NULL,
an int for a float, an error) is encoded value by value.

Rule: the first unfit value raises Unfit, which has its index.

Rule: encoding a value may run the caller's code (a tzinfo, a mapping, a subclass of int), which may raise
anything.  An Exception becomes Unfit, with the caller's exception as its `cause`; any other BaseException
(KeyboardInterrupt, a cancellation) propagates unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from ..errors import DataError
from ..wire.messages import NULL
from .codec import Codec, FixedCodec, frame_length, is_own, runs_of
from .row import Row

__all__ = ["FieldsEncoder", "Unfit", "values_of"]

_MOST: Final = 4  # fields of fixed width in a run, at most


class Unfit(Exception):
    """A value that its codec does not take.

    Attributes:
        index: the index of the value.
        reason: a text that never shows the value.
        wrong_type: True if the value's Python type is the reason.
        cause: the exception of the caller's code; None if the codec refused the value.
    """

    def __init__(self, index: int, error: Exception) -> None:
        own = is_own(error)
        if own or isinstance(error, (TypeError, ValueError)):
            self.reason = _text(error)
        else:
            self.reason = f"{type(error).__name__} was raised when it was encoded"
        super().__init__(self.reason)
        self.index = index
        self.wrong_type = isinstance(error, TypeError)
        self.cause: BaseException | None = error.__cause__ if own else error


def values_of(record: object) -> tuple[Any, ...]:
    """The values of a record: a list, a tuple, a Row or any other sequence except text and bytes.

    Raises:
        DataError: it is not a sequence (a dict or a set would give its keys), or reading it raised an
            Exception, which is the `__cause__`.
    """
    if type(record) is tuple:
        return record
    if type(record) is list:
        return tuple(record)
    if isinstance(record, Row):
        return Row.values(record)
    try:
        if isinstance(record, Sequence) and not isinstance(record, (str, bytes, bytearray, memoryview)):
            return tuple(record)
        refused = DataError(
            f"the values must be a list, a tuple or another sequence, not {_type_name(record)}"
        )
    except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
        refused = DataError(f"{type(error).__name__} was raised when the values were read")
        refused.__cause__ = error
    raise refused


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - the __str__ of the caller's exception may raise anything
        return f"{type(error).__name__} was raised when it was encoded"


def _type_name(value: object) -> str:
    return type(value).__name__


class _Run:
    """Neighbouring fields: up to four of fixed width, then possibly one other.

    Args:
        fixed: the codecs of the fields of fixed width.
        tail: the codec of the last field; None if there is no other.
        head: bytes to write before the first field.
    """

    __slots__ = (
        "count",
        "head",
        "length0",
        "length1",
        "length2",
        "length3",
        "pack",
        "size",
        "tail",
        "type0",
        "type1",
        "type2",
        "type3",
    )

    def __init__(self, fixed: list[FixedCodec], tail: Codec | None, head: bytes) -> None:
        self.count = len(fixed)
        self.head = head
        self.tail = tail
        code = ">"
        types: list[type[object] | None] = []
        lengths: list[bytes] = []  # as bytes, for which `struct` takes a third of the time of a number
        for codec in fixed:
            length = head + frame_length(codec.size)
            head = b""
            code += f"{len(length)}s{codec.code}"
            types.append(codec.exact)
            lengths.append(length)
        for _ in range(_MOST - len(fixed)):
            types.append(None)
            lengths.append(b"")
        self.type0, self.type1, self.type2, self.type3 = types
        self.length0, self.length1, self.length2, self.length3 = lengths
        shape = struct.Struct(code + ("4s" if tail else "0s"))
        self.size: int = shape.size
        self.pack: Any = shape.pack

    def packed(self, values: tuple[Any, ...], start: int, length: bytes) -> Any:
        """The fields of fixed width and the tail's length; None if a value is not of the exact type.

        The calls are written out for each number of fields, because building an argument list took a fifth
        of a record's instructions.
        """
        value0 = values[start]
        if type(value0) is not self.type0:
            return None
        if self.count == 1:
            return self.pack(self.length0, value0, length)
        value1 = values[start + 1]
        if type(value1) is not self.type1:
            return None
        if self.count == 2:
            return self.pack(self.length0, value0, self.length1, value1, length)
        value2 = values[start + 2]
        if type(value2) is not self.type2:
            return None
        if self.count == 3:
            return self.pack(self.length0, value0, self.length1, value1, self.length2, value2, length)
        value3 = values[start + 3]
        if type(value3) is not self.type3:
            return None
        return self.pack(
            self.length0, value0, self.length1, value1, self.length2, value2, self.length3, value3, length
        )


class FieldsEncoder:
    """The encoder of one list of codecs; build it once.

    Args:
        codecs: one for each value.
        head: bytes to write before the first field of each record.
    """

    __slots__ = ("_runs", "codecs")

    def __init__(self, codecs: Sequence[Codec], head: bytes = b"") -> None:
        self.codecs = list(codecs)
        self._runs: list[_Run] = []
        for fixed, tail in runs_of(codecs, most=_MOST, exact=True) or [([], None)]:
            self._runs.append(_Run(fixed, tail, b"" if self._runs else head))

    def add(self, parts: list[bytes], values: tuple[Any, ...]) -> int:
        """Append the head and one field for each codec, in pieces.

        Returns:
            How many bytes were appended.

        Raises:
            Unfit: a value does not fit.
        """
        size = 0
        start = 0
        for run in self._runs:
            added = self._add_run(parts, run, values, start) if run.count else 0
            stop = start + run.count
            if run.tail is not None:
                stop += 1
            size += added if added else self._add_each(parts, run.head, values, start, stop)
            start = stop
        return size

    def _add_run(self, parts: list[bytes], run: _Run, values: tuple[Any, ...], start: int) -> int:
        """Append a run's fields by one `struct` call; 0 (nothing appended) if a value is unusual."""
        data = length = b""
        tail = run.tail
        unfit: Unfit | None = None
        packed: Any = None
        try:
            if tail is not None:
                value = values[start + run.count]
                if value is None:
                    return 0
                data = tail.encode(value)
                length = frame_length(len(data))
        except Exception as error:  # noqa: BLE001 - as in `_add_each`
            unfit = Unfit(start + run.count, error)
        if unfit is not None:
            # The tail is not encoded again, because the caller's code might then do something else.  But a
            # value before it may also be unfit, and the first unfit value must be named.
            self._add_each(parts, run.head, values, start, start + run.count)
            raise unfit
        try:
            packed = run.packed(values, start, length)
        except (OverflowError, struct.error):
            return 0
        if packed is None:
            return 0
        parts.append(packed)
        if tail is not None:
            parts.append(data)
        return run.size + len(data)

    def _add_each(
        self, parts: list[bytes], head: bytes, values: tuple[Any, ...], start: int, stop: int
    ) -> int:
        """Append the head and the fields of `values[start:stop]`, one by one."""
        size = len(head)
        if size:
            parts.append(head)
        for index in range(start, stop):
            value = values[index]
            if value is None:
                parts.append(NULL)
                size += len(NULL)
                continue
            try:
                size += self.codecs[index].add_field(parts, value)
            except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
                unfit = Unfit(index, error)
                break
        else:
            return size
        raise unfit  # outside the handler, so that no __context__ (a UnicodeEncodeError) shows the value
