"""asyncio's `Link`: a BufferedProtocol that moves bytes, wakes waiters and keeps deadlines.

It knows no PostgreSQL.  Every event of the loop ends in `pump`, which does everything that the engine asks
for: wake operations, write bytes, set a timer, send a cancel request.  A query costs one Future and one
write, but no task and no stream.  It works on every loop, including uvloop and Proactor.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from asyncio import Future
from collections.abc import Callable, Coroutine
from typing import Any

from pgproto.client import Event, OneThread, refusals
from pgproto.session import GRACE, LONGEST_GRACE, Engine, Operation
from pgproto.session.news import CHANGE, HOLD, OUTPUT, READY, TIME
from pgproto.wire import BackendKeyData
from pgproto_sockets import forks, readiness
from pgproto_sockets.options import Patience

from .collected import soon, spawn

__all__ = ["Link"]

_BUFFER_SIZE = 65536
_PAUSE = 0.05  # seconds between the cancel requests of a dead session: each stops one statement

_burials: set[asyncio.Task[None]] = set()


class Link(OneThread, asyncio.BufferedProtocol):
    """One connected transport and the engine of its session; see `pgproto.client.Link`.

    Args:
        engine: the session.

    Attributes:
        patience: for a peer that reads slowly; None if it needs none.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.on_change: Callable[[], None] | None = None
        self.patience: Patience | None = None
        self.send_cancel: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]] | None = None
        self.peer: object = None
        self._cancels: set[asyncio.Task[None]] = set()
        self._burial: asyncio.Task[None] | None = None
        self.loop = asyncio.get_running_loop()
        self.closed = self.loop.create_future()
        self._buffer = bytearray(_BUFFER_SIZE)
        self._view = memoryview(self._buffer)
        self._transport: asyncio.Transport | None = None
        self._home: object = self.loop
        self.inherited = False
        self._write_paused = False
        self._read_paused = False
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0  # the deadline that it keeps, in the engine's time
        self._closing = False
        self._pump_scheduled = False
        self._quiet: asyncio.Future[None] | None = None
        self._orphans: list[Operation] = []  # to be abandoned in the loop: see `orphan`

    # ---- Called by the loop

    def connection_made(self, transport: Any) -> None:
        """The transport is open.  It behaves as an asyncio.Transport; uvloop's does not derive from it."""
        self._transport = transport
        self.peer = transport.get_extra_info("peername")
        forks.forget_in_child(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """The buffer for received bytes."""
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """The loop has read some bytes."""
        if self._closing:
            return  # the session is over, so these bytes have no reader
        self.engine.receive_data(bytes(self._view[:nbytes]))
        self.pump()
        if self.patience is not None and self.patience.lifted and self.engine.idle:
            self.patience.answered()

    def eof_received(self) -> bool:
        """The peer has closed its side."""
        self.engine.receive_eof()
        self.pump()
        return False

    def pause_writing(self) -> None:
        """The transport holds enough unsent bytes."""
        self._write_paused = True

    def resume_writing(self) -> None:
        """The transport wants more bytes."""
        self._write_paused = False
        self.pump()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone.  After a failed write, read the server's last messages from the socket."""
        engine = self.engine
        if not engine.finished:
            if exc is not None:
                descriptor = self.descriptor
                rest = readiness.read_rest(descriptor) if descriptor >= 0 else b""
                if rest:
                    engine.receive_data(rest)
                engine.transport_failed(exc)
            else:
                engine.receive_eof()
        self._closing = True
        try:
            self.pump()
        finally:
            self._stop_timer()
            if not self.closed.done():
                self.closed.set_result(None)

    # ---- Called by the client

    async def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation and wait for its end."""
        engine = self.engine
        if timeout is not None:
            operation.deadline = engine.clock() + timeout
        waiting = engine.waiting
        self._abandon_orphans()  # before the new operation: an abandoned stream would refuse it
        engine.submit(operation)
        try:
            if waiting:  # one write for all operations submitted in this iteration of the loop
                self._pump_soon()
            else:
                self.pump()
            while not operation.finished:
                operation.waiter = waiter = self.loop.create_future()
                await waiter
                if operation.work is not None and (work := operation.take_work()):
                    await self.loop.run_in_executor(None, work)
                    self.resume()
        except BaseException:
            self._abandon(operation)
            raise
        if operation.error is not None:
            raise operation.error

    async def begin(self, operation: Operation) -> None:
        """Submit an operation."""
        self._abandon_orphans()
        self.engine.submit(operation)
        self.pump()

    async def ended(self, operation: Operation) -> None:
        """Wait, for at most GRACE, for the end of an abandoned operation whose caller reads its outcome.

        If this is cancelled, too, the outcome is what is known at that moment.
        """
        try:
            while operation.abandoned and not operation.finished:
                await self.wait(operation)
        except BaseException:
            self.engine.give_up(operation)
            raise

    async def wait(self, operation: Operation) -> None:
        """Wait until the operation has ended or made progress; abandon it if the waiting is cancelled."""
        if operation.finished:
            return
        operation.waiter = waiter = self.loop.create_future()
        try:
            await waiter
        except asyncio.CancelledError:
            self._abandon(operation)
            raise

    async def wait_for(self, event: Event, deadline: float | None) -> bool:
        """Wait until the event is set; False if the deadline comes first.  The loop moves the bytes."""
        try:
            async with asyncio.timeout_at(deadline):
                await event.wait()
        except TimeoutError:
            return False
        return True

    def flush(self) -> None:
        """Do what the engine asks for."""
        self.pump()

    def pump(self) -> None:
        """Do what the engine asks for; every event ends here."""
        engine = self.engine
        transport = self._transport
        self._abandon_orphans()
        news = engine.take_news()
        if transport is not None and not self._closing:
            while news & OUTPUT and not self._write_paused:
                if transport.is_closing():
                    break  # it has failed but not called `connection_lost` yet, and would drop the data
                data = engine.data_to_send()
                # An asyncio transport takes everything it is given, so all of it may reach the server.
                transport.write(data)
                engine.data_sent(len(data))
                if self.patience is not None:
                    self.patience.sent(len(data))
                news = engine.take_news()
            if (news & HOLD != 0) is not self._read_paused:
                self._toggle_reading(transport)
        if news & READY:
            for operation in engine.take_ready():
                waiter, operation.waiter = operation.waiter, None
                if isinstance(waiter, Future) and not waiter.done():
                    waiter.set_result(None)
        if news & CHANGE:
            if engine.wants_cancel and self.send_cancel is not None:
                spawn(self.loop, self._cancels, self._cancel, self.send_cancel, GRACE)
            if self.on_change is not None:
                try:
                    self.on_change()
                except BaseException:  # an interrupt propagates, and the rest of the pump is not done
                    self.abort()
                    raise
        quiet = self._quiet
        if quiet is not None and not quiet.done() and (engine.idle or engine.finished):
            quiet.set_result(None)
        if news & CHANGE and engine.finished:
            self._close_transport()
        elif news & TIME:
            self._keep_time()

    async def _cancel(
        self,
        send: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]],
        seconds: float,
        running: bool = False,
    ) -> bool | None:
        """Send the cancel request that the engine wants, or one for what is `running`; see `cancel`."""
        key = self.engine.take_cancel(running=running)
        if key is None:
            return None
        try:
            delivered = await send(key, seconds)
        finally:
            self.engine.cancel_done()
        self.pump()
        return delivered

    async def cancel(self, seconds: float) -> bool | None:
        """Cancel what runs.  The task that does it goes on when the caller is cancelled."""
        if self.send_cancel is None:
            return None
        task = spawn(self.loop, self._cancels, self._cancel, self.send_cancel, seconds, True)
        await asyncio.wait([task])
        return False if task.cancelled() else task.result()

    async def leave(self, operation: Operation) -> None:
        """Abandon an operation; the loop goes on reading its answers."""
        self._abandon(operation)

    def _abandon(self, operation: Operation) -> None:
        if self.loop.is_closed():  # nothing can be sent, and asyncio closes the socket with its transport
            self._closing = True
            self.on_change = None
            return
        self.engine.abandon(operation)
        self.pump()

    def orphan(self, operation: Operation, then: Callable[[], None] | None) -> None:
        """Abandon an operation for the garbage collector: safe at any moment, in any thread."""
        self._orphans.append(operation)
        if soon(self.loop, self.pump) and then is not None:
            soon(self.loop, then)

    def dismiss(self) -> None:
        """The lease is over: stop its operations; their callers get an error."""
        if not self.inherited and not self.engine.idle:
            self.engine.end_lease()
            self.pump()

    async def settled(self) -> None:
        """Wait until nothing is in flight, the session is over, or its grace has passed."""
        quiet = self._quiet
        if quiet is None or quiet.done():
            quiet = self._quiet = self.loop.create_future()
        self.pump()
        # Not `await quiet`: others may wait for it too, and cancelling this must not cancel it.
        await asyncio.wait([quiet], timeout=LONGEST_GRACE)

    def check_here(self) -> None:
        """Raise if the caller runs in another event loop, or in a process that was forked meanwhile."""
        if asyncio._get_running_loop() is not self._home:
            raise refusals.inherited("connection") if self.inherited else refusals.not_here("connection")

    @property
    def home(self) -> asyncio.AbstractEventLoop:
        """Its event loop."""
        return self.loop

    @property
    def over(self) -> bool:
        """True once there is nothing left to be closed."""
        buried = self._burial is None or self._burial.done()
        return self.engine.finished and self.closed.done() and buried and not self._cancels

    @property
    def quiet(self) -> bool:
        """True if there is nothing to read."""
        return readiness.is_quiet(self.descriptor)

    def drop(self) -> None:
        """Nobody refers to the connection any more; the loop still refers to this."""
        text = f"unclosed connection to {self.engine.host}"
        warnings.warn(text, ResourceWarning, stacklevel=3, source=self)
        soon(self.loop, self.abort)

    def forget(self) -> None:
        """In a forked child: the session, and the event loop's selector, belong to the parent."""
        self._home = self  # no event loop
        self.inherited = self._closing = True
        self._stop_timer()
        forks.let_go(self.descriptor)
        with contextlib.suppress(Exception):
            self.engine.transport_failed(OSError("the session belongs to the parent process"))

    def resume(self) -> None:
        """An operation has more to write, or room for more to read."""
        self.engine.resume()
        self.pump()

    def _abandon_orphans(self) -> None:
        while self._orphans:
            self.engine.abandon(self._orphans.pop())

    def _pump_soon(self) -> None:
        if not self._pump_scheduled:
            self._pump_scheduled = True
            self.loop.call_soon(self._scheduled_pump)

    def _scheduled_pump(self) -> None:
        self._pump_scheduled = False
        self.pump()

    async def close(self, timeout: float | None) -> None:
        """End the session and wait for the transport to be closed, for at most `timeout` seconds."""
        deadline = None if timeout is None else self.loop.time() + timeout
        try:
            if self.engine.draining:  # let the cancel request end it, or the server would run it on
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(deadline):
                        await self.settled()
        finally:
            if self.engine.running is not None:
                self.abort()
            else:
                self.engine.close()
                self.pump()
        ends = [end for end in (self.closed, self._burial) if end is not None]
        if not all(end.done() for end in ends):
            left = None if deadline is None else max(0.0, deadline - self.loop.time())
            _, pending = await asyncio.wait(ends, timeout=left)
            if self.closed in pending and self._transport is not None:
                self._transport.abort()
        if self._cancels:
            # GRACE bounds them.  PgBouncer 1.18 ends the client in the place of one that has gone.
            await asyncio.wait(self._cancels)

    def abort(self) -> None:
        """End the session at once; drop unsent bytes.  A running statement is cancelled first."""
        engine, transport, send_cancel = self.engine, self._transport, self.send_cancel
        key = engine.running
        engine.close()
        if transport is not None and not self._closing:
            if key is None or send_cancel is None or transport.is_closing():
                transport.abort()
            else:
                self._burial = spawn(self.loop, _burials, self._bury, transport, send_cancel, key)
        self._closing = True
        self.pump()

    async def _bury(
        self,
        transport: asyncio.Transport,
        send_cancel: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]],
        key: BackendKeyData,
    ) -> None:
        """The session is over, but the server runs on: cancel its statements until it hangs up, within GRACE.

        `asyncio.run` cancels this task at its end and waits for it; the task ignores that, because nobody
        else would do its work.
        """
        deadline = self.loop.time() + GRACE
        while not self.closed.done() and self.loop.time() < deadline:
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                async with asyncio.timeout_at(deadline):
                    await send_cancel(key, GRACE)
                # Only now: a pooler whose client has hung up can no longer match the cancel request.
                if not transport.is_closing() and not transport.get_write_buffer_size():
                    transport.write_eof()
                await asyncio.wait([self.closed], timeout=_PAUSE)
        transport.abort()

    @property
    def descriptor(self) -> int:
        """The file descriptor of its socket; -1 if there is none (any more)."""
        sock = self._transport.get_extra_info("socket") if self._transport is not None else None
        try:
            return int(sock.fileno()) if sock is not None else -1
        except (OSError, ValueError):
            return -1

    # ---- Internals

    def _toggle_reading(self, transport: asyncio.Transport) -> None:
        if transport.is_closing():
            return
        if self._read_paused:
            transport.resume_reading()
        else:
            transport.pause_reading()
        self._read_paused = not self._read_paused

    def _close_transport(self) -> None:
        self._stop_timer()
        if not self._closing and self._transport is not None:
            self._closing = True
            self._transport.close()

    def _keep_time(self) -> None:
        """Set one timer for the earliest deadline; one that was removed costs an unnecessary `tick`."""
        deadline = self.engine.next_deadline()
        if deadline is None or (self._timer is not None and self._due <= deadline):
            return
        self._stop_timer()
        self._due = deadline
        self._timer = self.loop.call_later(max(0.0, deadline - self.engine.clock()), self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self.engine.tick()
        self.pump()
