"""The blocking `Link`: the access of one handle to the transport of its session.

A handle that a pool has lent has a link of its own with the number of the lease: calls after the end of the
lease are refused once they have the lock, even if another thread ended the lease while they waited for it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Final, TypeVar

from pgproto import QueryTimeout
from pgproto.client import refusals
from pgproto.client.blocking import Event as AnyEvent
from pgproto.session import Operation
from pgproto.wire import BackendKeyData
from pgproto_sockets import readiness

from .events import Event
from .transport import Address, Transport

__all__ = ["HERE", "Link"]

T = TypeVar("T")

HERE: Final = object()
"""The home of all threads."""

_MOMENT: Final = 0.01  # seconds


class Link:
    """See `pgproto.client.blocking.Link`.

    Args:
        transport: the transport of the session.
        lease: see `Transport.alone`.
    """

    home = HERE

    def __init__(self, transport: Transport, lease: int = 0) -> None:
        self.transport = transport
        self.engine = transport.engine
        self._lease = lease

    @property
    def inherited(self) -> bool:
        """True if it belongs to the parent process."""
        return self.transport.inherited

    @property
    def peer(self) -> Address:
        """The address of the server."""
        return self.transport.address

    @property
    def on_change(self) -> Callable[[], None] | None:
        """As of the transport."""
        return self.transport.on_change

    @on_change.setter
    def on_change(self, call: Callable[[], None] | None) -> None:
        self.transport.on_change = call

    @property
    def send_cancel(self) -> Callable[[BackendKeyData, float], bool] | None:
        """As of the transport."""
        return self.transport.send_cancel

    @send_cancel.setter
    def send_cancel(self, call: Callable[[BackendKeyData, float], bool] | None) -> None:
        self.transport.send_cancel = call

    @property
    def shut(self) -> bool:
        """True once nothing can be submitted any more, even if another thread is still in a call."""
        return self.transport.closed

    @property
    def over(self) -> bool:
        """True once there is nothing left to be closed."""
        return self.transport.sock is None

    @property
    def descriptor(self) -> int:
        """The socket's file descriptor; -1 if there is none (any more)."""
        return self.transport.descriptor

    @property
    def quiet(self) -> bool:
        """True if there is nothing to read, or only a notice, which is read.

        An idle session that can be read has probably ended.  A notice can announce the end, so this waits a
        moment for it.
        """
        transport = self.transport
        if readiness.is_quiet(transport.descriptor):
            return True
        if not transport.closed:
            transport.alone(transport.look)
        return not (transport.closed or readiness.wait(transport.descriptor, readiness.READABLE, _MOMENT))

    def check_here(self) -> None:
        """Raise if it belongs to the parent process."""
        if self.transport.inherited:
            raise refusals.inherited("connection")

    def lend(self) -> Link:
        """The link for a borrower's handle."""
        return Link(self.transport, self.engine.blocks.lease)

    # ---- Calls

    def alone(
        self, work: Callable[[], T], timeout: float | None = None, told: BaseException | None = None
    ) -> T:
        """Call `work`, which uses the engine, while no other thread uses it."""
        answers: list[T] = []
        raised: list[BaseException] = []

        def step() -> None:
            try:
                answers.append(work())
            except StopIteration as end:
                raised.append(end)
            except BaseException as problem:
                if problem is not told:
                    raise
                raised.append(problem)  # the work passed it on, so the engine's state is consistent
                self.transport.flush()  # the work may have left output

        self.transport.alone(step, None, timeout, self._lease)
        if raised:
            raise raised.pop()
        return answers[0]

    def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation and wait for its end."""
        self.transport.run(operation, timeout, self._lease)

    def begin(self, operation: Operation) -> None:
        """Submit an operation, before its deadline."""
        deadline = operation.deadline
        left = None if deadline is None else deadline - time.monotonic()
        self.transport.submit(operation, left, self._lease)

    def wait(self, operation: Operation) -> None:
        """Wait until an operation that was submitted has ended or made progress."""
        self.transport.wait(operation)

    def wait_for(self, event: AnyEvent, deadline: float | None) -> bool:
        """Wait until the event is set or the session is over; False if the deadline comes first.

        Other threads may use the session meanwhile; bytes that they read may set the event.
        """
        if not isinstance(event, Event):
            raise TypeError("another runtime's event")
        transport = self.transport
        try:
            waker = event.open()
            while True:
                left = None if deadline is None else deadline - time.monotonic()
                with contextlib.suppress(QueryTimeout):
                    transport.alone(transport.look, None, left, self._lease)
                descriptor = transport.descriptor
                if event.happened or transport.closed or descriptor < 0:
                    return True
                if deadline is not None:
                    left = deadline - time.monotonic()  # another thread may have had the lock until now
                    if left <= 0:
                        return False
                readiness.wait(descriptor, readiness.READABLE, left, waker)
        finally:
            event.close()

    def leave(self, operation: Operation) -> None:
        """Abandon an operation."""
        self.transport.abandon(operation)

    def ended(self, operation: Operation) -> None:
        """Nothing: an abandoned operation has ended when its call has."""

    def cancel(self, seconds: float) -> bool | None:
        """Cancel what another thread runs."""
        return self.transport.cancel(seconds, self._lease)

    def settled(self) -> None:
        """Nothing: after a call nothing is in flight."""

    def close(self, timeout: float | None) -> None:
        """End the session."""
        self.transport.close(timeout)

    def abort(self) -> None:
        """End the session at once."""
        self.transport.abort()

    def drop(self) -> None:
        """Nothing: the transport is freed with the connection."""

    def dismiss(self) -> None:
        """The lease is over."""
        self.transport.dismiss()

    def orphan(self, operation: Operation, then: Callable[[], None] | None) -> None:
        """Abandon an operation for the garbage collector."""
        try:
            self.transport.abandon(operation)
        finally:
            if then is not None:
                then()

    def resume(self) -> None:
        """An operation has more to write, or room for more to read."""
        self.transport.resume()

    def flush(self) -> None:
        """Nothing: the next call sends the output."""
