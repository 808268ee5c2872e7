"""What a connection hands out: prepared statements, notifications, transaction blocks."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Generator
from types import TracebackType
from typing import TYPE_CHECKING

from pgproto import Error, LocalProtocolError
from pgproto.client import Unique
from pgproto.client.blocking import DEFAULT, Timeout
from pgproto.session import (
    GRACE,
    Listener,
    Notification,
    Operation,
    Transaction,
    listen,
    unlisten,
)
from pgproto.session.deadlines import limit
from pgproto_sockets import readiness

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Notifications", "TransactionContext"]


class Notifications(Unique):
    """An iterator over notifications; a context manager that listens while it is open.

    Waiting for a notification does not keep other threads from using the connection.  The iteration ends
    with ConnectionClosed when the session does: what was missed then, nobody knows.
    """

    def __init__(self, connection: Connection, listener: Listener) -> None:
        self._connection = connection
        self._listener = listener
        self._wakee: socket.socket | None = None

    @property
    def dropped(self) -> int:
        """How many notifications were dropped because nobody took them."""
        return self._listener.dropped

    def get(self, timeout: Timeout = None) -> Notification | None:
        """The next notification; None if there is none in time.

        Args:
            timeout: in seconds; 0 or less for what has arrived already, None to wait for ever.

        Raises:
            ConnectionClosed: the session has ended.
        """
        left = limit(timeout, None)
        deadline = None if left is None else time.monotonic() + left
        connection = self._connection
        while True:
            notification = self._listener.take()
            if notification is not None:
                return notification
            connection.alone(self._look)
            notification = self._listener.take()
            if notification is not None:
                return notification
            connection.check_open()
            left = None if deadline is None else deadline - time.monotonic()
            wakee = self._wakee
            if wakee is None or (left is not None and left <= 0):
                return None
            readiness.wait(connection.descriptor, readiness.READABLE, left, wakee.fileno())

    def _look(self) -> None:
        """Read what has arrived.  From here on, other threads' calls wake us if they read something."""
        wakee = self._wakee
        if wakee is not None:
            with contextlib.suppress(BlockingIOError):
                wakee.recv(4096)
        self._connection.look()

    def __enter__(self) -> Notifications:
        connection = self._connection
        if self._wakee is not None:
            if self._listener.ended is None:
                raise LocalProtocolError("these notifications are listened to already")
            self._close()
        try:
            self._listener.waiter, self._wakee = ends = socket.socketpair()
            for end in ends:
                end.setblocking(False)
            connection.run_flow(listen(connection.engine, self._listener))
            return self  # in here: an interrupt can come at this line, too
        except BaseException as problem:
            self._close()
            if not isinstance(problem, Exception):
                connection.abort()  # interrupted: LISTEN may have been run, and nobody would undo it
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            connection = self._connection
            if connection.closed:
                connection.listeners.remove(self._listener)
            else:
                # An error of the clean-up must not hide the one that made it necessary.
                with contextlib.suppress(*(() if error is None else (Error,))):
                    hurried = error is not None and not isinstance(error, Exception)
                    flow = unlisten(connection.engine, self._listener)
                    connection.run_flow(flow, GRACE if hurried else DEFAULT)
        except BaseException as problem:
            if not isinstance(problem, Exception):
                self._connection.abort()  # interrupted: nobody would have the server stop, then
            raise
        finally:
            if self._listener.ended is None:  # refused, in the middle of a call: that sees to it at its end
                self._connection.listeners.remove(self._listener)
                self._connection.listeners.unsettled = True
            self._close()

    def _close(self) -> None:
        waker, wakee = self._listener.waiter, self._wakee
        self._listener.waiter = self._wakee = None
        if isinstance(waker, socket.socket):
            waker.close()
        if wakee is not None:
            wakee.close()

    def __iter__(self) -> Notifications:
        return self

    def __next__(self) -> Notification:
        notification = self.get()
        if notification is None:
            raise StopIteration
        return notification


class TransactionContext(Unique):
    """`with conn.transaction()`; or `start`, and `commit` or `rollback`, each by itself.

    An interrupt between two steps leaves nobody who would end the block, and what came next would be a part
    of it.  Then the session ends.  (The flow's own `finally` comes too late for that, and compiled not at
    all: mypyc 2.4.1 does not close a generator that is dropped.)
    """

    def __init__(self, connection: Connection, block: Transaction) -> None:
        self._connection = connection
        self._block = block

    @property
    def block(self) -> Transaction:
        """The core's side of it."""
        return self._block

    @property
    def committing(self) -> bool:
        """True once COMMIT was submitted."""
        return self._block.committing

    def start(self) -> Connection:
        """Open the block.

        Raises:
            LocalProtocolError: it is open already, or another thread's block is.
        """
        try:
            self._connection.alone(self._block.enter)
            return self._connection
        except LocalProtocolError:  # refused: there is nothing to end
            raise
        except BaseException:
            self._end()
            raise

    def commit(self) -> None:
        """COMMIT, or RELEASE SAVEPOINT.  Any thread may end the block.

        Raises:
            LocalProtocolError: it is not open, a block inside it is, or a statement has ended it.
            TransactionAborted: the server has rolled back instead.
            Error: the commit failed; its `outcome` says what is known.
        """
        self._run(self._block.commit())

    def rollback(self) -> None:
        """ROLLBACK, or ROLLBACK TO SAVEPOINT; blocks that are open inside it end with it.

        Raises:
            LocalProtocolError: it is not open, or a statement has ended it.
        """
        self._run(self._block.rollback())

    def __enter__(self) -> Connection:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.commit()
            else:
                # An error of the clean-up must not hide the one that made it necessary.
                with contextlib.suppress(Error):
                    if isinstance(error, Exception):
                        self.rollback()
                    else:
                        self._run(self._block.rollback(), GRACE)
        finally:
            if not self._block.ending:  # else another thread sees to it
                self._end()

    def _run(self, flow: Generator[Operation, None, None], timeout: Timeout = DEFAULT) -> None:
        try:
            self._connection.run_flow(flow, timeout)
        except LocalProtocolError:  # refused: nothing was begun
            raise
        except BaseException:
            self._end()
            raise

    def _end(self) -> None:
        """Close the connection if the block is still open."""
        if self._block.entered:
            self._connection.abort()
