"""asyncio's `Runtime`: see `pgproto.client`.  It works on every loop, including uvloop and Proactor."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Final, TypeVar

from pgproto import ConnectError
from pgproto.client import END, Bound, NoBlock, OneLoop, Reading
from pgproto.client import Link as AnyLink
from pgproto.config import Config
from pgproto.session import GRACE, CopyIn, Dial, ExecuteMany
from pgproto_sockets import options, peer
from pgproto_sockets.process import Process

from .collected import do_last, seen, soon, spawn
from .link import Link

__all__ = ["RUNTIME", "Runtime"]

T = TypeVar("T")

_INTERRUPTS: Final = (KeyboardInterrupt, SystemExit)


class _Bound:
    """See `pgproto.client.Bound`.  Cancellation is edge-triggered here: a second one ends even a shield."""

    def __init__(self, deadline: float) -> None:
        self.expired = False
        self._timeout = asyncio.timeout_at(None if deadline == math.inf else deadline)
        self._entered = False

    def shorten(self, deadline: float) -> None:
        """Set an earlier deadline."""
        timeout = self._timeout
        if self._entered and not timeout.expired() and deadline < (timeout.when() or math.inf):
            timeout.reschedule(deadline)

    async def __aenter__(self) -> _Bound:
        await self._timeout.__aenter__()
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        self._entered = False
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except TimeoutError:
            self.expired = True
            return True
        return None


class _Task:
    def __init__(self, task: asyncio.Task[None]) -> None:
        self._task = task

    async def stop(self) -> None:
        """Cancel it, and wait for its end; it may not have begun."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])


class _Alarm:
    """A timer of the loop that can be moved."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._call = call
        self._due: float | None = None
        self._timer: asyncio.TimerHandle | None = None

    def set(self, deadline: float | None) -> None:
        """Call then.  A lease sets the alarm twice, mostly to the time it has, and a timer is expensive."""
        if deadline == self._due:
            return
        self._due = deadline
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer = asyncio.get_running_loop().call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._due = self._timer = None
        self._call()


class _Tasks(NoBlock):
    """The pool's tasks: kept here, because the loop does not keep tasks alive."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> _Task:
        """Begin a task; its exception goes to the loop's exception handler."""
        return _Task(spawn(asyncio.get_running_loop(), self._tasks, work, *args))

    def alarm(self, call: Callable[[], None]) -> _Alarm:
        """A timer."""
        return _Alarm(call)

    async def wait(self) -> None:
        """Wait until all have ended."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))


class Runtime(OneLoop, Process):
    """See `pgproto.client.Runtime`."""

    def now(self) -> float:
        """The running loop's time."""
        return asyncio.get_running_loop().time()

    def home(self) -> asyncio.AbstractEventLoop | None:
        """The running loop."""
        return asyncio._get_running_loop()

    def is_gone(self, home: object) -> bool:
        """True if the loop is closed."""
        return isinstance(home, asyncio.AbstractEventLoop) and home.is_closed()

    def task(self) -> asyncio.Task[Any] | None:
        """The task that runs."""
        return asyncio.current_task()

    def is_over(self, task: object) -> bool:
        """True if a task is done."""
        return isinstance(task, asyncio.Future) and task.done()

    def event(self) -> asyncio.Event:
        """A new event."""
        return asyncio.Event()

    async def checkpoint(self) -> None:
        """Nothing: on asyncio a cancellation is raised at the next real wait."""

    checkpoint_if_cancelled = shielded_checkpoint = checkpoint

    async def sleep(self, seconds: float) -> None:
        """Wait so long."""
        await asyncio.sleep(seconds)

    def bound(self, deadline: float) -> _Bound:
        """A block that ends at the deadline."""
        return _Bound(deadline)

    def shield(self, seconds: float) -> _Bound:
        """A block that ends after so long."""
        return _Bound(self.now() + seconds)

    async def do_last(
        self, home: object, work: Callable[[], Coroutine[Any, Any, object]], error: BaseException | None
    ) -> None:
        """Do the last thing of a block."""
        await do_last(home if isinstance(home, asyncio.AbstractEventLoop) else None, work, error)

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Have the loop call something."""
        return isinstance(home, asyncio.AbstractEventLoop) and soon(home, call)

    async def ask(self, call: Callable[[], Awaitable[T] | T], bound: Bound) -> T:
        """Call a hook; an asynchronous one gets a task of its own, which may ignore its cancellation."""
        answer = call()
        if not isinstance(answer, Awaitable):
            return answer
        task: asyncio.Future[T] = asyncio.ensure_future(answer)
        task.add_done_callback(seen)
        try:
            async with bound:
                await asyncio.wait([task])
            if bound.expired:
                raise TimeoutError
        finally:
            if not task.done() and not task.get_loop().is_closed():
                task.cancel()
                await asyncio.wait([task], timeout=GRACE)
        return task.result()

    def goes_up(self, error: BaseException) -> bool:
        """True for an interrupt, or if this very task is cancelled.

        A CancelledError out of a hook may also be that of another task, for which the hook waited.
        """
        if not isinstance(error, asyncio.CancelledError):
            return isinstance(error, _INTERRUPTS)
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    def report(self, home: object, name: str, error: BaseException) -> None:
        """Pass the exception of a callback or hook to the loop's exception handler, if the loop is open."""
        if isinstance(home, asyncio.AbstractEventLoop) and not home.is_closed():
            home.call_exception_handler({"message": f"{name} raised", "exception": error})

    def tasks(self) -> _Tasks:
        """The tasks of a new pool."""
        return _Tasks()

    def reader(self, iterator: AsyncIterator[Any]) -> _Reader:
        """A reader for a source."""
        return _Reader(iterator)

    async def dial(self, step: Dial, config: Config, deadline: float | None, address: object) -> Link:
        """Open a transport."""
        loop = asyncio.get_running_loop()
        host = step.host

        def protocol() -> Link:
            return Link(step.engine)

        try:
            async with asyncio.timeout_at(deadline):
                if host.is_unix:
                    made, link = await loop.create_unix_connection(protocol, host.unix_path)
                elif isinstance(address, tuple):
                    made, link = await loop.create_connection(protocol, address[0], address[1])
                else:
                    made, link = await loop.create_connection(protocol, host.address, host.port)
        except TimeoutError as error:
            raise ConnectError(f"no answer from {host} in time") from error
        sock = made.get_extra_info("socket")
        if sock is not None:
            try:
                options.configure_socket(sock, config)
                peer.check_peer(sock, host, config)
                link.patience = options.Patience.with_peer(sock, config)
            except BaseException:
                link.abort()
                raise
        return link


class _Reader(Reading):
    """Reads each piece of a source in a task, so that the wait for it can be given up."""

    def __init__(self, iterator: AsyncIterator[Any]) -> None:
        super().__init__(iterator)
        self._following: asyncio.Future[Any] | None = None

    async def next_unless_over(self, link: AnyLink, operation: CopyIn | ExecuteMany) -> Any:
        """The next piece; END at the end of the source, or once the operation is over."""
        link.resume()
        following = self._following = asyncio.ensure_future(_next(self._iterator))
        try:
            while not following.done():
                if operation.over:
                    return END
                operation.waiter = waiter = asyncio.get_running_loop().create_future()
                await asyncio.wait([following, waiter], return_when=asyncio.FIRST_COMPLETED)
        finally:
            operation.waiter = None
        piece = following.result()
        self._ended = piece is END
        return piece

    async def close(self) -> None:
        """Close a source that was not read to its end, within GRACE."""
        if self._ended:
            return
        deadline = asyncio.get_running_loop().time() + GRACE
        if self._following is not None and not self._following.done():
            self._following.cancel()
            await _await_until(self._following, deadline)
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            await _await_until(asyncio.ensure_future(_awaited(aclose)), deadline)


async def _await_until(task: asyncio.Future[Any], deadline: float) -> None:
    """Wait for a task of the caller's code; after the deadline cancel it and do not wait."""
    task.add_done_callback(_tell)
    try:
        await asyncio.wait([task], timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
    finally:
        task.cancel()


def _tell(task: asyncio.Future[Any]) -> None:
    """Report the exception of a source that could not be closed, because nobody else retrieves it."""
    error = None if task.cancelled() else task.exception()
    if error is not None:
        RUNTIME.report(task.get_loop(), "closing a source", error)


async def _awaited(call: Callable[[], Awaitable[Any]]) -> Any:
    return await call()


async def _next(iterator: AsyncIterator[Any]) -> Any:
    return await anext(iterator, END)


RUNTIME: Final = Runtime()
