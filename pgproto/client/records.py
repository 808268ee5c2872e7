"""The types of arguments with many records, with data and for data."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias

__all__ = ["FileMode", "NamedRecords", "Path", "Progress", "Records", "Sink", "Source", "Writer"]

Records: TypeAlias = Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]]
"""Each record has a value for each parameter."""
NamedRecords: TypeAlias = (
    Iterable[Sequence[Any] | Mapping[str, Any]] | AsyncIterable[Sequence[Any] | Mapping[str, Any]]
)
"""Each record has a value for each column, or is a mapping from the columns' names."""


class Path(Protocol):
    """A path as an object, such as `pathlib.Path`."""

    def __fspath__(self) -> str:
        """The path."""
        ...


class Writer(Protocol):
    """A file open for writing bytes, or something like one; its `write` may be asynchronous."""

    def write(self, data: Any, /) -> Any:
        """Write bytes."""
        ...


Progress: TypeAlias = Callable[[int], object]
"""Called again and again with what is done so far: with the number of rows, or of bytes."""
Source: TypeAlias = str | Path | bytes | Iterable[bytes] | AsyncIterable[bytes]
"""The source of `copy_in`: a file's path, all of the data, or an iterable of pieces, such as an open file."""
Sink: TypeAlias = str | Path | Writer | Callable[[bytes], object]
"""Where `copy_out` writes to: a file's path, an open file, or a function that is called with each piece."""
FileMode: TypeAlias = Literal["rb", "wb"]
"""How a file is opened."""
