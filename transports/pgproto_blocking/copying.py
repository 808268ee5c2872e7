"""Feeding and draining the operations that move data piece by piece: COPY, executemany and streams."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Final, Generic, TypeVar

from pgproto import Error, LocalProtocolError
from pgproto.client import Unique
from pgproto.session import CopyIn, ExecuteMany, Operation

from .transport import Transport

__all__ = ["Chunks", "Pieces", "Source", "feed"]

T = TypeVar("T")

Source = bytes | Iterable[bytes]
# What an operation is fed with: bytes for a COPY, runs of executions for an ExecuteMany.
Chunks = Iterable[Any]

# Bytes that are collected before the socket is looked after: nobody can see a part of a COPY anyway.
_FED_AT_ONCE: Final = 16384


class Pieces(Unique, Generic[T]):
    """What arrives piece by piece: an iterator, which can be entered with `with` too.

    The statement runs when the first piece is asked for.  Whoever stops in the middle (`close`, leaving
    `with`, or just dropping the iterator) abandons it: the rest is cancelled, read and dropped.

    Only what was read to its end ends with StopIteration.  After anything else (an error, an interrupt,
    `close`) the next piece is an error, each time: a part never passes for the whole.

    Args:
        start: gives the transport, where the operation is to be submitted, and the number of the lease.
        operation: what to run.
        take: takes what has arrived.
        seconds: how long the next piece may take; None for no limit.
        release: called when the transport is not needed any more; idempotent.
    """

    def __init__(
        self,
        start: Callable[[], tuple[Transport, int]],
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
        self._turn = threading.RLock()  # of the thread that waits; one that an interrupt leaves is its own
        self._ended = False
        self._error: BaseException | None = None  # what there is instead of more pieces

    def __iter__(self) -> Pieces[T]:
        return self

    def __next__(self) -> T:
        while True:
            try:
                return self._pieces.popleft()
            except IndexError:  # another thread may have come before, so that this can happen again
                pass
            if not self._turn.acquire(blocking=False):
                raise LocalProtocolError("another thread waits for the next piece already")
            try:
                self._fetch()
            finally:
                self._turn.release()

    def close(self) -> None:
        """Stop: what is still to come is cancelled and dropped.  Idempotent, takes GRACE at the most."""
        self._leave()

    def __enter__(self) -> Pieces[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_transport", None) is not None:
            self._leave()

    def _fetch(self) -> None:
        """Wait for more pieces.

        Raises:
            StopIteration: there are none, and it is whole.
            LocalProtocolError: the iteration was left.
            Error: the operation's error.
        """
        operation = self._operation
        transport = self._transport
        try:
            if transport is None and not self._ended:
                transport, lease = self._start()
                self._transport = transport
                transport.submit(operation, self._seconds, lease)
            while transport is not None and not self._ended:
                self._pieces.extend(self._take())
                if self._pieces:
                    return
                if operation.finished:
                    self._end(operation.error)
                else:
                    transport.progress(operation, self._seconds)
        except Error as error:  # it was refused
            self._end(error)
        except BaseException:
            self._leave()
            raise
        if self._error is not None:
            raise self._error
        raise StopIteration

    def _leave(self) -> None:
        """Nobody wants the rest."""
        if not self._ended:
            self._end(LocalProtocolError("the iteration was left before its end: there is no more to read"))

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        self._error = error
        self._pieces.clear()
        transport, self._transport = self._transport, None
        try:
            if transport is not None and transport.engine.exclusive is self._operation:
                transport.abandon(self._operation)
        finally:
            if self._release is not None:
                self._release()


def feed(
    transport: Transport,
    operation: CopyIn | ExecuteMany,
    source: Callable[[], Chunks],
    seconds: float | None,
    lease: int = 0,
) -> int:
    """Run the operation with the chunks of a source; the number of rows.

    Args:
        transport: the session's.
        operation: what to feed.
        source: gives the chunks; asked when the server is ready for them.
        seconds: the longest time without progress; None for no limit.
        lease: see `Transport.alone`.
    """
    try:  # an interrupt may come when it is submitted and `submit` has not returned
        transport.submit(operation, seconds, lease)
        while operation.starting:
            transport.progress(operation, seconds)
        _fill(transport, operation, source, seconds)
        operation.end()
        while not operation.finished:
            transport.progress(operation, seconds)
    finally:
        transport.abandon(operation)
    if operation.error is not None:
        raise operation.take_error()
    return operation.rowcount


def _fill(
    transport: Transport,
    operation: CopyIn | ExecuteMany,
    source: Callable[[], Chunks],
    seconds: float | None,
) -> None:
    """Hand over all data; what the source raises stops the operation, and is raised when that has ended."""
    try:
        if not operation.over:
            _feed(transport, operation, source(), seconds)
    except Exception as error:
        operation.stop(error)
        while not operation.finished:
            transport.progress(operation, seconds)
        raise


def _feed(
    transport: Transport, operation: CopyIn | ExecuteMany, source: Chunks, seconds: float | None
) -> None:
    """Hand over data until there is no more, or the server wants no more."""
    fed = 0
    for chunk in source:
        operation.feed(chunk)
        fed += len(chunk)
        if fed >= _FED_AT_ONCE:
            fed = 0
            transport.progress(operation, seconds, wait=False)
        while operation.full:
            transport.progress(operation, seconds)
        if operation.over:
            return
