"""The readiness `Link`: a waiting task moves the bytes.  It knows no PostgreSQL, and no loop but `Waits`.

There is no background task.  One of the tasks that wait on a session is the *pump*: it sleeps until bytes can
be moved or a deadline comes.  The others are parked until there is something new for them, or until the pump
leaves and one of them has to take over.

Only `turn` moves bytes, and it never waits.  A cancellation arrives only at a wait, so it can neither lose
bytes that were read nor miscount bytes that were written.

A caller that is cancelled abandons its operation.  If others wait, they read its answers; if nobody does, it
stays, shielded, until the session is at rest or over, which takes at most GRACE.
"""

from __future__ import annotations

import contextlib
import math
import socket
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Final

from pgproto.client import Event, OneThread, refusals
from pgproto.session import GRACE, LONGEST_GRACE, Engine, Operation
from pgproto.wire import BackendKeyData

from . import forks, readiness
from .options import Patience
from .waits import Happening, Scope, Waits

__all__ = ["Link", "Waiter", "unwrap"]

_BUFFER_SIZE: Final = 65536
_PAUSE: Final = 0.05  # seconds between the cancel requests of a dead session: each stops one statement

# The most writes before the next read, and before other tasks run.
_WRITES: Final = 4


class Waiter:
    """An event that a task waits for, which may be the pump.

    Args:
        waits: the functions of the loop.

    Attributes:
        ready: it was set.
    """

    __slots__ = ("_event", "_waits", "ready")

    def __init__(self, waits: Waits) -> None:
        self.ready = False
        self._waits = waits
        self._event = waits.event()

    def set(self) -> None:
        """Set it, and wake the task that waits."""
        self.ready = True
        self._event.set()

    async def wait(self) -> None:
        """Wait for `set`, without pumping."""
        while not self.ready:
            await self.park()

    def rouse(self) -> None:
        """Wake it because the pump has left."""
        self._event.set()

    async def park(self) -> None:
        """Wait for `set` or `rouse`."""
        await self._event.wait()
        if not self.ready:
            self._event = self._waits.event()


class Link(OneThread):
    """One connected socket and the engine of its session; see `pgproto.client.Link`.

    Args:
        waits: the functions of the loop.
        sock: a non-blocking socket, which belongs to the link from now on.
        engine: the session, on the clock of `waits`.
        peer: the address of the server.
        patience: for a peer that reads slowly; None if it is not needed.
    """

    def __init__(
        self,
        waits: Waits,
        sock: socket.socket,
        engine: Engine,
        peer: object,
        patience: Patience | None = None,
    ) -> None:
        self._waits = waits
        self.engine = engine
        self.peer = peer
        self._patience = patience
        self.on_change: Callable[[], None] | None = None
        self.send_cancel: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]] | None = None
        self._buried: Happening | None = None
        self._sock: socket.socket | None = sock
        self.home = waits.home()
        self.inherited = False
        forks.forget_in_child(self)
        self._waiters: list[Waiter] = []
        self._pump: Waiter | None = None  # the waiter whose task is the pump
        self._drainer: Waiter | None = None  # the waiter of `rest`
        self._settling: list[Waiter] = []  # the waiters of `settled`
        self._scope: Scope | None = None  # around the pump's sleep
        self._sleeping_for = (False, False)  # the pump sleeps until it can read, write
        self._blocked = False  # the socket's send buffer is full
        self._hurried = False  # there is more to write, and the send buffer is not full
        self._cancelling = False
        self._orphans: list[Operation] = []  # to be abandoned: see `orphan`

    # ---- Waiting

    async def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation and wait for its end."""
        try:
            await self._begin(operation, timeout)
        except BaseException as error:
            operation.turned_away(error)
            raise
        try:
            if operation.finished:
                await self._waits.shielded_checkpoint()
            while not operation.finished:
                await self.wait(operation)
                work = operation.take_work()
                if work is not None:
                    await self._waits.in_thread(work)
                    self.resume()
        except BaseException:
            await self.leave(operation)
            raise
        await self.rest()
        if operation.error is not None:
            raise operation.error

    async def begin(self, operation: Operation) -> None:
        """Submit an operation.  If this raises, nothing of it was submitted."""
        await self._begin(operation, None)

    async def _begin(self, operation: Operation, timeout: float | None) -> None:
        await self._waits.checkpoint_if_cancelled()
        engine = self.engine
        blocks = engine.blocks
        lease = blocks.lease
        if self._pump is None:
            # Nobody has been reading: read first, so that nothing is sent into a dead session.
            self.turn()
        await self.rest()
        if blocks.lease != lease:  # another task has ended the lease during the waits above
            raise refusals.not_open(lent=True)
        if timeout is not None:
            operation.deadline = engine.clock() + timeout
        engine.submit(operation)
        if self._scope is None:
            self.turn(reading=False)
        else:
            # The pump will send the requests of several tasks in one write.
            self._hurried = True
            self._nudge()

    async def wait(self, operation: Operation) -> None:
        """Wait until the operation has ended or made progress."""
        waiter = Waiter(self._waits)
        operation.waiter = waiter
        try:
            await self.wait_until_woken(waiter)
        finally:
            operation.waiter = None

    async def wait_for(self, event: Event, deadline: float | None) -> bool:
        """Wait until the event is set or the session is over; False if the deadline comes first."""
        with self._waits.scope(deadline=math.inf if deadline is None else deadline) as scope:
            try:
                if isinstance(event, Waiter):
                    await self.wait_until_woken(event)
            except BaseException:
                await self.rest()
                raise
        return not scope.cancelled_caught

    async def wait_until_woken(self, waiter: Waiter) -> None:
        """Wait until the waiter is set or the session is over; pump if no other task does."""
        self._waiters.append(waiter)
        if self._drainer is not None and self._drainer is not waiter:
            self._drainer.set()  # it need not stay, because this task reads on
            self._nudge()
        try:
            while not waiter.ready and not self.engine.finished:
                if self._pump is None:
                    await self._do_pump(waiter)
                else:
                    await waiter.park()
        finally:
            # Whether done or cancelled, a leaving pump hands over: without a pump the others would sleep on.
            self._waiters.remove(waiter)
            if self._waiters and self._pump is None:
                self._waiters[0].rouse()

    async def leave(self, operation: Operation) -> None:
        """Abandon an operation, and stay until the session is at rest.  Takes at most GRACE; never raises."""
        self.engine.abandon(operation)
        self.turn()
        await self.rest()

    async def ended(self, operation: Operation) -> None:
        """Wait, shielded and for at most GRACE, for an abandoned operation whose caller reads its outcome."""
        with self._waits.scope(shield=True):
            while operation.abandoned and not operation.finished:
                await self.wait(operation)

    def dismiss(self) -> None:
        """The lease is over: stop its operations; their callers get an error."""
        if not self.engine.idle:
            self.engine.end_lease()
            self.turn()

    async def rest(self) -> None:
        """If no other task waits, read the unwanted answers to their end, shielded and for at most GRACE."""
        engine = self.engine
        if self._waiters or not engine.draining:
            return
        # The engine ends it within GRACE, or twice that if the server sends a FATAL; this is a safeguard.
        with self._waits.scope(shield=True, deadline=engine.clock() + LONGEST_GRACE) as scope:
            while not self._waiters and engine.draining:
                waiter = self._drainer = Waiter(self._waits)
                try:
                    await self.wait_until_woken(waiter)
                finally:
                    self._drainer = None
        if scope.cancelled_caught:
            self.abort()

    def orphan(self, operation: Operation, then: Callable[[], None] | None) -> None:
        """Abandon an operation for the garbage collector: safe at any moment, in any thread."""
        self._orphans.append(operation)
        if self._waits.soon(self.home, self.turn) and then is not None:
            self._waits.soon(self.home, then)

    def resume(self) -> None:
        """An operation has more to write, or room for more to read."""
        self.engine.resume()
        self.turn()

    def flush(self) -> None:
        """Do what can be done without waiting."""
        self.turn()

    async def close(self, timeout: float | None) -> None:
        """End the session.  Idempotent, never raises; waits only for cancel requests."""
        if self.engine.running is not None:
            self.abort()
        self.engine.close()
        self.turn(reading=False)
        if self._buried is not None:
            deadline = self._waits.now() + (GRACE if timeout is None else timeout)
            with self._waits.scope(shield=True, deadline=deadline):
                await self._buried.wait()

    def drop(self) -> None:
        """Nobody refers to the connection any more, and soon nobody to this link."""

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor; -1 if it is closed."""
        return -1 if self._sock is None else self._sock.fileno()

    def abort(self) -> None:
        """End the session at once; drop unsent bytes.  A running statement is cancelled first."""
        key, cancel, sock = self.engine.running, self.send_cancel, self._sock
        try:
            if key is not None and cancel is not None and sock is not None:
                self._let_go_of_socket()
                self._buried = self._waits.event()
                self._waits.spawn(_bury, self._waits, sock, cancel, key, self._buried)
            else:
                self._close_socket()
        finally:
            self.engine.close()
            self.turn(reading=False)

    async def cancel(self, seconds: float) -> bool | None:
        """Cancel what runs.  Shielded: nothing new may be sent before the request has arrived."""
        key = self.engine.take_cancel(running=True) if self.send_cancel is not None else None
        if key is None or self.send_cancel is None:
            return None
        try:
            with self._waits.scope(shield=True):
                return await self.send_cancel(key, seconds)
        finally:
            self.engine.cancel_done()
            self.turn(reading=False)
            if self._scope is not None:
                self._scope.cancel()

    async def settled(self) -> None:
        """Wait until nothing is in flight any more, the session is over, or its grace has passed."""
        engine = self.engine
        self.turn()
        await self.rest()
        with self._waits.scope(deadline=self._waits.now() + LONGEST_GRACE):
            while not engine.idle and not engine.finished:
                waiter = Waiter(self._waits)
                self._settling.append(waiter)
                try:
                    await self.wait_until_woken(waiter)
                finally:
                    self._settling.remove(waiter)

    @property
    def over(self) -> bool:
        """True once there is nothing left to be closed."""
        return self.engine.finished and (self._buried is None or self._buried.is_set())

    @property
    def quiet(self) -> bool:
        """True if there is nothing to read."""
        return readiness.is_quiet(self.descriptor)

    def check_here(self) -> None:
        """Raise if the caller runs in another event loop or in a forked child."""
        if self.inherited:
            raise refusals.inherited("connection")
        if self._waits.home() is not self.home:
            raise refusals.not_here("connection")

    def forget(self) -> None:
        """In a forked child: the session, and the loop's selector, belong to the parent."""
        self.inherited = True
        sock, self._sock = self._sock, None
        if sock is not None:
            forks.let_go(sock.fileno())
            sock.close()
        with contextlib.suppress(Exception):
            self.engine.transport_failed(OSError("the session belongs to the parent process"))

    def __del__(self) -> None:
        sock = getattr(self, "_sock", None)
        if sock is not None and sock.fileno() >= 0:
            sock.close()
            warnings.warn(f"unclosed connection to {self.engine.host}", ResourceWarning, stacklevel=1)

    # ---- Moving bytes

    def turn(self, *, reading: bool = True) -> None:
        """Do all that can be done without waiting: read, check deadlines, write, wake tasks."""
        engine = self.engine
        while self._orphans:
            self.engine.abandon(self._orphans.pop())
        if reading and engine.wants_read:
            self._read()
        deadline = engine.next_deadline()
        if deadline is not None and deadline <= engine.clock():
            engine.tick()
        self._write()
        for operation in engine.take_ready():
            waiter = operation.waiter
            if isinstance(waiter, Waiter):
                waiter.set()
        if self._drainer is not None and not engine.draining:
            self._drainer.set()
        if self._settling and engine.idle:
            for waiter in self._settling:
                waiter.set()
        if self.on_change is not None and engine.changed:
            try:
                self.on_change()
            except BaseException:  # an interrupt propagates, and the rest of the turn is not done
                self.abort()
                raise
        if engine.finished:
            self._close_socket()
        self._nudge()

    def _read(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(_BUFFER_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self.engine.transport_failed(error)
            return
        if data:
            self.engine.receive_data(data)
            if self._patience is not None and self._patience.lifted and self.engine.idle:
                self._patience.answered()
        else:
            self.engine.receive_eof()

    def _write(self) -> None:
        engine = self.engine
        self._blocked = False
        for _ in range(_WRITES):
            data = engine.data_to_send() if self._sock is not None else b""
            self._hurried = bool(data)
            if self._sock is None or not data:
                return
            try:
                count = self._sock.send(data)
            except BlockingIOError:
                self._blocked, self._hurried = True, False
                return
            except OSError as error:
                # The server's last messages may be on their way: go on reading.
                engine.write_failed(error)
                return
            engine.data_sent(count)
            if self._patience is not None:
                self._patience.sent(count)

    def _close_socket(self) -> None:
        sock = self._let_go_of_socket()
        if sock is not None:
            sock.close()

    def _let_go_of_socket(self) -> socket.socket | None:
        sock, self._sock = self._sock, None
        if sock is not None:
            if self._scope is not None:
                self._waits.notify_closing(sock)
            for waiter in self._waiters:
                waiter.rouse()
        return sock

    def _nudge(self) -> None:
        """Something has changed: wake the pump if it sleeps and there is more for it to do."""
        scope = self._scope
        engine = self.engine
        if scope is None:
            return
        # Work that the sleep itself does not end with, or a sleep for the wrong events; else only the time.
        if (
            engine.finished
            or (engine.wants_cancel and self.send_cancel is not None and not self._cancelling)
            or (self._pump is not None and self._pump.ready)
            or self._hurried
            or self._sleeping_for != (engine.wants_read, self._blocked)
        ):
            scope.cancel()
        else:
            scope.deadline = self._deadline()

    # ---- Pumping

    async def _do_pump(self, waiter: Waiter) -> None:
        """Be the pump, for all that wait, until the waiter is set."""
        engine = self.engine
        self._pump = waiter
        try:
            while not waiter.ready and not engine.finished:
                key = engine.take_cancel() if self.send_cancel is not None else None
                if key is not None and self.send_cancel is not None:
                    await self._pump_and_cancel(self.send_cancel(key, GRACE))
                else:
                    await self._sleep()
                    self.turn()
        finally:
            self._pump = None

    async def _pump_and_cancel(self, sending: Coroutine[Any, Any, bool]) -> None:
        """Send a cancel request while reading on.

        Shielded: if this task is cancelled, too, the request is still needed.
        """
        with self._waits.scope(shield=True):
            async with self._waits.group() as nursery:
                self._cancelling = True
                nursery.start_soon(self._cancel, sending)
                while self._cancelling and not self.engine.finished:
                    await self._sleep()
                    self.turn()
                nursery.cancel_scope.cancel()

    async def _cancel(self, sending: Coroutine[Any, Any, bool]) -> None:
        try:
            await sending
        finally:
            self.engine.cancel_done()
            self._cancelling = False
            self.turn(reading=False)
            if self._scope is not None:
                self._scope.cancel()

    async def _sleep(self) -> None:
        """Wait until the socket can be read or written, or for the next deadline or nudge."""
        sock = self._sock
        if self._hurried:
            await self._waits.checkpoint()
            return
        reading, writing = self._sleeping_for = (self.engine.wants_read, self._blocked)
        with self._waits.scope(deadline=self._deadline()) as scope:
            self._scope = scope
            try:
                if sock is None:
                    await self._waits.checkpoint()
                elif reading and writing:
                    await self._readable_or_writable(sock)
                elif reading:
                    await self._waits.readable(sock)
                elif writing:
                    await self._waits.writable(sock)
                else:
                    await self._waits.sleep_forever()
            except self._waits.closed:
                pass  # the session was closed
            finally:
                self._scope = None

    async def _readable_or_writable(self, sock: socket.socket) -> None:
        try:
            async with self._waits.group() as nursery:
                nursery.start_soon(self._writable, sock, nursery.cancel_scope)
                await self._waits.readable(sock)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise unwrap(self._waits, group) from None

    async def _writable(self, sock: socket.socket, scope: Scope) -> None:
        await self._waits.writable(sock)
        scope.cancel()

    def _deadline(self) -> float:
        deadline = self.engine.next_deadline()
        return math.inf if deadline is None else deadline


async def _bury(
    waits: Waits,
    sock: socket.socket,
    cancel: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]],
    key: BackendKeyData,
    buried: Happening,
) -> None:
    """The session is over, but the server runs on: cancel its statements until it hangs up, within GRACE.

    Shielded, because trio cancels its system tasks at its end and waits for them.
    """
    gone = False
    try:
        with (
            waits.scope(shield=True, deadline=waits.now() + GRACE),
            contextlib.suppress(OSError),
        ):
            while not gone:
                await cancel(key, GRACE)
                # Only now: a pooler whose client has hung up can no longer match the cancel request.
                sock.shutdown(socket.SHUT_WR)
                with waits.scope(deadline=waits.now() + _PAUSE):
                    while not gone:
                        await waits.readable(sock)
                        gone = not sock.recv(_BUFFER_SIZE)
    finally:
        sock.close()
        buried.set()


def unwrap(waits: Waits, group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception that matters in a group raised by our own task group: callers never see groups."""
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        members: tuple[BaseException, ...] = found.exceptions
        found = next((each for each in members if not _is_cancelled(waits, each)), members[0])
    return found


def _is_cancelled(waits: Waits, error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is_cancelled(waits, each) for each in error.exceptions)
    return waits.is_cancelled(error)
