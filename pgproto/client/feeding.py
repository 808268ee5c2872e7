"""Feeding data piece by piece to operations: COPY and executemany."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from typing import Any, TypeVar

from pgproto.errors import QueryTimeout
from pgproto.session import HIGH_WATER, CopyIn, ExecuteMany, sources

from .pieces import progress
from .records import NamedRecords
from .runtime import END, Link, Runtime

__all__ = ["Chunks", "encoded", "feed"]

T = TypeVar("T")

# The chunks for an operation: bytes for a COPY, runs of executions for an ExecuteMany.
Chunks = Iterable[Any] | AsyncIterable[Any]


async def feed(
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
        seconds: the longest time without progress; None for no limit.  A source that is not asynchronous
            cannot be interrupted.
        tell: called after each chunk; what it raises is taken as the source's.
    """
    while operation.starting:
        await progress(runtime, link, operation, seconds)
    if not operation.over:
        try:
            source = give()
            if isinstance(source, AsyncIterable):
                await _feed_async(runtime, link, operation, source, seconds, tell)
            else:
                await _feed(runtime, link, operation, source, seconds, tell)
        except Exception as error:
            operation.stop(error)
            await _finished(runtime, link, operation, seconds)
            raise
        operation.end()
    await _finished(runtime, link, operation, seconds)


async def _finished(
    runtime: Runtime, link: Link, operation: CopyIn | ExecuteMany, seconds: float | None
) -> None:
    while not operation.finished:
        await progress(runtime, link, operation, seconds)


async def _feed(
    runtime: Runtime,
    link: Link,
    operation: CopyIn | ExecuteMany,
    source: Iterable[Any],
    seconds: float | None,
    tell: Callable[[], object] | None,
) -> None:
    size = 0
    for chunk in source:
        await _feed_chunk(runtime, link, operation, chunk, seconds, tell)
        if operation.over:
            return
        size += len(chunk)
        if size >= HIGH_WATER:
            # Even if everything can be written at once, an error of the server must be read.
            size = 0
            await runtime.sleep(0)


async def _feed_chunk(
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
        await progress(runtime, link, operation, seconds)
    if tell is not None:
        tell()


async def _feed_async(
    runtime: Runtime,
    link: Link,
    operation: CopyIn | ExecuteMany,
    source: AsyncIterable[Any],
    seconds: float | None,
    tell: Callable[[], object] | None,
) -> None:
    """Feed an asynchronous source; an error of the server interrupts the wait for it."""
    reader = runtime.reader(aiter(source))
    try:
        while not operation.over:
            chunk: Any = None
            given = False  # a scope may swallow the end of the wait without saying so
            async with runtime.bound(math.inf if seconds is None else runtime.now() + seconds) as bound:
                chunk = await reader.next_unless_over(link, operation)
                given = True
            if bound.expired or not given:
                raise QueryTimeout("the source gave nothing in time")
            if chunk is END:
                return
            await _feed_chunk(runtime, link, operation, chunk, seconds, tell)
    finally:
        await reader.close()


def encoded(runtime: Runtime, buffer: sources.Buffer[T], records: NamedRecords) -> Chunks:
    """Encode records into chunks, by a buffer."""
    if isinstance(records, AsyncIterable):
        return _encoded(runtime, buffer, records)
    return sources.encoded(buffer, records)


async def _encoded(
    runtime: Runtime, buffer: sources.Buffer[T], records: AsyncIterable[Any]
) -> AsyncIterator[T]:
    reader = runtime.reader(aiter(records))
    try:
        async for record in reader:
            chunk = buffer.add(record)
            if chunk is not None:
                yield chunk
    finally:
        await reader.close()
    chunk = buffer.end()
    if chunk is not None:
        yield chunk
