"""The client's runtime on anyio: readiness links, on asyncio or trio.

anyio can neither start a task that belongs to the loop, nor call into the loop from any thread: for these two
the loop's own functions are used.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, Final

import anyio

from pgproto_sockets.runtime import Runtime
from pgproto_sockets.waits import Address, Scope

__all__ = ["RUNTIME"]

_tasks: Final[set[asyncio.Task[None]]] = set()  # asyncio keeps none alive


def _trio() -> Any:
    """Trio's low-level functions.  Trio is running, so it is already imported."""
    return sys.modules["trio"].lowlevel


def _of_asyncio() -> Context:
    """A context in which anyio finds the loop: sniffio looks for a task, which callbacks do not have."""
    context = copy_context()
    sniffio = sys.modules.get("sniffio")
    if sniffio is not None:
        context.run(sniffio.current_async_library_cvar.set, "asyncio")
    return context


class _Waits:
    """See `pgproto_sockets.waits.Waits`."""

    closed = anyio.ClosedResourceError
    log = "pgproto_anyio"
    event = staticmethod(anyio.Event)
    group = staticmethod(anyio.create_task_group)
    checkpoint = staticmethod(anyio.lowlevel.checkpoint)
    checkpoint_if_cancelled = staticmethod(anyio.lowlevel.checkpoint_if_cancelled)
    shielded_checkpoint = staticmethod(anyio.lowlevel.cancel_shielded_checkpoint)
    sleep = staticmethod(anyio.sleep)
    sleep_forever = staticmethod(anyio.sleep_forever)
    readable = staticmethod(anyio.wait_readable)
    writable = staticmethod(anyio.wait_writable)
    notify_closing = staticmethod(anyio.notify_closing)

    def now(self) -> float:
        # In callbacks of asyncio's loop there is no task, so anyio does not find the loop.
        loop = asyncio._get_running_loop()
        return anyio.current_time() if loop is None else loop.time()

    def scope(self, *, deadline: float = float("inf"), shield: bool = False) -> Scope:
        return anyio.CancelScope(deadline=deadline, shield=shield)

    async def in_thread(self, work: Callable[[], None]) -> None:
        await anyio.to_thread.run_sync(work, abandon_on_cancel=True)

    async def look_up(self, host: str, port: int) -> list[tuple[int, Address]]:
        found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]

    def home(self) -> object:
        loop = asyncio._get_running_loop()
        if loop is not None or "trio" not in sys.modules:
            return loop
        try:
            return _trio().current_trio_token()
        except RuntimeError:
            return None

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        try:
            if isinstance(home, asyncio.AbstractEventLoop):
                home.call_soon_threadsafe(call, context=_of_asyncio())
            else:
                home.run_sync_soon(call)  # type: ignore[attr-defined]
        except Exception:  # noqa: BLE001 - the loop has ended; each raises its own exception
            return False
        return True

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        loop = asyncio._get_running_loop()
        if loop is None:
            _trio().spawn_system_task(work, *args, context=copy_context())
        else:
            task = loop.create_task(work(*args))
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

    def task(self) -> object:
        return asyncio.current_task() if asyncio._get_running_loop() else _trio().current_task()

    def is_over(self, task: object) -> bool:
        return task.done() if isinstance(task, asyncio.Task) else task.coro.cr_frame is None  # type: ignore[attr-defined]

    def is_cancelled(self, error: BaseException) -> bool:
        return isinstance(error, anyio.get_cancelled_exc_class())


RUNTIME: Final = Runtime(_Waits())
