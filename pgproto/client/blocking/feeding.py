# Written by scripts/blocking.py out of pgproto/client/feeding.py: change that one.
"""Feeding data piece by piece to operations: COPY and executemany."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from pgproto.session import HIGH_WATER, CopyIn, ExecuteMany, sources

from .pieces import progress
from .records import NamedRecords
from .runtime import Link, Runtime

__all__ = ["Chunks", "encoded", "feed"]

T = TypeVar("T")

# The chunks for an operation: bytes for a COPY, runs of executions for an ExecuteMany.
Chunks = Iterable[Any]


def feed(
    runtime: Runtime,
    link: Link,
    operation: CopyIn | ExecuteMany,
    give: Callable[[], Chunks],
    seconds: float | None,
    tell: Callable[[], object] | None = None,
) -> None:
    """Feed a source's chunks to an operation, until the source ends or the operation is over.

    If the source raises, the operation is undone; its exception is raised after the server's answer.

    Args:
        runtime: the link's.
        link: the link with the operation.
        operation: the operation, already submitted.
        give: returns the source; called when the server is ready.
        seconds: the longest time without progress; None for no limit.  A source
            cannot be interrupted.
        tell: called after each chunk; what it raises is taken as the source's.
    """
    while operation.starting:
        progress(runtime, link, operation, seconds)
    if not operation.over:
        try:
            source = give()
            _feed(runtime, link, operation, source, seconds, tell)
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
    tell: Callable[[], object] | None,
) -> None:
    size = 0
    for chunk in source:
        _feed_chunk(runtime, link, operation, chunk, seconds, tell)
        if operation.over:
            return
        size += len(chunk)
        if size >= HIGH_WATER:
            # Even if everything can be written at once, an error of the server must be read.
            size = 0
            runtime.sleep(0)


def _feed_chunk(
    runtime: Runtime,
    link: Link,
    operation: CopyIn | ExecuteMany,
    chunk: Any,
    seconds: float | None,
    tell: Callable[[], object] | None,
) -> None:
    """Feed a chunk; wait while the operation is full."""
    operation.feed(chunk)
    while operation.full:
        progress(runtime, link, operation, seconds)
    if tell is not None:
        tell()


def encoded(runtime: Runtime, buffer: sources.Buffer[T], records: NamedRecords) -> Chunks:
    """Encode records into chunks, by a buffer."""
    return sources.encoded(buffer, records)
