"""FieldsEncoder: encodes the values of a statement or record as the fields of Bind and binary COPY.

A field is an int32 length (-1: NULL) and a value's binary form.  As in `rows`, the fields are cut into runs:
neighbouring ones of fixed width, then at most one other.  One `struct` call writes the fields of fixed width
and the length of the last; a call for each field takes twice as long.  A run with a NULL is encoded value by
value.

Rule: the first unfit value raises Unfit, which has its index.

Rule: encoding a value may run the caller's code (a tzinfo, a mapping, a subclass of int), which may raise
anything.  An Exception becomes Unfit, with the caller's exception as its `cause`; any other BaseException
(KeyboardInterrupt, a cancellation) propagates unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from ..errors import DataError
from ..wire.messages import NULL
from .codec import Codec, FixedCodec, frame_length, is_own, runs_of
from .row import Row

if TYPE_CHECKING:
    from mypy_extensions import i64

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
        "fixed",
        "head",
        "head_size",
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
        "width",
    )

    def __init__(self, fixed: list[FixedCodec], tail: Codec | None, head: bytes) -> None:
        self.count: i64 = len(fixed)
        self.width: i64 = len(fixed) + (tail is not None)
        self.fixed = fixed
        self.head = head
        self.head_size: i64 = len(head)
        self.tail = tail
        code = ">"
        types: list[type[object] | None] = []
        lengths: list[bytes] = []  # as bytes, for which `struct` takes a third of the time of a number
        for codec in fixed:
            length = head + codec.head
            head = b""
            code += f"{len(length)}s{codec.item}"
            types.append(codec.exact)
            lengths.append(length)
        for _ in range(_MOST - len(fixed)):  # what is not there is empty, and `struct` writes nothing for it
            code += "0s0s"
            types.append(bytes)
            lengths.append(b"")
        self.type0, self.type1, self.type2, self.type3 = types
        self.length0, self.length1, self.length2, self.length3 = lengths
        shape = struct.Struct(code + ("4s" if tail else "0s"))
        self.size: i64 = shape.size
        self.pack: Any = shape.pack

    def raw(self, number: i64, value: object, index: i64) -> object:
        """The `struct` item of a field.

        Args:
            number: which of the run's fields it is.
            value: its value.
            index: the index of the value.

        Raises:
            Unfit: it has none.
        """
        try:
            return self.fixed[number].raw(value)
        except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
            unfit = Unfit(int(index), error)
        raise unfit


class FieldsEncoder:
    """The encoder of one list of codecs; build it once.

    Args:
        codecs: one for each value.
        head: bytes to write before the first field of each record.
    """

    __slots__ = ("_runs", "_writers", "codecs")

    def __init__(self, codecs: Sequence[Codec], head: bytes = b"") -> None:
        self.codecs = list(codecs)
        self._writers: list[Codec] = [codec.writer for codec in codecs]
        self._runs: list[_Run] = []
        for fixed, tail in runs_of(self._writers, most=_MOST) or [([], None)]:
            self._runs.append(_Run(fixed, tail, b"" if self._runs else head))

    def add(self, parts: list[bytes], values: tuple[Any, ...]) -> int:
        """Append the head and one field for each codec, in pieces.

        Returns:
            How many bytes were appended.

        Raises:
            Unfit: a value does not fit.
        """
        size: i64 = 0
        start: i64 = 0
        for run in self._runs:
            tail = run.tail
            added: i64 = 0
            if run.count:
                added = self._add_run(parts, run, values, start)
            elif tail is not None and not run.head_size:
                added = _add_field(parts, tail, values[start], start)
            if not added:
                added = self._add_each(parts, run, values, start)
            size += added
            start += run.width
        return size

    def _add_run(self, parts: list[bytes], run: _Run, values: tuple[Any, ...], start: i64) -> i64:
        """Append a run's fields by one `struct` call; 0 (nothing appended) if one of them is NULL.

        No value is encoded twice, because the caller's code might then do something else.
        """
        count: i64 = run.count
        tail = run.tail
        last: object = None
        if tail is not None:
            last = values[start + count]
            if last is None:
                return 0
        item0: object = values[start]
        item1: object = values[start + 1] if count > 1 else b""
        item2: object = values[start + 2] if count > 2 else b""
        item3: object = values[start + 3] if count > 3 else b""
        data = length = b""
        unfit: Unfit | None = None
        try:
            if (
                type(item0) is not run.type0
                or type(item1) is not run.type1
                or type(item2) is not run.type2
                or type(item3) is not run.type3
            ):
                if item0 is None or item1 is None or item2 is None or item3 is None:
                    return 0
                item0 = run.raw(0, item0, start)
                if count > 1:
                    item1 = run.raw(1, item1, start + 1)
                if count > 2:
                    item2 = run.raw(2, item2, start + 2)
                if count > 3:
                    item3 = run.raw(3, item3, start + 3)
            if tail is not None:
                data = tail.encode(last)
                length = frame_length(len(data))
            # One number of arguments for all runs: a list of them took a fifth of a record's instructions.
            packed: bytes = run.pack(
                run.length0, item0, run.length1, item1, run.length2, item2, run.length3, item3, length
            )
        except Unfit as found:  # a name of its own: compiled, a name has one class
            unfit = found
        except Exception as error:  # noqa: BLE001 - as in `_Run.raw`
            unfit = Unfit(int(start + count), error)
        else:
            parts.append(packed)
            if tail is not None:
                parts.append(data)
            return run.size + len(data)
        # The first unfit value must be named, and one before may be out of range, which `struct` finds last.
        for number, item in enumerate([item0, item1, item2, item3][: unfit.index - int(start)]):
            try:
                run.fixed[number].packed(item, values[start + number])
            except ValueError as outside:
                unfit = Unfit(int(start) + number, outside)
                break
        raise unfit

    def _add_each(self, parts: list[bytes], run: _Run, values: tuple[Any, ...], start: i64) -> i64:
        """Append a run's head and fields, one by one."""
        size: i64 = run.head_size
        if size:
            parts.append(run.head)
        index: i64 = start
        while index < start + run.width:
            size += _add_field(parts, self._writers[index], values[index], index)
            index += 1
        return size


def _add_field(parts: list[bytes], codec: Codec, value: object, index: i64) -> i64:
    """Append the field of one value; Unfit if its codec does not take it."""
    if value is None:
        parts.append(NULL)
        return 4
    try:
        return codec.add_field(parts, value)
    except Exception as error:  # noqa: BLE001 - the caller's code may raise anything
        unfit = Unfit(int(index), error)
    raise unfit  # outside the handler, so that no __context__ (a UnicodeEncodeError) shows the value
