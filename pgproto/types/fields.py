"""FieldsEncoder: a statement's values, or a record's, to what Bind and binary COPY carry.

Each value is a field: int32 length (-1: NULL), then its binary form.  As in `rows`, the fields are cut into
runs: as many of fixed width as follow one another, then at most one of another codec.  One `struct` call
writes a run's lengths and numbers, and the length of what its last codec made; a call for each field takes
twice as long.  A run with anything out of the ordinary (a NULL, an int for a float, an error) goes value by
value.

Rule: nothing is encoded by halves, and the first unfit value is named by its index: Unfit.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from pgproto.types.codec import Codec, FixedCodec, runs_of
from pgproto.wire.messages import NULL

__all__ = ["FieldsEncoder", "Unfit"]


class Unfit(Exception):
    """A value that its codec does not take.

    Attributes:
        index: which one.
        reason: why; the text never shows the value.
        wrong_type: True if its Python type is the reason.
    """

    def __init__(self, index: int, reason: str, wrong_type: bool) -> None:
        super().__init__(reason)
        self.index = index
        self.reason = reason
        self.wrong_type = wrong_type


class _Run:
    """Neighbouring fields: some of fixed width, then perhaps one of another kind."""

    __slots__ = ("arguments", "count", "pack", "several", "size", "tail", "types")

    def __init__(self, fixed: list[FixedCodec], tail: Codec | None) -> None:
        shape = struct.Struct(">" + "".join(["i" + codec.code for codec in fixed]) + ("i" if tail else ""))
        self.types: list[object] = [codec.exact for codec in fixed]
        self.count = len(fixed)
        self.several = bool(fixed) and (len(fixed) > 1 or tail is not None)
        self.tail = tail
        self.size: int = shape.size
        self.pack: Any = shape.pack
        self.arguments: list[object] = []
        """The lengths; the values' places are behind each, and the last one's is the tail's length."""
        for codec in fixed:
            self.arguments += [codec.size, None]
        if tail is not None:
            self.arguments.append(0)


class FieldsEncoder:
    """The encoder of one list of codecs; build it once."""

    __slots__ = ("_runs", "codecs")

    def __init__(self, codecs: Sequence[Codec]) -> None:
        self.codecs = list(codecs)
        self._runs: list[_Run] = []
        for fixed, tail in runs_of(codecs, exact=True):
            self._runs.append(_Run(fixed, tail))

    def add(self, parts: list[bytes], values: tuple[Any, ...]) -> int:
        """Append the fields of as many values as there are codecs, in pieces.

        Returns:
            How many bytes were appended.

        Raises:
            Unfit: a value does not fit.
        """
        size = 0
        start = 0
        for run in self._runs:
            stop = start + run.count
            added = self._add_run(parts, run, values, start) if run.several else 0
            if run.tail is not None:
                stop += 1
            size += added if added else self._add_each(parts, values, start, stop)
            start = stop
        return size

    def _add_run(self, parts: list[bytes], run: _Run, values: tuple[Any, ...], start: int) -> int:
        """Append a run's fields by one `struct` call; 0 if anything is out of the ordinary."""
        arguments = run.arguments[:]
        place = 1
        for exact in run.types:
            value = values[start]
            if type(value) is not exact:
                return 0
            arguments[place] = value
            start += 1
            place += 2
        tail = run.tail
        try:
            if tail is None:
                parts.append(run.pack(*arguments))
                return run.size
            value = values[start]
            if value is None:
                return 0
            data = tail.encode(value)
            arguments[-1] = len(data)
            parts.append(run.pack(*arguments))
        except (TypeError, ValueError, OverflowError, struct.error):
            return 0
        parts.append(data)
        return run.size + len(data)

    def _add_each(self, parts: list[bytes], values: tuple[Any, ...], start: int, stop: int) -> int:
        """Append the fields of `values[start:stop]`, one by one."""
        size = 0
        for index in range(start, stop):
            value = values[index]
            if value is None:
                parts.append(NULL)
                size += len(NULL)
                continue
            try:
                size += self.codecs[index].add_field(parts, value)
            except (TypeError, ValueError) as error:
                unfit = Unfit(index, str(error), isinstance(error, TypeError))
                break
        else:
            return size
        raise unfit  # out here, where no __context__ (a UnicodeEncodeError) shows the value
