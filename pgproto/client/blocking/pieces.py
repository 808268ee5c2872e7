# Written by scripts/blocking.py out of pgproto/client/pieces.py: change that one.
"""Iterators over pieces as they arrive: the rows of a stream, the data of COPY TO STDOUT."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from pgproto.errors import Error, LocalProtocolError
from pgproto.session import Operation, Stream
from pgproto.session.portal import in_block
from pgproto.types import Column

from ..unique import Unique
from .cursors import Cursor
from .runtime import Link, Runtime

__all__ = ["Pieces", "RowStream", "progress"]

T = TypeVar("T")


class Pieces(Unique, Generic[T]):
    """An iterator, which can be entered with `with` too.

    The statement runs when the first piece is asked for.  Stopping in the middle (`close`, leaving
    `with`, or just dropping the iterator) abandons it: the rest is cancelled, read and dropped.

    StopIteration is only raised at the end of the data.  After anything else (an error, `close`, a
    cancellation) each further step raises an error, so that a part is never taken for the whole.

    Args:
        runtime: the adapter's runtime.
        start: returns the link on which to submit the operation.
        operation: the operation.
        take: returns the pieces that have arrived.
        seconds: how long the next piece may take; None for no limit.
        release: called when the link is no longer needed; idempotent.
    """

    def __init__(
        self,
        runtime: Runtime,
        start: Callable[[], Link],
        operation: Operation,
        take: Callable[[], list[T]],
        seconds: float | None,
        release: Callable[[], None] | None = None,
    ) -> None:
        self._runtime = runtime
        self._start = start
        self._operation = operation
        self._take = take
        self._seconds = seconds
        self._release = release
        self._pieces: deque[T] = deque()
        self._link: Link | None = None
        self._waiting = False  # a task waits for the next piece
        self._ended = False
        self._error: BaseException | None = None  # raised instead of more pieces

    def __iter__(self) -> Pieces[T]:
        return self

    def __next__(self) -> T:
        while not self._pieces:  # another thread may have taken them
            self._fetch()
        return self._pieces.popleft()

    def __enter__(self) -> Pieces[T]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        link = self._link
        home = None if link is None or link.inherited else link.home
        self._runtime.do_last(home, self.close, error)

    def close(self) -> None:
        """Stop, and wait until the connection is free again, for at most GRACE.  Idempotent."""
        link = self._link
        if link is not None and not link.inherited:
            link.check_here()
        self._leave()
        if link is not None and not self._operation.finished:
            link.settled()
        self._runtime.shielded_checkpoint()

    def __del__(self) -> None:
        link: Link | None = getattr(self, "_link", None)
        if link is not None and not link.inherited:
            self._operation.kept = False
            link.orphan(self._operation, self._release)

    def _fetch(self) -> None:
        """Wait for more pieces.

        Raises:
            StopIteration: there are none, and the data is complete.
            LocalProtocolError: another thread is waiting for them, or the iteration was left.
            Error: the operation's error.
        """
        self._runtime.checkpoint()
        operation = self._operation
        link = self._link
        if link is not None:
            link.check_here()
        if self._waiting:
            raise LocalProtocolError("another thread waits for the next piece already")
        self._waiting = True
        try:
            if link is None and not self._ended:
                link = self._begin()
            while link is not None and not self._ended:
                self._pieces.extend(self._take())
                if self._pieces:
                    return
                if operation.finished:
                    self._end(operation.error)
                else:
                    progress(self._runtime, link, operation, self._seconds)
        except Error as error:  # refused, or not usable here
            self._end(error)
        except BaseException:
            self._leave()
            raise
        finally:
            self._waiting = False
        if self._error is not None:
            raise self._error
        raise StopIteration

    def _begin(self) -> Link:
        link = self._start()
        if self._seconds is not None:
            self._operation.deadline = link.engine.clock() + self._seconds
        self._link = link
        self._operation.kept = True
        try:
            link.begin(self._operation)
        except Error:  # refused
            self._link = None
            raise
        if self._ended:  # by another thread, during the wait
            self._end(self._error)
        return link

    def _leave(self) -> None:
        """Abandon the operation: the rest is not wanted."""
        if not self._ended:
            text = "the iteration was left before its end: there is no more to read"
            self._end(LocalProtocolError(text))

    def _end(self, error: BaseException | None) -> None:
        self._ended = True
        self._error = error
        self._pieces.clear()
        self._operation.kept = False
        link, self._link = self._link, None
        try:
            if link is not None:
                link.leave(self._operation)
        finally:
            if self._release is not None:
                self._release()


class RowStream(Pieces[T]):
    """The rows of a statement as they arrive.

    In a transaction block they are fetched by a cursor: other statements may run in between, and to stop in
    the middle needs no cancel request, which would abort the transaction.

    Args:
        runtime, start, operation, seconds, release: see `Pieces`.
        cursor: a cursor for the same statement; None if it never runs in a transaction block.
    """

    def __init__(
        self,
        runtime: Runtime,
        start: Callable[[], Link],
        operation: Stream,
        seconds: float | None,
        release: Callable[[], None] | None = None,
        cursor: Cursor[T] | None = None,
    ) -> None:
        super().__init__(runtime, start, operation, operation.take, seconds, release)
        self._item = operation.items[0]
        self._cursor = cursor

    @property
    def description(self) -> tuple[Column, ...]:
        """The columns, with their types; () before the first row was asked for."""
        return self._item.description

    def _fetch(self) -> None:
        cursor = self._cursor
        if cursor is None or self._link is not None or self._ended:
            super()._fetch()
        elif not (cursor.begun or in_block((self._start()).engine)):
            self._cursor = None
            super()._fetch()
        else:
            try:
                rows = cursor.piece()
            except Error as error:
                self._end(error)
                raise
            except BaseException:
                self._leave()
                raise
            if not rows:
                self._end(None)
                raise StopIteration
            self._pieces.extend(rows)

    def _end(self, error: BaseException | None) -> None:
        if self._cursor is not None:
            self._cursor.drop()
        super()._end(error)


def progress(runtime: Runtime, link: Link, operation: Operation, seconds: float | None) -> None:
    """Let the engine go on, and wait until the operation has made progress or has ended.

    Args:
        runtime: the adapter's runtime.
        link: the link with the operation.
        operation: the operation, already submitted.
        seconds: how long that may take; None for no limit.
    """
    engine = link.engine
    if seconds is not None:
        engine.set_deadline(operation, engine.clock() + seconds)
    link.resume()
    if operation.finished or operation.take_progress():
        runtime.checkpoint()
    else:
        link.wait(operation)
        operation.take_progress()
    # Clear the deadline: the time between two calls is the caller's own and does not count.
    engine.set_deadline(operation, None)
