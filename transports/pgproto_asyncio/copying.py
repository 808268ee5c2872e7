"""Feeding and draining the operations that move data piece by piece: COPY and streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from typing import Any

from pgproto.session import CopyIn, Operation
from pgproto.session.sources import RecordBuffer, as_bytes, chunks

from .transport import Transport

__all__ = ["Records", "Source", "encoded", "feed", "progress"]

Source = bytes | Iterable[bytes] | AsyncIterable[bytes]
Records = Iterable[Sequence[Any]] | AsyncIterable[Sequence[Any]]


async def progress(transport: Transport, operation: Operation, seconds: float | None) -> None:
    """Let the engine go on, and wait until the operation has made progress or has ended.

    Args:
        transport: whose operation it is.
        operation: submitted before.
        seconds: how long that may take; None for no limit.
    """
    engine = transport.engine
    transport.resume()
    if operation.finished or operation.take_progress():
        return
    if seconds is not None and not operation.timed_out:
        engine.set_deadline(operation, engine.clock() + seconds)
        transport.pump()
    await transport.wait(operation)
    operation.take_progress()


async def feed(transport: Transport, operation: CopyIn, source: Source, seconds: float | None) -> None:
    """Hand a source's data to a COPY, until it ends or the server wants no more.

    A source that raises undoes the COPY; its error is raised when the server has said so.
    """
    while operation.starting:
        await progress(transport, operation, seconds)
    try:
        if isinstance(source, AsyncIterable):
            await _feed_async(transport, operation, source, seconds)
        else:
            for chunk in chunks(source):
                if not await _feed_chunk(transport, operation, chunk, seconds):
                    break
    except Exception as error:
        operation.stop(f"{type(error).__name__}: {error}")
        await _finished(transport, operation, seconds)
        raise
    operation.end()
    await _finished(transport, operation, seconds)


async def _finished(transport: Transport, operation: Operation, seconds: float | None) -> None:
    while not operation.finished:
        await progress(transport, operation, seconds)


async def _feed_chunk(transport: Transport, operation: CopyIn, chunk: bytes, seconds: float | None) -> bool:
    """Hand over a chunk; False once the server wants no more."""
    operation.feed(chunk)
    transport.resume()
    while operation.full:
        await progress(transport, operation, seconds)
    return not operation.over


async def _feed_async(
    transport: Transport, operation: CopyIn, source: AsyncIterable[bytes], seconds: float | None
) -> None:
    """The same for a source that has to be waited for: an error of the server interrupts it."""
    iterator = aiter(source)
    wanted = not operation.over
    while wanted:
        chunk = await _next_unless_over(transport, operation, iterator)
        if chunk is None:
            return
        wanted = await _feed_chunk(transport, operation, as_bytes(chunk), seconds)


async def _next_unless_over(
    transport: Transport, operation: CopyIn, iterator: AsyncIterator[bytes]
) -> bytes | None:
    following = asyncio.ensure_future(_next(iterator))
    try:
        while not following.done() and not operation.over:
            waiter: asyncio.Future[None] = transport.loop.create_future()
            operation.waiter = waiter
            waits: list[asyncio.Future[Any]] = [following, waiter]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        operation.waiter = None
        if not following.done():
            following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await following
    return None if following.cancelled() else following.result()


async def _next(iterator: AsyncIterator[bytes]) -> bytes | None:
    return await anext(iterator, None)


async def encoded(buffer: RecordBuffer, records: AsyncIterable[Sequence[Any]]) -> AsyncIterator[bytes]:
    """Records as chunks of the binary format."""
    async for record in records:
        chunk = buffer.add(record)
        if chunk:
            yield chunk
    yield buffer.end()
