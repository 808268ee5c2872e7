"""Feeding and draining the operations that move data piece by piece: COPY, executemany and streams."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

import trio

from pgproto import Error, LocalProtocolError
from pgproto.client import NamedRecords, Unique
from pgproto.session import GRACE, CopyIn, ExecuteMany, Operation, sources

from .transport import Transport, unwrap

__all__ = ["Chunks", "Pieces", "Source", "encoded", "feed"]

T = TypeVar("T")


Source = bytes | Iterable[bytes] | AsyncIterable[bytes]
# What an operation is fed with: bytes for a COPY, runs of executions for an ExecuteMany.
Chunks = Iterable[Any] | AsyncIterable[Any]

_END: Final = object()
_log = logging.getLogger("pgproto_trio")


class Pieces(Unique, Generic[T]):
    """What arrives piece by piece: an async iterator, best used as `async with ... as pieces` too.

    The statement runs when the first piece is asked for.  Whoever stops in the middle should call `aclose`
    (leaving `async with` does); one that is simply dropped is cancelled with the connection's next call.
    There is a checkpoint whenever something has to be fetched, not for each piece.

    Only what was read to its end ends with StopAsyncIteration.  After anything else (an error, `aclose`, a
    cancellation) the next piece is an error, each time: a part never passes for the whole.

    Args:
        start: gives the transport, where the operation is to be submitted.
        operation: what to run.
        take: takes what has arrived.
        seconds: how long the next piece may take; None for no limit.
        release: called when the transport is not needed any more; idempotent.
    """

    def __init__(
        self,
        start: Callable[[], Awaitable[Transport]],
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

    async def aclose(self) -> None:
        """Stop: what is still to come is cancelled and dropped.  Idempotent, takes GRACE at the most."""
        if self._transport is not None and not self._transport.inherited:
            self._transport.check_here()
        await self._leave()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def __aenter__(self) -> Pieces[T]:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

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
        await trio.lowlevel.checkpoint()
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
                    await self._end(operation.error)
                else:
                    await progress(transport, operation, self._seconds)
        except Error as error:  # it was refused, or is to be used elsewhere
            await self._end(error)
        except BaseException:
            await self._leave()
            raise
        finally:
            self._waiting = False
        if self._error is not None:
            raise self._error
        raise StopAsyncIteration

    async def _begin(self) -> Transport:
        transport = await self._start()
        await transport.begin(self._operation, None)
        self._transport = transport
        if self._ended:  # by another task, meanwhile
            await self._end(self._error)
        return transport

    async def _leave(self) -> None:
        """Nobody wants the rest."""
        if not self._ended:
            text = "the iteration was left before its end: there is no more to read"
            await self._end(LocalProtocolError(text))

    async def _end(self, error: BaseException | None) -> None:
        self._ended = True
        self._error = error
        self._pieces.clear()
        transport, self._transport = self._transport, None
        try:
            if transport is not None:
                await transport.leave(self._operation)
        finally:
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
    if seconds is not None:
        engine.set_deadline(operation, engine.clock() + seconds)
    transport.resume()
    if operation.finished or operation.take_progress():
        await trio.lowlevel.checkpoint()
    else:
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
            for chunk in source:
                if not await _feed_chunk(transport, operation, chunk, seconds):
                    break
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
    """Hand over a chunk; False once the server wants no more.  Small ones are collected."""
    operation.feed(chunk)
    while operation.full:
        await progress(transport, operation, seconds)
    return not operation.over


async def _feed_async(
    transport: Transport, operation: CopyIn | ExecuteMany, source: AsyncIterable[Any], seconds: float | None
) -> None:
    """The same for a source that has to be waited for: an error of the server interrupts it."""
    async with _closing(source) as iterator:
        while not operation.over:
            chunk = await _next_unless_over(transport, operation, iterator)
            if chunk is _END:
                return
            await _feed_chunk(transport, operation, chunk, seconds)


async def _next_unless_over(
    transport: Transport, operation: CopyIn | ExecuteMany, iterator: AsyncIterator[Any]
) -> Any:
    """The source's next chunk; _END at its end, or once the server wants no more.

    The end is what the source's own `__anext__` says with StopAsyncIteration, and nothing else: a Cancelled
    that it has brought along from another scope is its error, and must not meet a scope of ours.
    """
    chunk: Any = _END
    failure: BaseException | None = None
    transport.engine.set_deadline(operation, None)  # it is the source that takes its time
    transport.resume()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_watch, transport, operation, nursery.cancel_scope)
            try:
                chunk = await anext(iterator, _END)
            except BaseException as error:
                if nursery.cancel_scope.cancel_called and isinstance(error, trio.Cancelled):
                    raise
                failure = error
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise unwrap(group) from None
    if failure is not None:
        raise failure
    return chunk


async def _watch(transport: Transport, operation: CopyIn | ExecuteMany, scope: trio.CancelScope) -> None:
    """Keep the session going while its source is being waited for."""
    while not operation.over:
        await transport.wait(operation)
        operation.take_progress()
    scope.cancel()


def encoded(buffer: sources.Buffer[T], records: NamedRecords) -> Chunks:
    """Records as the chunks that a buffer makes of them."""
    if isinstance(records, AsyncIterable):
        return _encoded(buffer, records)
    return sources.encoded(buffer, records)


async def _encoded(buffer: sources.Buffer[T], records: AsyncIterable[Any]) -> AsyncIterator[T]:
    async with _closing(records) as iterator:
        async for record in iterator:
            chunk = buffer.add(record)
            if chunk is not None:
                yield chunk
        chunk = buffer.end()
        if chunk is not None:
            yield chunk


@contextlib.asynccontextmanager
async def _closing(source: AsyncIterable[T]) -> AsyncIterator[_Source[T]]:
    """Iterate over a source.  Where it is not read to its end, it closes itself, if it can, within GRACE."""
    iterator = _Source(aiter(source))
    try:
        yield iterator
    finally:
        aclose = getattr(iterator.source, "aclose", None)
        if aclose is not None and not iterator.ended:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + GRACE):
                try:
                    await aclose()
                except Exception:  # noqa: BLE001 - it must not hide why the source is not wanted any more
                    _log.exception("closing a source raised")


class _Source(AsyncIterator[T]):
    """A source's iterator, which knows whether it has come to its end."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self.source = source
        self.ended = False

    async def __anext__(self) -> T:
        try:
            return await anext(self.source)
        except StopAsyncIteration:
            self.ended = True
            raise
