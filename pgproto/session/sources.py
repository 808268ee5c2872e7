"""Where COPY data comes from: bytes, files, iterables; and records, encoded as the binary format.

Manual: "COPY", Binary Format.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

from ..types import COPY_HEADER, COPY_TRAILER, CopyRowEncoder

__all__ = ["RecordBuffer", "chunks", "record_chunks"]

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
