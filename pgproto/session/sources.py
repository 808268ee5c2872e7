"""Where the data comes from that an operation is fed with, in chunks of about 64 KiB.

For COPY: bytes, files, iterables; or records, encoded as the binary format (manual: "COPY", Binary Format).
For `ExecuteMany`: records, each encoded as one execution of its statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from ..errors import DataError, LocalProtocolError
from ..types import COPY_HEADER, COPY_TRAILER, CopyRowEncoder
from ..wire.binding import Executes
from .statements import Statement

__all__ = ["ExecutionBuffer", "RecordBuffer", "as_bytes", "chunks", "execution_chunks", "record_chunks"]

_CHUNK: Final = 65536


def chunks(source: bytes | Iterable[bytes]) -> Iterator[bytes]:
    """The source's data, piece by piece.

    Args:
        source: bytes, a file open for reading bytes, or an iterable of bytes.

    Raises:
        TypeError: it is none of these, or gives something else than bytes.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        yield bytes(source)
        return
    read = getattr(source, "read", None)
    if read is not None:
        while piece := as_bytes(read(_CHUNK)):
            yield piece
    elif isinstance(source, Iterable):
        things: Iterable[object] = source  # compiled code insists on what is declared
        for thing in things:
            yield as_bytes(thing)
    else:
        raise TypeError(f"COPY data cannot come from {type(source).__name__}")


def as_bytes(piece: object) -> bytes:
    """The piece, if it is bytes."""
    if isinstance(piece, bytes):
        return piece
    if isinstance(piece, (bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"COPY data must be bytes, not {type(piece).__name__}")


class RecordBuffer:
    """Records in, chunks of the binary format out."""

    __slots__ = ("_encoder", "_parts", "_size")

    def __init__(self, encoder: CopyRowEncoder) -> None:
        self._encoder = encoder
        self._parts: list[bytes] = [COPY_HEADER]
        self._size = 0

    def add(self, record: Iterable[Any]) -> bytes:
        """Encode a record; a chunk if one is full, else b"".

        Raises:
            DataError: a value does not fit its column.
        """
        self._size += self._encoder.add(self._parts, record)
        return self._flush() if self._size >= _CHUNK else b""

    def end(self) -> bytes:
        """The last chunk."""
        self._parts.append(COPY_TRAILER)
        return self._flush()

    def _flush(self) -> bytes:
        chunk = b"".join(self._parts)
        self._parts = []
        self._size = 0
        return chunk


def record_chunks(encoder: CopyRowEncoder, records: Iterable[Iterable[Any]]) -> Iterator[bytes]:
    """All records as chunks."""
    buffer = RecordBuffer(encoder)
    for record in records:
        chunk = buffer.add(record)
        if chunk:
            yield chunk
    yield buffer.end()


class ExecutionBuffer:
    """Records in, runs of executions of one statement out."""

    __slots__ = ("_count", "_parts", "_records", "_size", "_statement")

    def __init__(self, statement: Statement) -> None:
        self._statement = statement
        self._parts: list[bytes] = []
        self._size = 0
        self._count = 0
        self._records = 0

    def add(self, record: Sequence[Any]) -> Executes | None:
        """Encode a record; a run if there is enough for one.

        Raises:
            DataError: a value does not fit its parameter; a note names the record (the first is 1).
            LocalProtocolError: the values are more than a message can carry.
        """
        template = self._statement.template()
        parts = self._parts
        place = len(parts)
        parts.append(b"")
        self._records += 1
        try:
            size = self._statement.encoder.add(parts, record)
        except (DataError, LocalProtocolError) as error:
            del parts[place:]  # nothing of it goes out
            error.add_note(f"in record {self._records}")
            raise
        header = template.header(size)
        parts[place] = header
        parts.append(template.execution_tail)
        self._count += 1
        self._size += len(header) + size + len(template.execution_tail)
        return self.end() if self._size >= _CHUNK else None

    def end(self) -> Executes | None:
        """What is left, if there is anything."""
        if not self._count:
            return None
        run = Executes(self._statement.name, b"".join(self._parts), self._count)
        self._parts = []
        self._size = 0
        self._count = 0
        return run


def execution_chunks(statement: Statement, records: Iterable[Sequence[Any]]) -> Iterator[Executes]:
    """All records as runs of executions of a statement, which is ready when the first one is asked for."""
    buffer = ExecutionBuffer(statement)
    for record in records:
        run = buffer.add(record)
        if run is not None:
            yield run
    run = buffer.end()
    if run is not None:
        yield run
