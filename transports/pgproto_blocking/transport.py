"""The blocking transport of an engine: a non-blocking socket, and waits until it is ready.

It knows no PostgreSQL.  One thread at a time is in a call; the others queue up for the lock.  A call writes
the engine's output, waits until the socket is ready or a deadline passes, reads, and repeats that until its
operation has ended.  It always reads while it writes, and every wait has the engine's next deadline.

An interrupt (KeyboardInterrupt, or another exception of a signal handler) can strike between any two
instructions.  During a wait nothing is half done: the operation is abandoned, and its answer is read and
dropped within GRACE.  At any other moment the engine's state may be inconsistent, or bytes may be lost on
the way to the engine: then the connection is closed.  So after any call the connection is in sync or closed.
"""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable
from typing import Final, NamedTuple

from pgproto import ConnectionClosed, ConnectionLost, Error, LocalProtocolError, QueryTimeout
from pgproto.client import refusals
from pgproto.session import GRACE, LONGEST_GRACE, Engine, Operation
from pgproto.session.loss import lease_over
from pgproto.session.news import CHANGE, HOLD, OUTPUT, READY, TIME
from pgproto.wire import BackendKeyData
from pgproto_sockets import forks, readiness
from pgproto_sockets.options import Patience
from pgproto_sockets.readiness import READABLE, WRITABLE

__all__ = ["Address", "Transport"]

_READ_SIZE: Final = 65536
_PAUSE: Final = 0.05  # seconds between the cancel requests of a dead session: each stops one statement
_SENDING: Final = GRACE / 2  # for a cancel request: the other half is for the answer to the cancelled query
_LOOKS: Final = 16  # the most reads without waiting, before another thread may have the lock


class Address(NamedTuple):
    """The address of a socket's peer: its family and the system's form of the address."""

    family: int
    target: str | tuple[object, ...]


class Transport:
    """One connected socket and the engine of its session.

    Args:
        engine: the session.
        sock: the socket, connected and non-blocking.
        address: the address of the server.
        patience: for a peer that reads slowly; None if it is not needed.

    Attributes:
        inherited: it belongs to the parent process (see `fork`).
        on_change: called, with the lock held, after every arrival of bytes, to take notices.
        send_cancel: sends a cancel request with this key, within so many seconds; never raises.
    """

    def __init__(
        self, engine: Engine, sock: socket.socket, address: Address, patience: Patience | None = None
    ) -> None:
        self.engine = engine
        self._patience = patience
        self.sock: socket.socket | None = sock
        self.address = address
        self.on_change: Callable[[], None] | None = None
        self.send_cancel: Callable[[BackendKeyData, float], bool] | None = None
        self.inherited = False
        self._lock = threading.RLock()
        self._owner = 0  # the thread that is in a call
        self._waiting = False  # that thread waits, so nothing is half done
        self._aborted = False
        self._gate = threading.Lock()  # held while `cancel` sends: no other operation may run into that
        self._stray: list[Operation] = []
        self._operation: Operation | None = None  # the operation of the call that has the lock
        forks.forget_in_child(self)

    @property
    def closed(self) -> bool:
        """True once nothing can be submitted any more."""
        return self.sock is None or self._aborted or self.engine.closed

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor; -1 if there is none any more."""
        sock = self.sock
        return -1 if sock is None else sock.fileno()

    # ---- Calls

    def run(self, operation: Operation, timeout: float | None, lease: int = 0) -> None:
        """Submit an operation (the first one starts the session) and wait for its end.

        Args:
            operation: the operation.
            timeout: in seconds, including the wait for other threads' calls; None for no limit.
            lease: see `alone`.

        Raises:
            Error: the operation's error.
        """
        if timeout is not None:
            operation.deadline = self.engine.clock() + timeout

        def work() -> None:
            self._submit(operation)
            while not operation.finished:
                self._step()
                compute = operation.take_work()
                if compute is not None:
                    compute()
                    self.engine.resume()
                    self._write()

        self.alone(work, operation, timeout, lease)
        if operation.error is not None:
            raise operation.error

    def submit(self, operation: Operation, timeout: float | None, lease: int = 0) -> None:
        """Submit an operation that is driven piece by piece: `resume` and `wait`.

        Args:
            operation: the operation.
            timeout: seconds to wait for other threads' calls; None for no limit.
            lease: see `alone`.
        """
        self.alone(lambda: self._submit(operation), operation, timeout, lease)

    def resume(self) -> None:
        """An operation has more to write, or room for more to read: do what is possible without waiting."""

        def work() -> None:
            self.engine.resume()
            self._write()
            self.look()

        self.alone(work, self.engine.exclusive)

    def wait(self, operation: Operation) -> None:
        """Move bytes until an operation has ended or there is something new for its caller."""

        def work() -> None:
            while not operation.finished and not operation.progressed:
                self._step()

        self.alone(work, operation)

    def abandon(self, operation: Operation) -> None:
        """Abandon an operation: bring it to its end, within GRACE, or close the connection."""
        if operation.finished:
            return
        if sys.is_finalizing():  # the session will not be used any more either
            self.abort()
            return
        # If the garbage collector ends a generator in the middle of another call, the next call does it.
        self._stray.append(operation)
        if self._owner != threading.get_ident():
            with contextlib.suppress(QueryTimeout):
                self.alone(lambda: None, operation, GRACE)

    def dismiss(self) -> None:
        """The lease is over: stop its operations; their callers get an error."""
        if self.engine.idle or self.engine.closed:
            return
        if sys.is_finalizing():
            self.abort()
            return
        try:
            self.alone(self._end_lease, None, 0.0)
        except Error:  # a call has the lock: close the session under it
            why = lease_over()
            for operation in (self._operation, self.engine.exclusive):
                if operation is not None and not operation.finished and not operation.unwanted:
                    operation.stopped = why

    def alone(
        self,
        work: Callable[[], None],
        operation: Operation | None = None,
        timeout: float | None = None,
        lease: int = 0,
    ) -> None:
        """Do some work for an operation with the lock held, and handle interrupts.

        Args:
            work: the work.
            operation: its operation.
            timeout: seconds to wait for the lock; None for no limit.
            lease: the number of the caller's lease (`Blocks.lease`), which another thread may just have
                ended; 0 for the owner of the session.

        Raises:
            QueryTimeout: the lock was not free in time.
            ConnectionClosed: the lease is over.
            LocalProtocolError: this thread is already in a call (this is a callback or a signal handler).
        """

        def guarded() -> None:
            if lease and lease != self.engine.blocks.lease:
                over = refusals.not_open(lent=True)
                (operation or Operation()).turned_away(over)
                raise over
            concerned = operation
            try:
                while self._stray:
                    concerned = self._stray[0]
                    self._drain(concerned)
                concerned = self._operation = operation
                work()
            except Error:
                raise  # refused, so nothing was begun
            except BaseException:
                self._interrupted(concerned)
                raise
            finally:
                self._operation = None

        if self._owner == threading.get_ident():
            error: Error = LocalProtocolError("the connection is in the middle of a call by this very thread")
            (operation or Operation()).turned_away(error)
            raise error
        if not self._locked(guarded, -1.0 if timeout is None else max(0.0, timeout)):
            error = QueryTimeout("the deadline passed while another thread was using the connection")
            (operation or Operation()).turned_away(error)
            raise error

    def try_alone(self, work: Callable[[], None]) -> bool:
        """Do some work with the lock held, if no thread (including this one) is in a call."""
        return self._locked(work, 0.0)

    def close(self, timeout: float | None) -> None:
        """End the session; a call of another thread gets `timeout` seconds to end before it is cut off."""
        patience = -1.0 if timeout is None else max(0.0, timeout)
        if self.sock is not None and not self._locked(self._end, patience):
            self.abort()
            self._locked(self._kill_aborted, GRACE)  # waits until the other thread has released the lock

    def abort(self) -> None:
        """End the session at once.  A running call is cancelled, and ends with ConnectionLost."""
        self._aborted = True
        sock = self.sock
        if sock is None or self._locked(self._kill_aborted, 0.0):
            return
        try:
            key = self.engine.running
            if key is not None and self.send_cancel is not None:
                self.send_cancel(key, _SENDING)
        finally:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it
            self._locked(self._kill_aborted, 0.0)

    def cancel(self, seconds: float, lease: int = 0) -> bool | None:
        """Cancel what runs, by a request of this thread's, which takes at most so many seconds.

        Returns:
            True once it was delivered, False if it could not be; None if nothing runs.
        """
        deadline = time.monotonic() + seconds
        if not self._gate.acquire(timeout=min(seconds, threading.TIMEOUT_MAX)):
            return False
        try:
            if lease and lease != self.engine.blocks.lease:
                raise refusals.not_open(lent=True)
            key = self.engine.running
            if key is None or self.send_cancel is None:
                return None
            return self.send_cancel(key, max(0.0, deadline - time.monotonic()))
        finally:
            self._gate.release()

    def forget(self) -> None:
        """In a forked child: the session belongs to the parent."""
        self.inherited = True
        self._lock = threading.RLock()  # the thread that held the old one may not exist here
        self._owner = 0
        sock, self.sock = self.sock, None
        if sock is not None:
            with contextlib.suppress(OSError):
                sock.close()
        with contextlib.suppress(Exception):
            self.engine.transport_failed(OSError("the session belongs to the parent process"))

    def __del__(self) -> None:
        sock: socket.socket | None = getattr(self, "sock", None)
        if sock is not None:
            self.sock = None
            text = f"unclosed connection to {self.engine.host}"
            if not self._aborted:
                warnings.warn(text, ResourceWarning, stacklevel=2, source=self)
            sock.close()

    # ---- Internals, with the lock held (except `_locked`, which takes it)

    def _locked(self, work: Callable[[], None], patience: float) -> bool:
        """Do some work with the lock held; False if it was not free in time (-1: wait for ever)."""
        me = threading.get_ident()
        if self._owner == me:
            return False
        if sys.is_finalizing():  # another thread that has the lock will never release it
            patience = 0.0
        done = False
        try:
            if self._lock.acquire(timeout=min(patience, threading.TIMEOUT_MAX)):
                self._owner = me
                work()
                done = True
        finally:
            # An interrupt may have come before it was known whether the lock was acquired.  So it is released
            # in any case: without ownership that raises RuntimeError and does no harm.
            if self._owner == me:
                self._owner = 0
            try:
                self._lock.release()
            except RuntimeError:
                pass
            if self._aborted and self.sock is not None and work != self._kill_aborted:
                self._locked(self._kill_aborted, 0.0)  # `abort` came too late for the work to see it
        return done

    def _submit(self, operation: Operation) -> None:
        engine = self.engine
        if engine.transaction_status:
            # An idle session with something to read has probably ended: read first, then nothing is sent.
            if engine.idle:
                self.look()
            if self.sock is None or self._aborted:
                error = _closed(engine)
                operation.turned_away(error)
                raise error
        if self._gate.locked():
            left = -1.0 if operation.deadline is None else max(0.0, operation.deadline - engine.clock())
            if self._gate.acquire(timeout=min(left, threading.TIMEOUT_MAX)):
                self._gate.release()
        engine.submit(operation)
        self._write()

    def _step(self, limit: float | None = None) -> None:
        """Wait for the socket or for a deadline, then read, check deadlines, and write."""
        engine = self.engine
        sock = self.sock
        if sock is None:
            raise _closed(engine)
        news = engine.take_news()
        interest = 0 if news & HOLD else READABLE
        if news & OUTPUT:
            interest |= WRITABLE
        deadline = engine.next_deadline() if news & TIME else None
        if deadline is None or (limit is not None and limit < deadline):
            deadline = limit
        seconds = None if deadline is None else max(0.0, deadline - engine.clock())
        self._waiting = True
        ready = readiness.wait(sock.fileno(), interest, seconds)
        self._waiting = False
        if ready & READABLE:
            self._read(sock)
        if deadline is not None and engine.clock() >= deadline:
            engine.tick()
        self._write()

    def look(self) -> None:
        """Read what has arrived, without waiting; called within `alone`."""
        for _ in range(_LOOKS):
            sock = self.sock
            if sock is None or not self.engine.wants_read or readiness.is_quiet(sock.fileno()):
                return
            self._read(sock)
            self._write()

    def flush(self) -> None:
        """Send pending output, without waiting; called within `alone`."""
        self._write()

    def _read(self, sock: socket.socket) -> None:
        engine = self.engine
        try:
            data = sock.recv(_READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            engine.transport_failed(error)
        else:
            if data:
                engine.receive_data(data)
                if self._patience is not None and self._patience.lifted and engine.idle:
                    self._patience.answered()
            else:
                engine.receive_eof()

    def _write(self) -> None:
        """Do what the engine asks for; every step ends here."""
        engine = self.engine
        sock = self.sock
        news = engine.take_news()
        if news & CHANGE and engine.wants_cancel and self.send_cancel is not None:
            key = engine.take_cancel()
            if key is not None:
                try:
                    self.send_cancel(key, _SENDING)
                finally:
                    engine.cancel_done()
        while news & OUTPUT and sock is not None:
            try:
                count = sock.send(engine.data_to_send())
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                # Earlier messages of the server are still in the receive queue, or on their way.
                engine.write_failed(error)
            else:  # an interrupt before this line ends the session, and `_kill` counts all bytes as sent
                engine.data_sent(count)
                if self._patience is not None:
                    self._patience.sent(count)
            news = engine.take_news()
        if news & READY:
            engine.take_ready()  # no waiters to wake: this thread checks its own operation
        if news & CHANGE and self.on_change is not None:
            self.on_change()
        if engine.finished and sock is not None:
            self.sock = None
            sock.close()

    def _drain(self, operation: Operation) -> None:
        """Abandon an operation and read its answer to the end, within GRACE; else end the session."""
        if operation in self._stray:
            self._stray.remove(operation)
        if operation.finished or self.sock is None:
            return
        self.engine.abandon(operation)
        self._come_to_rest()

    def _end_lease(self) -> None:
        self.engine.end_lease()
        self._come_to_rest()

    def _come_to_rest(self) -> None:
        """Read the unwanted answers in flight to their end, within GRACE; else end the session."""
        engine = self.engine
        limit = engine.clock() + LONGEST_GRACE  # a safeguard: the engine itself ends it within GRACE
        self._write()
        while not engine.idle and not engine.finished:
            if engine.clock() >= limit:
                self._kill("the query could not be cancelled in time")
                return
            self._step(limit)

    def _interrupted(self, operation: Operation | None) -> None:
        """An exception has interrupted a call: bring the session back in sync, or close it."""
        waiting, self._waiting = self._waiting, False
        # During a wait nothing was half done.  At any other moment the engine's state may be inconsistent.
        try:
            if waiting and operation is not None:
                self._drain(operation)
            elif not waiting:
                self._bury("the call was interrupted")
        except BaseException:
            self._bury("the call was interrupted")
            raise

    def _end(self) -> None:
        """Send Terminate as far as the socket takes it at once, and close."""
        reason = "the connection was closed"
        if self.engine.running is not None:
            self._bury(reason)
        try:
            self.engine.close()
            self._write()
        except Exception:  # noqa: BLE001 - close never raises
            pass
        finally:
            self._kill(reason)

    def _kill_aborted(self) -> None:
        self._bury("the connection was aborted")

    def _bury(self, reason: str) -> None:
        """Cancel the server's running statements until it hangs up, within GRACE; then close."""
        key, sock, cancel = self.engine.running, self.sock, self.send_cancel
        try:
            if key is not None and sock is not None and cancel is not None:
                limit = time.monotonic() + GRACE
                with contextlib.suppress(OSError):
                    gone = False
                    while not gone and time.monotonic() < limit:
                        cancel(key, _SENDING)
                        # Only now: a pooler whose client has hung up can no longer match the request.
                        sock.shutdown(socket.SHUT_WR)
                        gone = self._hangs_up(sock, min(limit, time.monotonic() + _PAUSE))
        finally:
            self._kill(reason)

    def _hangs_up(self, sock: socket.socket, limit: float) -> bool:
        """True once the peer has closed its side; bytes before that are dropped."""
        while (left := limit - time.monotonic()) > 0:
            if readiness.wait(sock.fileno(), READABLE, left) and not sock.recv(_READ_SIZE):
                return True
        return False

    def _kill(self, reason: str) -> None:
        """Close, whatever state the engine is in."""
        sock, self.sock = self.sock, None
        if sock is None:
            return
        sock.close()
        engine = self.engine
        with contextlib.suppress(Exception):
            # The interrupted send may have sent these bytes, so no outcome may say that they were not sent.
            engine.data_sent(len(engine.data_to_send()))
        with contextlib.suppress(Exception):
            engine.transport_failed(ConnectionLost(reason))
        with contextlib.suppress(Exception):
            engine.take_ready()
            if self.on_change is not None:
                self.on_change()


def _closed(engine: Engine) -> ConnectionClosed:
    try:
        engine.check_open()
    except ConnectionClosed as error:  # with the cause
        return error
    return ConnectionClosed("the connection is closed")
