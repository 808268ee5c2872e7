"""Feeding and draining the operations that move data piece by piece: COPY, executemany and streams."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from pgproto import Error, LocalProtocolError
from pgproto.client import NamedRecords, Unique
from pgproto.session import GRACE, HIGH_WATER, CopyIn, ExecuteMany, Operation, sources

from .collected import do_last
from .transport import Transport

__all__ = ["Chunks", "Pieces", "Source", "encoded", "feed", "progress"]

T = TypeVar("T")

Source = bytes | Iterable[bytes] | AsyncIterable[bytes]
# What an operation is fed with: bytes for a COPY, runs of executions for an ExecuteMany.
Chunks = Iterable[Any] | AsyncIterable[Any]

_END: Final = object()


class Pieces(Unique, Generic[T]):
    """What arrives piece by piece: an async iterator, which can be entered with `async with` too.

    The statement runs when the first piece is asked for.  Whoever stops in the middle (`aclose`, leaving
    `async with`, or just dropping the iterator) abandons it: the rest is cancelled, read and dropped, and the
    connection's next call is served behind it.

    Only what was read to its end ends with StopAsyncIteration.  After anything else (an error, `aclose`, a
    cancellation) the next piece is an error, each time: a part never passes for the whole.

    Args:
        start: submits the operation; the transport that it runs on.
        operation: what to run.
        take: takes what has arrived.
        seconds: how long the next piece may take; None for no limit.
        release: called when the transport is not needed any more; idempotent.
    """

    def __init__(
        self,
        start: Callable[[Operation], Awaitable[Transport]],
        operation: Operation,
        take: Callable[[], list[T]],
        seconds: float | None,
        release: Callable[[], None] | None = None,
    ) -> None:
        self._start = start
        self._operation = operation
        self._take = take
        self._seconds = seconds
        self._release = release
        self._pieces: deque[T] = deque()
        self._transport: Transport | None = None
        self._waiting = False  # a task waits for the next piece
        self._ended = False
        self._error: BaseException | None = None  # what there is instead of more pieces

    def __aiter__(self) -> Pieces[T]:
        return self

    async def __anext__(self) -> T:
        if not self._pieces:
            await self._fetch()
        return self._pieces.popleft()

    async def __aenter__(self) -> Pieces[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        transport = self._transport
        loop = None if transport is None or transport.inherited else transport.loop
        await do_last(loop, self.aclose(), error)

    async def aclose(self) -> None:
        """Stop, and wait until the connection is free again, GRACE at the most.  Idempotent."""
        transport = self._transport
        if transport is not None and not transport.inherited:
            transport.check_here()
        self._leave()
        if transport is not None and not self._operation.finished:
            await transport.settled()

    def __del__(self) -> None:
        transport = getattr(self, "_transport", None)
        if transport is not None and not transport.inherited:
            transport.orphan(self._operation, self._release)

    async def _fetch(self) -> None:
        """Wait for more pieces.

        Raises:
            StopAsyncIteration: there are none, and it is whole.
            LocalProtocolError: another task waits for them already, or the iteration was left.
            Error: the operation's error.
        """
        if self._waiting:
            raise LocalProtocolError("another task waits for the next piece already")
        operation = self._operation
        transport = self._transport
        if transport is not None:
            transport.check_here()
        self._waiting = True
        try:
            if transport is None and not self._ended:
                transport = await self._begin()
            while transport is not None and not self._ended:
                self._pieces.extend(self._take())
                if self._pieces:
                    return
                if operation.finished:
                    self._end(operation.error)
                else:
                    await progress(transport, operation, self._seconds)
        except Error as error:  # it was refused, or is to be used elsewhere
            self._end(error)
        except BaseException:
            self._leave()
            raise
        finally:
            self._waiting = False
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def _begin(self) -> Transport:
        self._transport = transport = await self._start(self._operation)
        if self._ended:  # by another task, meanwhile
            self._end(self._error)
        return transport

    def _leave(self) -> None:
        """Nobody wants the rest."""
        if not self._ended:
            self._end(LocalProtocolError("the iteration was left before its end: there is no more to read"))

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        self._error = error
        self._pieces.clear()
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abandon(self._operation)
        if self._release is not None:
            self._release()


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
    if seconds is not None:
        engine.set_deadline(operation, engine.clock() + seconds)
        transport.pump()
    await transport.wait(operation)
    operation.take_progress()
    # The time that the caller takes for its own part does not count.
    engine.set_deadline(operation, None)


async def feed(
    transport: Transport, operation: CopyIn | ExecuteMany, give: Callable[[], Chunks], seconds: float | None
) -> None:
    """Hand a source's chunks to an operation, until it ends or the server wants no more.

    A source that raises undoes the operation; its error is raised when the server has said so.
    """
    while operation.starting:
        await progress(transport, operation, seconds)
    if operation.over:
        await _finished(transport, operation, seconds)
        return
    try:
        source = give()
        if isinstance(source, AsyncIterable):
            await _feed_async(transport, operation, source, seconds)
        else:
            size = 0
            for chunk in source:
                if not await _feed_chunk(transport, operation, chunk, seconds):
                    break
                size += len(chunk)
                if size >= HIGH_WATER:
                    # A server that takes everything at once must not keep us from reading its error.
                    size = 0
                    await asyncio.sleep(0)
    except Exception as error:
        operation.stop(error)
        await _finished(transport, operation, seconds)
        raise
    operation.end()
    await _finished(transport, operation, seconds)


async def _finished(transport: Transport, operation: Operation, seconds: float | None) -> None:
    while not operation.finished:
        await progress(transport, operation, seconds)


async def _feed_chunk(
    transport: Transport, operation: CopyIn | ExecuteMany, chunk: Any, seconds: float | None
) -> bool:
    """Hand over a chunk; False once the server wants no more."""
    operation.feed(chunk)
    transport.resume()
    while operation.full:
        await progress(transport, operation, seconds)
    return not operation.over


async def _feed_async(
    transport: Transport, operation: CopyIn | ExecuteMany, source: AsyncIterable[Any], seconds: float | None
) -> None:
    """The same for a source that has to be waited for: an error of the server interrupts it."""
    reader = _Reader(aiter(source))
    try:
        while not operation.over:
            chunk = await reader.next_unless_over(transport, operation)
            if chunk is _END:
                return
            await _feed_chunk(transport, operation, chunk, seconds)
    finally:
        await reader.close()


class _Reader:
    """Takes the chunks out of a source, each in a task, so that the waiting for one can be given up.

    The end is what the source's own `__anext__` says with StopAsyncIteration, and nothing else: a
    CancelledError that comes out of a source is its error, as any other.
    """

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        self._iterator = iterator
        self._following: asyncio.Future[Any] | None = None
        self._ended = False

    async def next_unless_over(self, transport: Transport, operation: CopyIn | ExecuteMany) -> Any:
        """The next chunk; _END at the end of the source, or once the server wants no more."""
        following = self._following = asyncio.ensure_future(_next(self._iterator))
        try:
            while not following.done():
                if operation.over:
                    return _END
                waiter: asyncio.Future[None] = transport.loop.create_future()
                operation.waiter = waiter
                waits: list[asyncio.Future[Any]] = [following, waiter]
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            operation.waiter = None
        chunk = following.result()
        self._ended = chunk is _END
        return chunk

    async def close(self) -> None:
        """Have a source that was not read to its end close itself, within GRACE."""
        if not self._ended:
            deadline = asyncio.get_running_loop().time() + GRACE
            if self._following is not None and not self._following.done():
                self._following.cancel()
                await _await_until(self._following, deadline)
            await _close(self._iterator, deadline)


async def _close(iterator: AsyncIterator[Any], deadline: float) -> None:
    """Close an iterator early, if it can be closed; what goes wrong must not hide why."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await _await_until(asyncio.ensure_future(_awaited(aclose)), deadline)


async def _await_until(task: asyncio.Future[Any], deadline: float) -> None:
    """Wait for a task of the caller's code; one that takes too long is cancelled, and left alone."""
    task.add_done_callback(_tell)
    try:
        await asyncio.wait([task], timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
    finally:
        task.cancel()


def _tell(task: asyncio.Future[Any]) -> None:
    """Say it if a source could not be stopped in an orderly way: nobody else asks."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        context = {"message": "closing a source raised", "exception": error}
        task.get_loop().call_exception_handler(context)


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, _END)


def encoded(buffer: sources.Buffer[T], records: NamedRecords) -> Chunks:
    """Records as the chunks that a buffer makes of them."""
    if isinstance(records, AsyncIterable):
        return _encoded(buffer, records)
    return sources.encoded(buffer, records)


async def _encoded(buffer: sources.Buffer[T], records: AsyncIterable[Any]) -> AsyncIterator[T]:
    iterator = aiter(records)
    ended = False
    try:
        async for record in iterator:
            chunk = buffer.add(record)
            if chunk is not None:
                yield chunk
        ended = True
    finally:
        if not ended:
            await _close(iterator, asyncio.get_running_loop().time() + GRACE)
    chunk = buffer.end()
    if chunk is not None:
        yield chunk
