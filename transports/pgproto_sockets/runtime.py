"""The `Runtime` of readiness links, over a loop's `Waits`."""

from __future__ import annotations

import errno
import logging
import math
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from pgproto import ConnectError
from pgproto.client import END, OneLoop, Reading
from pgproto.client import Link as AnyLink
from pgproto.config import Config, Host
from pgproto.session import GRACE, CopyIn, Dial, Engine, ExecuteMany

from . import options, peer
from .link import Link, Waiter, unwrap
from .process import Process
from .waits import Address, Group, Groups, Happening, Scope, Waits

__all__ = ["Runtime"]

T = TypeVar("T")


class _Bound:
    """See `pgproto.client.Bound`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    @property
    def expired(self) -> bool:
        """True once the deadline has ended the block."""
        return self._scope.cancelled_caught

    def shorten(self, deadline: float) -> None:
        """Set an earlier deadline."""
        self._scope.deadline = min(self._scope.deadline, deadline)

    async def __aenter__(self) -> _Bound:
        self._scope.__enter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._scope.__exit__(kind, error, trace)


class _Task:
    """A task of a pool.  It is shielded, because connections must be closed properly at the end."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._scope = runtime.waits.scope(shield=True)
        self._ended = runtime.waits.event()

    async def run(self, work: Callable[..., Coroutine[Any, Any, None]], args: tuple[object, ...]) -> None:
        """Run it.  Its exception is logged, because nobody awaits it."""
        try:
            with self._scope:
                await work(*args)
        except BaseException as error:
            if self._runtime.goes_up(error):
                raise
            self._runtime.report(None, "a task of the pool", error)
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel it, and wait for its end."""
        self._scope.cancel()
        await self._ended.wait()


class _Alarm:
    """A task that sleeps until its deadline."""

    def __init__(self, waits: Waits, call: Callable[[], None]) -> None:
        self._waits = waits
        self._call = call
        self._deadline = math.inf
        self._sleep = waits.scope()
        self._over = False

    def set(self, deadline: float | None) -> None:
        """Call then.  A lease sets the alarm twice, mostly to the time it has, and moving it is expensive."""
        due = math.inf if deadline is None else deadline
        if due != self._deadline:
            self._deadline = self._sleep.deadline = due

    def end(self) -> None:
        """Never call again."""
        self._over = True
        self._sleep.cancel()

    async def run(self) -> None:
        """The body of the task."""
        while not self._over:
            with self._waits.scope(deadline=self._deadline) as self._sleep:
                await self._waits.sleep_forever()
            if not self._over:
                self._call()


class _Tasks:
    """The tasks of a pool: in the task group of its block, or system tasks of the loop if it has none."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._manager: Groups | None = None
        self._nursery: Group | None = None
        self._alarm: _Alarm | None = None
        self._left = 0
        self._idle: Happening | None = None

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> _Task:
        """Begin a task."""
        task = _Task(self._runtime)
        self._start(task.run, work, args)
        return task

    def alarm(self, call: Callable[[], None]) -> _Alarm:
        """A timer."""
        self._alarm = _Alarm(self._runtime.waits, call)
        self._start(self._alarm.run)
        return self._alarm

    def _start(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        self._left += 1
        if self._nursery is not None:
            self._nursery.start_soon(self._count, work, args)
        else:
            self._runtime.waits.spawn(self._count, work, args)

    async def _count(self, work: Callable[..., Coroutine[Any, Any, None]], args: tuple[object, ...]) -> None:
        try:
            await work(*args)
        finally:
            self._left -= 1
            if not self._left and self._idle is not None:
                self._idle.set()

    async def enter(self) -> None:
        """Open a nursery for the block, unless there are already tasks without one."""
        if self._left == 0 and self._nursery is None:
            self._manager = self._runtime.waits.group()
            self._nursery = await self._manager.__aenter__()

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Wait for the tasks in the nursery."""
        nursery, self._nursery = self._nursery, None
        manager, self._manager = self._manager, None
        self._end_alarm()
        if nursery is None or manager is None:
            return None
        if nursery.cancel_scope.cancel_called:  # a task has crashed
            return await manager.__aexit__(kind, error, trace)
        # The nursery does not see the block's exception, so it is not wrapped in a group.
        await manager.__aexit__(None, None, None)
        return None

    async def wait(self) -> None:
        """Wait until all tasks have ended."""
        self._end_alarm()
        while self._left:
            if self._idle is None or self._idle.is_set():  # one for all who wait
                self._idle = self._runtime.waits.event()
            await self._idle.wait()

    def _end_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.end()


class Runtime(OneLoop, Process):
    """See `pgproto.client.Runtime`.

    Args:
        waits: the functions of the loop.
    """

    def __init__(self, waits: Waits) -> None:
        super().__init__(waits.now)
        self.waits = waits
        self.log = logging.getLogger(waits.log)

    def now(self) -> float:
        """The loop's time."""
        return self.waits.now()

    def home(self) -> object:
        """The running loop."""
        return self.waits.home()

    def is_gone(self, home: object) -> bool:
        """False: that is not known of a run."""
        return False

    def task(self) -> object:
        """The task that runs."""
        return self.waits.task()

    def is_over(self, task: object) -> bool:
        """True if a task has ended."""
        return self.waits.is_over(task)

    def event(self) -> Waiter:
        """A new event."""
        return Waiter(self.waits)

    async def checkpoint(self) -> None:
        """At the start of a call."""
        await self.waits.checkpoint()

    async def checkpoint_if_cancelled(self) -> None:
        """The same, without waiting."""
        await self.waits.checkpoint_if_cancelled()

    async def shielded_checkpoint(self) -> None:
        """At the end of a call."""
        await self.waits.shielded_checkpoint()

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await self.waits.sleep(seconds)

    def bound(self, deadline: float) -> _Bound:
        """A block that ends at the deadline."""
        return _Bound(self.waits.scope(deadline=deadline))

    def shield(self, seconds: float) -> _Bound:
        """A block that is protected from cancellation."""
        return _Bound(self.waits.scope(deadline=self.waits.now() + seconds, shield=True))

    async def do_last(
        self, home: object, work: Callable[[], Coroutine[Any, Any, object]], error: BaseException | None
    ) -> None:
        """Do the last thing of a block."""
        await work()

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Have something called in that loop."""
        return self.waits.soon(home, call)

    def goes_up(self, error: BaseException) -> bool:
        """True if the exception, or group of exceptions, must propagate."""
        if isinstance(error, BaseExceptionGroup):
            return any(self.goes_up(each) for each in error.exceptions)
        return isinstance(error, KeyboardInterrupt | SystemExit) or self.waits.is_cancelled(error)

    def report(self, home: object, name: str, error: BaseException) -> None:
        """Log that a callback or a hook has raised."""
        self.log.error("%s raised", name, exc_info=error)

    def tasks(self) -> _Tasks:
        """The tasks of a new pool."""
        return _Tasks(self)

    def reader(self, iterator: AsyncIterator[Any]) -> _Reader:
        """A reader for a source."""
        return _Reader(self, iterator)

    async def dial(self, step: Dial, config: Config, deadline: float | None, address: object) -> Link:
        """Open a socket."""
        host = step.host
        with self.waits.scope(deadline=math.inf if deadline is None else deadline):
            sock = await self._connect(host, deadline, address)
            try:
                options.configure_socket(sock, config)
                peer.check_peer(sock, host, config)
                found = None if host.is_unix else (sock.family, sock.getpeername())
            except BaseException:
                sock.close()
                raise
            return self.link(sock, step.engine, found, options.Patience.with_peer(sock, config))
        raise ConnectError(f"no answer from {host} in time") from TimeoutError()

    def link(
        self, sock: socket.socket, engine: Engine, found: object, patience: options.Patience | None
    ) -> Link:
        """The link of a connected socket."""
        return Link(self.waits, sock, engine, found, patience)

    async def _connect(self, host: Host, deadline: float | None, address: object) -> socket.socket:
        """A connected socket: tries the host's addresses in order, each with a share of the time left."""
        if host.is_unix:
            return await self._connect_to(socket.AF_UNIX, host.unix_path)
        if isinstance(address, tuple):
            return await self._connect_to(*address)
        found = await self.waits.look_up(host.address, host.port)
        failures: list[str] = []
        late: TimeoutError | None = None
        for index, (family, target) in enumerate(found):
            now = self.waits.now()
            share = math.inf if deadline is None else (deadline - now) / (len(found) - index)
            with self.waits.scope(deadline=max(now, now + share)) as scope:
                try:
                    return await self._connect_to(family, target)
                except OSError as error:
                    if len(found) == 1:
                        raise
                    failures.append(f"{target[0]}: {error}")
            if scope.cancelled_caught:
                late = TimeoutError("no answer in time")
                failures.append(f"{target[0]}: {late}")
        raise OSError("; ".join(failures) or "the host has no address") from late

    async def _connect_to(self, family: int, address: Address) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            try:
                sock.connect(address)
                await self.waits.checkpoint()
            except BlockingIOError as error:
                if error.errno == errno.EAGAIN and family not in (socket.AF_INET, socket.AF_INET6):
                    raise OSError(errno.EAGAIN, "the server's queue of new connections is full") from error
                await self.waits.writable(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code:
                    raise OSError(code, os.strerror(code)) from None
        except BaseException:
            sock.close()
            raise
        return sock


class _Reader(Reading):
    """Reads a source, while the session goes on."""

    def __init__(self, runtime: Runtime, iterator: AsyncIterator[Any]) -> None:
        super().__init__(iterator)
        self._runtime = runtime

    async def next_unless_over(self, link: AnyLink, operation: CopyIn | ExecuteMany) -> Any:
        """The next piece; END at the end of the source, or once the operation is over.

        If the source raises a cancellation of its own scope, that is its error, and must not reach a scope
        of ours.
        """
        piece: Any = END
        failure: BaseException | None = None
        link.resume()
        try:
            async with self._runtime.waits.group() as nursery:
                nursery.start_soon(_watch, link, operation, nursery.cancel_scope)
                try:
                    piece = await anext(self, END)
                except BaseException as error:
                    if nursery.cancel_scope.cancel_called and self._runtime.waits.is_cancelled(error):
                        raise
                    failure = error
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise unwrap(self._runtime.waits, group) from None
        if failure is not None:
            raise failure
        return piece

    async def close(self) -> None:
        """Close a source that was not read to its end, if it has `aclose`, within GRACE."""
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None and not self._ended:
            with self._runtime.waits.scope(shield=True, deadline=self._runtime.now() + GRACE):
                try:
                    await aclose()
                except Exception as error:  # noqa: BLE001 - it must not hide why the source is closed
                    self._runtime.report(None, "closing a source", error)


async def _watch(link: AnyLink, operation: CopyIn | ExecuteMany, scope: Scope) -> None:
    """Keep the session going during the wait for the source."""
    while not operation.over:
        await link.wait(operation)
        operation.take_progress()
    scope.cancel()
