"""Where the data comes from that an operation is fed with, in chunks of about 64 KiB.

For COPY: bytes, files, iterables; or records, encoded as the binary format (manual: "COPY", Binary Format).
For `ExecuteMany`: records, each encoded as one execution of its statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from ..errors import DataError, LocalProtocolError, because
from ..types import COPY_HEADER, COPY_TRAILER, CopyRowEncoder
from ..wire.binding import Executes
from ..wire.exact import exact_bytes
from .executemany import ExecuteMany

__all__ = ["Buffer", "ExecutionBuffer", "RecordBuffer", "as_bytes", "chunks", "encoded"]

T = TypeVar("T")

_CHUNK: Final = 65536

# What the caller's code raises is never the end of the data.  A generator of Python's sees to that by
# itself (PEP 479); one that mypyc has compiled would end, and what came before would be committed.
_NO_END: Final = "the source raised StopIteration, and not as its end"


def chunks(source: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The source's data, piece by piece.

    Args:
        source: bytes, a file open for reading bytes, or an iterable of bytes.

    Raises:
        TypeError: it is none of these, or gives something else than bytes.
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
            things: Iterable[object] = source  # compiled code insists on what is declared
            for thing in things:
                yield as_bytes(thing)
        else:
            raise TypeError(f"COPY data cannot come from {type(source).__name__}")
    except StopIteration as error:  # of `__iter__`, too
        raise because(RuntimeError(_NO_END), error) from error


def as_bytes(piece: object) -> bytes:
    """The piece, if it is bytes."""
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return exact_bytes(piece)
    raise TypeError(f"COPY data must be bytes, not {type(piece).__name__}")


class Buffer(Generic[T]):
    """Records in, chunks for the operation that is fed with them out."""

    __slots__ = ("_parts", "_size")

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, record: Any) -> T | None:
        """Encode a record; a chunk if there is enough for one.

        Args:
            record: a sequence of values; for COPY it may be a mapping of the columns' names to them.

        Raises:
            DataError: a value does not fit, or the record is neither.
        """
        raise NotImplementedError

    def doubt(self, error: DataError) -> T | None:
        """The last record did not fit: None if it is to blame, else what to feed before it is added again."""
        return None

    def end(self) -> T | None:
        """What is left, if there is anything."""
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
    """Records in, chunks of the binary format out."""

    __slots__ = ("_encoder",)

    def __init__(self, encoder: CopyRowEncoder) -> None:
        super().__init__()
        self._encoder = encoder
        self._parts.append(COPY_HEADER)

    def add(self, record: Any) -> bytes | None:
        """As of all buffers; the error names the record (the first is 1)."""
        self._size += self._encoder.add(self._parts, record)
        return self._joined() if self._size >= _CHUNK else None

    def end(self) -> bytes:
        """The last chunk."""
        self._parts.append(COPY_TRAILER)
        return self._joined()


class ExecutionBuffer(Buffer[Executes]):
    """Records in, runs of executions of one statement out.

    Args:
        operation: it must have its statement when the first record is added.
    """

    __slots__ = ("_count", "_doubt", "_operation", "_records", "_statement")

    def __init__(self, operation: ExecuteMany) -> None:
        super().__init__()
        self._operation = operation
        self._statement = operation.statement
        # What did not fit, and the parameters' types that it did not fit.
        self._doubt: tuple[tuple[int, ...], DataError] | None = None
        self._count = 0
        self._records = 0

    def add(self, record: Any) -> Executes | None:
        """As of all buffers; a note at the error names the record (the first is 1).

        Raises:
            LocalProtocolError: the values are more than a message can carry.
        """
        if not self._records:
            self._statement = self._operation.statement  # another one, if it was described anew
            if self._doubt is not None and self._doubt[0] == self._statement.parameter_types:
                raise self._doubt[1]  # a value is not asked again
        template = self._statement.template()
        parts = self._parts
        place = len(parts)
        parts.append(b"")
        self._records += 1
        try:
            size = self._statement.encoder.add(parts, record)
        except BaseException as error:
            del parts[place:]  # nothing of it goes out
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
        """As of all buffers; only the first record can be about a type that has changed."""
        if self._records > 1 or not self._operation.doubt():
            return None
        self._doubt = (self._statement.parameter_types, error)
        self._records = 0
        return Executes("", b"", 0)

    def end(self) -> Executes | None:
        """The last run, if any execution is left."""
        count = self._count
        self._count = 0
        return Executes(self._statement.name, self._joined(), count) if count else None
