"""The trio end of an engine: whoever waits does the work.  It knows no PostgreSQL.

There is no task in the background.  Of the tasks that wait on a session one is the *pump*: it sleeps until
bytes can be moved or a deadline comes.  The others are parked until their operation has something for
them, or until the pump leaves and one of them has to take over.

Bytes are moved by `turn` alone, which never waits.  A cancellation arrives only where something is waited
for, so it can neither lose bytes that were read nor lose count of bytes that were written.

A caller that is cancelled abandons its operation.  If others wait, they read its answers; if nobody does,
it stays, shielded, until the core has brought the session to rest or to its end: GRACE decides.
"""

from __future__ import annotations

import math
import socket
import warnings
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from pgproto.session import GRACE, Engine, Operation

__all__ = ["Transport", "Waiter", "unwrap"]

_BUFFER_SIZE: Final = 65536

# So many writes at the most before the next read, and before other tasks get their turn.
_WRITES: Final = 4


class Waiter:
    """A task that waits for something to come.

    Attributes:
        ready: it has come.
    """

    __slots__ = ("_event", "ready")

    def __init__(self) -> None:
        self.ready = False
        self._event = trio.Event()

    def wake(self) -> None:
        """What it waits for has come."""
        self.ready = True
        self._event.set()

    def rouse(self) -> None:
        """Have it look around: the pump has left."""
        self._event.set()

    async def park(self) -> None:
        """Wait for `wake` or `rouse`."""
        await self._event.wait()
        self._event = trio.Event()


class Transport:
    """One connected socket and the engine behind it.

    Args:
        sock: non-blocking; it belongs to the transport from now on.
        engine: the session, on trio's clock.

    Attributes:
        on_change: called after everything that happened, to take notices and notifications.
        send_cancel: sends the cancel request that the engine wants, within GRACE; never raises.
    """

    def __init__(self, sock: socket.socket, engine: Engine) -> None:
        self.engine = engine
        self.on_change: Callable[[], None] | None = None
        self.send_cancel: Callable[[], Awaitable[None]] | None = None
        self._sock: socket.socket | None = sock
        self._token = trio.lowlevel.current_trio_token()
        self._waiters: list[Waiter] = []
        self._pumping = False
        self._scope: trio.CancelScope | None = None  # around the pump's sleep
        self._sleeping_for = (False, False)  # what it sleeps for: to read, to write
        self._blocked = False  # the kernel takes no more
        self._hurried = False  # there is more to write, and the kernel may take it
        self._cancelling = False
        self._left: list[Operation] = []  # abandoned, and not ended when last seen
        self._orphans: list[Operation] = []  # to be abandoned: see `orphan`

    # ---- Waiting

    async def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation and wait for its end.

        Args:
            operation: what to do.
            timeout: in seconds; None for no limit.

        Raises:
            Error: the operation's error.
        """
        await self.begin(operation, timeout)
        try:
            if operation.finished:
                await trio.lowlevel.cancel_shielded_checkpoint()
            while not operation.finished:
                await self.wait(operation)
        except BaseException:
            await self.leave(operation)
            raise
        await self._rest()
        if operation.error is not None:
            raise operation.error

    async def begin(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation.  If this raises, nothing of it was submitted."""
        await trio.lowlevel.checkpoint_if_cancelled()
        engine = self.engine
        if not self._pumping:
            # Nobody has been listening: see what has come, before anything is sent into a dead session.
            self.turn()
        await self._rest()
        if timeout is not None:
            operation.deadline = engine.clock() + timeout
        if engine.connection.transaction_status:
            engine.submit(operation)
        else:
            engine.start(operation)
        self.turn(reading=False)

    async def wait(self, operation: Operation) -> None:
        """Wait until the operation has ended or made progress."""
        waiter = Waiter()
        operation.waiter = waiter
        try:
            await self.wait_until_woken(waiter)
        finally:
            operation.waiter = None

    async def wait_until_woken(self, waiter: Waiter) -> None:
        """Wait until somebody wakes the waiter, or the session is over; pump if nobody else does."""
        if len(self._waiters) == 1:
            self._waiters[0].rouse()  # it may have stayed because it was alone
        self._waiters.append(waiter)
        try:
            while not waiter.ready and not self.engine.finished:
                if self._pumping:
                    await waiter.park()
                else:
                    await self._pump(waiter)
        finally:
            self._waiters.remove(waiter)
            if self._waiters and not self._pumping:
                self._waiters[0].rouse()

    async def leave(self, operation: Operation) -> None:
        """Abandon an operation, and see to it that the session comes to rest.  Takes GRACE, never raises."""
        self._abandon(operation)
        self.turn()
        await self._rest()

    def orphan(self, operation: Operation) -> None:
        """Abandon an operation from wherever garbage is collected; safe at any moment, in any thread."""
        self._orphans.append(operation)
        try:
            self._token.run_sync_soon(self.turn)
        except trio.RunFinishedError:
            pass

    async def close(self) -> None:
        """End the session.  Idempotent, never raises, and waits for nobody."""
        self.engine.close()
        self.turn(reading=False)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def abort(self) -> None:
        """Close the socket at once, unsent bytes and all."""
        try:
            self._close_socket()
        finally:
            self.engine.close()
            self.turn(reading=False)

    async def settled(self) -> None:
        """Wait until nothing is in flight any more, or the session is over."""
        engine = self.engine
        while not engine.idle and not engine.finished:
            await self._rest()
            if not engine.idle and not engine.finished:
                # What is in flight is no leftover: somebody else's, who is waiting.
                waiter = Waiter()
                self._on_rest.append(waiter)
                await self.wait_until_woken(waiter)

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor; -1 if it is closed."""
        return -1 if self._sock is None else self._sock.fileno()
