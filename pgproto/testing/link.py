"""The `Link` in virtual time: a wire in memory, and the engine of its session.

Every event ends in `turn`, which does all that can be done at that moment.  So no task has to pump: the run
itself reads the answers of abandoned operations.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..client import Event, OneThread, refusals
from ..session import GRACE, LONGEST_GRACE, Engine, Operation
from ..wire import BackendKeyData
from . import virtual
from .network import Wire

__all__ = ["Link", "Wakes"]

_PAUSE: Final = 0.05  # seconds between the cancel requests of a dead session: each stops one statement


class Wakes:
    """An operation's `waiter`: calls a function when there is something new."""

    def __init__(self, call: Callable[[], None]) -> None:
        self.call = call


class Link(OneThread):
    """One connected wire and the engine of its session; see `pgproto.client.Link`.

    Args:
        run: where it belongs.
        engine: the session, on the run's clock.
        wire: connected.
        peer: what it is connected to.
    """

    def __init__(self, run: virtual.Run, engine: Engine, wire: Wire, peer: object) -> None:
        self.engine = engine
        self.inherited = False
        self.peer = peer
        self.on_change: Callable[[], None] | None = None
        self.send_cancel: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]] | None = None
        self._run = run
        self._wire = wire
        self._timer: virtual.Timer | None = None
        self._settled: list[virtual.Event] = []  # of the tasks in `settled`
        self._burial: virtual.Task | None = None
        self._orphans: list[Operation] = []
        wire.on_change = self.turn

    # ---- What is known

    @property
    def home(self) -> virtual.Run:
        """The run that it belongs to."""
        return self._run

    @property
    def over(self) -> bool:
        """True once there is nothing left to be closed."""
        return self.engine.finished and (self._burial is None or self._burial.ended.is_set)

    @property
    def descriptor(self) -> int:
        """-1: there is no socket."""
        return -1

    @property
    def quiet(self) -> bool:
        """True if there is nothing to read."""
        return not self._wire.closed and not self._wire.readable

    def check_here(self) -> None:
        """Raise if the caller runs elsewhere, or in a process that was forked meanwhile."""
        if self.inherited:
            raise refusals.inherited("connection")
        if self._run.over:
            raise refusals.not_here("connection")

    # ---- Waiting

    async def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation and wait for its end."""
        if timeout is not None:
            operation.deadline = self.engine.clock() + timeout
        try:
            await self.begin(operation)
        except BaseException as error:
            operation.turned_away(error)
            raise
        try:
            if operation.finished:
                await self._run.running().pause()
            while not operation.finished:
                await self.wait(operation)
                work = operation.take_work()
                if work is not None:
                    work()
                    self.resume()
        except BaseException:
            await self.leave(operation)
            raise
        if operation.error is not None:
            raise operation.error

    async def begin(self, operation: Operation) -> None:
        """Submit an operation.  If this raises, nothing of it was submitted."""
        if self._run.running().is_cancelled():
            await self._run.running().checkpoint()
        self.turn()  # read first, so that nothing is sent into a dead session
        self.engine.submit(operation)
        self.turn()

    async def wait(self, operation: Operation) -> None:
        """Wait until an operation has ended or made progress."""
        event = virtual.Event(self._run)
        operation.waiter = Wakes(event.set)
        try:
            await event.wait()
        finally:
            operation.waiter = None

    async def wait_for(self, event: Event, deadline: float | None) -> bool:
        """Wait until the event is set or the session is over; False if the deadline comes first."""
        async with virtual.Scope(self._run, math.inf if deadline is None else deadline) as scope:
            await event.wait()
        return not scope.expired

    async def leave(self, operation: Operation) -> None:
        """Abandon an operation; the run reads its answers."""
        if self._run.over:  # a coroutine that the run has left is being closed
            return
        self.engine.abandon(operation)
        self.turn()

    async def ended(self, operation: Operation) -> None:
        """Wait for the end of an operation that was abandoned."""
        async with virtual.Scope(self._run, shield=True):
            while operation.abandoned and not operation.finished:
                await self.wait(operation)

    async def settled(self) -> None:
        """Wait until nothing is in flight, the session is over, or its grace has passed."""
        self.turn()
        async with virtual.Scope(self._run, self._run.now + LONGEST_GRACE):
            while not self.engine.idle and not self.engine.finished:
                event = virtual.Event(self._run)
                self._settled.append(event)
                await event.wait()

    async def close(self, timeout: float | None) -> None:
        """End the session; waits only for cancel requests."""
        if self.engine.running is not None:
            self.abort()
        self.engine.close()
        self.turn()
        if self._burial is not None:
            deadline = self._run.now + (GRACE if timeout is None else timeout)
            async with virtual.Scope(self._run, deadline, shield=True):
                await self._burial.ended.wait()

    # ---- At once

    def abort(self) -> None:
        """End the session at once.  A running statement is cancelled first."""
        key, cancel, wire = self.engine.running, self.send_cancel, self._wire
        wire.on_change = None
        if key is None or cancel is None or wire.closed or self._run.over:
            wire.close()
        else:
            self._burial = self._run.spawn(self._bury, cancel, key)
        self.engine.close()
        self.turn()

    async def cancel(self, seconds: float) -> bool | None:
        """Cancel what runs; shielded."""
        key = None if self.send_cancel is None else self.engine.take_cancel(running=True)
        if key is None or self.send_cancel is None:
            return None
        answers: list[bool] = []
        async with virtual.Scope(self._run, self._run.now + 2 * seconds, shield=True):
            answers.append(await self._cancel(self.send_cancel, key, seconds))
        return answers == [True]

    def drop(self) -> None:
        """Nobody refers to the connection any more; the run still refers to this."""
        warnings.warn(f"unclosed connection to {self.engine.host}", ResourceWarning, stacklevel=3)
        if not self._run.over:
            self._run.call_soon(self.abort)

    def dismiss(self) -> None:
        """The lease is over: stop its operations; their callers get an error."""
        if not self.inherited and not self.engine.idle:
            self.engine.end_lease()
            self.turn()

    def orphan(self, operation: Operation, then: Callable[[], None] | None) -> None:
        """Abandon an operation for the garbage collector."""
        self._orphans.append(operation)
        if not self._run.over:
            self._run.call_soon(self.turn)
            if then is not None:
                self._run.call_soon(then)

    def forget(self) -> None:
        """In a forked child: the session is the parent's."""
        self.inherited = True
        self._wire.on_change = None
        self._wire.closed = True
        with contextlib.suppress(Exception):
            self.engine.transport_failed(OSError("the session belongs to the parent process"))

    def resume(self) -> None:
        """An operation has more to write, or room for more to read."""
        self.engine.resume()
        self.turn()

    def flush(self) -> None:
        """Do what can be done without waiting."""
        self.turn()

    def turn(self) -> None:
        """Do all that can be done: read, check deadlines, write, wake tasks."""
        engine = self.engine
        while self._orphans:
            engine.abandon(self._orphans.pop())
        self._read()
        deadline = engine.next_deadline()
        if deadline is not None and deadline <= engine.clock():
            engine.tick()
        self._write()
        for operation in engine.take_ready():
            waiter = operation.waiter
            if isinstance(waiter, Wakes):
                waiter.call()
        if self.send_cancel is not None and (key := engine.take_cancel()) is not None:
            self._run.spawn(self._cancel, self.send_cancel, key, GRACE)
        if self.on_change is not None and engine.changed:
            try:
                self.on_change()
            except BaseException:  # an interrupt propagates, and the rest of the turn is not done
                self.abort()
                raise
        if engine.idle or engine.finished:
            settled, self._settled = self._settled, []
            for event in settled:
                event.set()
        if engine.finished and self._burial is None:
            self._wire.close()
        self._keep_time()

    def _read(self) -> None:
        engine, wire = self.engine, self._wire
        while wire.readable and engine.wants_read and not wire.closed and not engine.finished:
            try:
                data = wire.read()
            except OSError as error:
                engine.transport_failed(error)
                return
            if data:
                engine.receive_data(data)
            else:
                engine.receive_eof()

    def _write(self) -> None:
        engine, wire = self.engine, self._wire
        while not wire.closed and self._burial is None and (data := engine.data_to_send()):
            count = wire.write(data)
            if not count:
                return
            engine.data_sent(count)

    def _keep_time(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.engine.next_deadline()
        if deadline is not None and not self._run.over:
            self._timer = self._run.call_at(deadline, self.turn)

    async def _cancel(
        self,
        send: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]],
        key: BackendKeyData,
        seconds: float,
    ) -> bool:
        """Send the cancel request that the engine wants."""
        try:
            return await send(key, seconds)
        finally:
            self.engine.cancel_done()
            self.turn()

    async def _bury(
        self, cancel: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]], key: BackendKeyData
    ) -> None:
        """The session is over, but the server runs on: cancel its statements until it hangs up."""
        wire = self._wire
        async with virtual.Scope(self._run, self._run.now + GRACE, shield=True):
            while not wire.readable:
                await cancel(key, GRACE)
                wire.finish()
                await self._run.sleep(_PAUSE)
                with contextlib.suppress(OSError):
                    while wire.read():
                        pass
        wire.close()
