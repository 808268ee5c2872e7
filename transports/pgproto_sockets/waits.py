"""The functions that a readiness `Link` needs of an event loop with level cancellation: trio or anyio.

The names are theirs.  `Scope` and `Group` are the parts of trio's CancelScope and Nursery that are used here.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Address", "Group", "Groups", "Happening", "Scope", "Waits"]

Address = str | tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Happening(Protocol):
    """An event of the loop."""

    def set(self) -> object:
        """Set it."""
        ...

    def is_set(self) -> bool:
        """True once it is set."""
        ...

    async def wait(self) -> object:
        """Wait until it is set."""
        ...


class Scope(Protocol):
    """A block that can be cancelled."""

    @property
    def deadline(self) -> float:
        """The time at which it is cancelled."""
        ...

    @deadline.setter
    def deadline(self, value: float, /) -> None:
        """Change the deadline."""

    def cancel(self) -> object:
        """Cancel the block."""
        ...

    @property
    def cancel_called(self) -> bool:
        """True once it was cancelled."""
        ...

    @property
    def cancelled_caught(self) -> bool:
        """True if the block has ended because of that."""
        ...

    def __enter__(self) -> Scope:
        """Enter it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Leave it."""
        ...


class Group(Protocol):
    """Tasks that end before their block."""

    @property
    def cancel_scope(self) -> Scope:
        """The scope around all tasks."""
        ...

    def start_soon(self, work: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> object:
        """Begin a task."""
        ...


class Groups(Protocol):
    """The `async with` block of a group."""

    async def __aenter__(self) -> Group:
        """Enter it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Leave it."""
        ...


class Waits(Protocol):
    """The functions of the loop."""

    @property
    def closed(self) -> type[Exception]:
        """The exception of a wait for a socket after `notify_closing`."""
        ...

    @property
    def log(self) -> str:
        """The name of the logger."""
        ...

    def now(self) -> float:
        """The time for deadlines."""
        ...

    def event(self) -> Happening:
        """A new event."""
        ...

    def scope(self, *, deadline: float = ..., shield: bool = ...) -> Scope:
        """A new scope."""
        ...

    def group(self) -> Groups:
        """A new group."""
        ...

    def checkpoint(self) -> Awaitable[None]:
        """Let others run, and be cancelled."""
        ...

    def checkpoint_if_cancelled(self) -> Awaitable[None]:
        """Be cancelled."""
        ...

    def shielded_checkpoint(self) -> Awaitable[None]:
        """Let others run."""
        ...

    def sleep(self, seconds: float, /) -> Awaitable[None]:
        """Wait so long."""
        ...

    def sleep_forever(self) -> Awaitable[None]:
        """Wait to be cancelled."""
        ...

    def readable(self, sock: socket.socket, /) -> Awaitable[None]:
        """Wait until the socket can be read."""
        ...

    def writable(self, sock: socket.socket, /) -> Awaitable[None]:
        """Wait until the socket can be written."""
        ...

    def notify_closing(self, sock: socket.socket, /) -> None:
        """Wake the tasks that wait for a socket, because it is being closed."""

    def in_thread(self, work: Callable[[], None]) -> Awaitable[None]:
        """Compute something in a thread; a cancellation does not stop it."""
        ...

    async def look_up(self, host: str, port: int) -> list[tuple[int, Address]]:
        """The families and addresses of a host."""
        ...

    def home(self) -> object:
        """The running loop; None if there is none."""
        ...

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Have something called in that loop, from any thread; False if it has ended."""
        ...

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> None:
        """Begin a task that belongs to the loop."""

    def task(self) -> object:
        """The task that runs."""
        ...

    def is_over(self, task: object) -> bool:
        """True if a task has ended."""
        ...

    def is_cancelled(self, error: BaseException) -> bool:
        """True for the loop's cancellation exception."""
        ...
