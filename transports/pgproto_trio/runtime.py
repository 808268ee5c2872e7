"""The client's runtime on trio."""

from __future__ import annotations

import socket
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from typing import Any, Final

import trio

from pgproto.session import Engine
from pgproto_sockets import link, options, runtime
from pgproto_sockets.waits import Address

__all__ = ["RUNTIME"]


class _Waits:
    """See `pgproto_sockets.Waits`."""

    closed = trio.ClosedResourceError
    log = "pgproto_trio"
    now = staticmethod(trio.current_time)
    event = trio.Event
    scope = trio.CancelScope
    group = staticmethod(trio.open_nursery)
    checkpoint = staticmethod(trio.lowlevel.checkpoint)
    checkpoint_if_cancelled = staticmethod(trio.lowlevel.checkpoint_if_cancelled)
    shielded_checkpoint = staticmethod(trio.lowlevel.cancel_shielded_checkpoint)
    sleep = staticmethod(trio.sleep)
    sleep_forever = staticmethod(trio.sleep_forever)
    readable = staticmethod(trio.lowlevel.wait_readable)
    writable = staticmethod(trio.lowlevel.wait_writable)
    notify_closing = staticmethod(trio.lowlevel.notify_closing)
    task = staticmethod(trio.lowlevel.current_task)

    async def in_thread(self, work: Callable[[], None]) -> None:
        await trio.to_thread.run_sync(work, abandon_on_cancel=True)

    async def look_up(self, host: str, port: int) -> list[tuple[int, Address]]:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(family, address) for family, _, _, _, address in found]

    def home(self) -> object:
        try:
            return trio.lowlevel.current_trio_token()
        except RuntimeError:
            return None

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        if not isinstance(home, trio.lowlevel.TrioToken):
            return False
        try:
            home.run_sync_soon(call)
        except trio.RunFinishedError:
            return False
        return True

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        trio.lowlevel.spawn_system_task(work, *args, context=copy_context())

    def is_over(self, task: object) -> bool:
        return isinstance(task, trio.lowlevel.Task) and task.coro.cr_frame is None

    def is_cancelled(self, error: BaseException) -> bool:
        return isinstance(error, trio.Cancelled)


class _Link(link.Link):
    """A KeyboardInterrupt must not come while `turn` moves bytes."""

    turn = trio.lowlevel.enable_ki_protection(link.Link.turn)


class _Runtime(runtime.Runtime):
    def link(
        self, sock: socket.socket, engine: Engine, found: object, patience: options.Patience | None
    ) -> link.Link:
        """The link of a connected socket."""
        return _Link(self.waits, sock, engine, found, patience)


RUNTIME: Final = _Runtime(_Waits())
