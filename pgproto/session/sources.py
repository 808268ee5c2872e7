"""The sources of data for operations that are fed, in chunks of about 64 KiB.

For COPY: bytes, files, iterables; or records, encoded as the binary format (manual: "COPY", Binary Format).
For `ExecuteMany`: records, each encoded as one execution of its statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from ..errors import DataError, LocalProtocolError, because
from ..types import RecordEncoder
from ..wire.binding import Executes
from ..wire.exact import exact_bytes
from .executemany import ExecuteMany

__all__ = ["Buffer", "ExecutionBuffer", "RecordBuffer", "as_bytes", "chunks", "encoded"]

T = TypeVar("T")

_CHUNK: Final = 65536

# A StopIteration of the caller's code must not look like the end of the data.  In interpreted generators PEP
# 479 sees to that; a generator compiled by mypyc would end, and the data before would be committed.
_NO_END: Final = "the source raised StopIteration, and not as its end"


def chunks(source: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The source's data, piece by piece.

    Args:
        source: bytes, a file open for reading bytes, or an iterable of bytes.

    Raises:
        TypeError: it is none of these, or yields something other than bytes.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield exact_bytes(source)
        return
    read = getattr(source, "read", None)
    try:
        if read is not None:
            while piece := as_bytes(read(_CHUNK)):
                yield piece
        elif isinstance(source, Iterable):
            things: Iterable[object] = source  # or compiled code would check that each is bytes
            for thing in things:
                yield as_bytes(thing)
        else:
            raise TypeError(f"COPY data cannot come from {type(source).__name__}")
    except StopIteration as error:  # also from `__iter__`
        raise because(RuntimeError(_NO_END), error) from error


def as_bytes(piece: object) -> bytes:
    """The piece, if it is bytes."""
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return exact_bytes(piece)
    raise TypeError(f"COPY data must be bytes, not {type(piece).__name__}")


class Buffer(Generic[T]):
    """Collects records into chunks for the operation."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, record: Any) -> T | None:
        """Encode a record; return a chunk if there is enough for one.

        Args:
            record: a sequence of values; for COPY also a mapping from the columns' names.

        Raises:
            DataError: a value does not fit, or the record is neither.
        """
        raise NotImplementedError

    def doubt(self, error: DataError) -> T | None:
        """The last record did not fit: None if it is to blame, else a chunk to feed before its next `add`."""
        return None

    def end(self) -> T | None:
        """The last chunk; None if nothing is left."""
        raise NotImplementedError

    def _joined(self) -> bytes:
        data = b"".join(self._parts)
        self._parts = []
        self._size = 0
        return data


def encoded(buffer: Buffer[T], records: Iterable[Any]) -> Iterator[T]:
    """All records as chunks."""
    try:
        for record in records:
            question: T | None = None
            chunk: T | None = None
            try:
                chunk = buffer.add(record)
            except DataError as error:
                question = buffer.doubt(error)
                if question is None:
                    raise
            if question is not None:
                yield question
                chunk = buffer.add(record)
            if chunk is not None:
                yield chunk
    except StopIteration as error:
        raise because(RuntimeError(_NO_END), error) from error
    chunk = buffer.end()
    if chunk is not None:
        yield chunk


class RecordBuffer(Buffer[bytes]):
    """Collects records into chunks of COPY data, in the encoder's format."""

    __slots__ = ("_encoder",)

    def __init__(self, encoder: RecordEncoder) -> None:
        super().__init__()
        self._encoder = encoder
        self._parts.append(encoder.header)

    @property
    def rows(self) -> int:
        """How many records were added."""
        return self._encoder.rows

    def add(self, record: Any) -> bytes | None:
        """As `Buffer.add`; the error names the record (the first is 1)."""
        self._size += self._encoder.add(self._parts, record)
        return self._joined() if self._size >= _CHUNK else None

    def end(self) -> bytes:
        """The last chunk."""
        self._parts.append(self._encoder.trailer)
        return self._joined()


class ExecutionBuffer(Buffer[Executes]):
    """Collects records into runs of executions of one statement.

    Args:
        operation: its statement must be prepared when the first record is added.
    """

    __slots__ = ("_count", "_doubt", "_operation", "_records", "_statement")

    def __init__(self, operation: ExecuteMany) -> None:
        super().__init__()
        self._operation = operation
        self._statement = operation.statement
        # The error of the first record, and the parameter types at that time.
        self._doubt: tuple[tuple[int, ...], DataError] | None = None
        self._count = 0
        self._records = 0

    def add(self, record: Any) -> Executes | None:
        """As `Buffer.add`; a note on the error names the record (the first is 1).

        Raises:
            LocalProtocolError: the values are more than a message can carry.
        """
        if not self._records:
            self._statement = self._operation.statement  # a new one if it was described again
            if self._doubt is not None and self._doubt[0] == self._statement.parameter_types:
                raise self._doubt[1]  # values are not encoded twice
        template = self._statement.template()
        parts = self._parts
        place = len(parts)
        parts.append(b"")
        self._records += 1
        try:
            size = self._statement.encoder.add(parts, record)
        except BaseException as error:
            del parts[place:]  # remove the part of this record
            if isinstance(error, (DataError, LocalProtocolError)):
                error.add_note(f"in record {self._records}")
            raise
        header = template.header(size)
        parts[place] = header
        parts.append(template.execution_tail)
        self._count += 1
        self._size += len(header) + size + len(template.execution_tail)
        return self.end() if self._size >= _CHUNK else None

    def doubt(self, error: DataError) -> Executes | None:
        """As `Buffer.doubt`; only at the first record can the types have changed."""
        statement = self._statement
        forgotten = statement.outdated and self._doubt is None
        if self._records > 1 or not self._operation.doubt(again=forgotten):
            return None
        self._doubt = (() if forgotten else statement.parameter_types, error)
        self._records = 0
        return Executes("", b"", 0)

    def end(self) -> Executes | None:
        """The last run; None if no execution is left."""
        count = self._count
        self._count = 0
        return Executes(self._statement.name, self._joined(), count) if count else None
