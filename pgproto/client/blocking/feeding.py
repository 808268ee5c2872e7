# Written by scripts/blocking.py out of pgproto/client/feeding.py: change that one.
"""Feeding the operations that take data piece by piece: COPY and executemany."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pgproto.session import HIGH_WATER, CopyIn, ExecuteMany, sources

from .pieces import progress
from .records import NamedRecords
from .runtime import Link, Runtime

__all__ = ["Chunks", "Source", "encoded", "feed"]

T = TypeVar("T")

Source = bytes | Iterable[bytes]
"""What `copy_in` takes: all of the data, or its pieces, as those of an open file."""

# What an operation is fed with: bytes for a COPY, runs of executions for an ExecuteMany.
Chunks = Iterable[Any]


def feed(
    runtime: Runtime,
    link: Link,
    operation: CopyIn | ExecuteMany,
    give: Callable[[], Chunks],
    seconds: float | None,
) -> None:
    """Hand a source's chunks to an operation, until it ends or the server wants no more.

    A source that raises undoes the operation; its error is raised when the server has said so.

    Args:
        runtime: the link's.
        link: whose operation it is.
        operation: submitted before.
        give: gives the source, when the server is ready for it.
        seconds: the longest time without progress; None for no limit.  A source
            cannot be interrupted.
    """
    while operation.starting:
        progress(runtime, link, operation, seconds)
    if not operation.over:
        try:
            source = give()
            _feed(runtime, link, operation, source, seconds)
        except Exception as error:
            operation.stop(error)
            _finished(runtime, link, operation, seconds)
            raise
        operation.end()
    _finished(runtime, link, operation, seconds)


def _finished(runtime: Runtime, link: Link, operation: CopyIn | ExecuteMany, seconds: float | None) -> None:
    while not operation.finished:
        progress(runtime, link, operation, seconds)


def _feed(
    runtime: Runtime,
    link: Link,
    operation: CopyIn | ExecuteMany,
    source: Iterable[Any],
    seconds: float | None,
) -> None:
    size = 0
    for chunk in source:
        _feed_chunk(runtime, link, operation, chunk, seconds)
        if operation.over:
            return
        size += len(chunk)
        if size >= HIGH_WATER:
            # A server that takes everything at once must not keep us from reading its error.
            size = 0
            runtime.sleep(0)


def _feed_chunk(
    runtime: Runtime, link: Link, operation: CopyIn | ExecuteMany, chunk: Any, seconds: float | None
) -> None:
    """Hand over a chunk; small ones are collected."""
    operation.feed(chunk)
    while operation.full:
        progress(runtime, link, operation, seconds)


def encoded(runtime: Runtime, buffer: sources.Buffer[T], records: NamedRecords) -> Chunks:
    """Records as the chunks that a buffer makes of them."""
    return sources.encoded(buffer, records)
