"""What an event loop with level cancellation gives to a readiness `Link`: trio does, and anyio.

The names are theirs.  `Scope` and `Group` are trio's CancelScope and Nursery, as far as they are used here.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Any, Protocol

__all__ = ["Address", "Group", "Groups", "Happening", "Scope", "Waits"]

Address = str | tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class Happening(Protocol):
    """An event of the loop's."""

    def set(self) -> object:
        """It has happened."""
        ...

    def is_set(self) -> bool:
        """Whether it has."""
        ...

    async def wait(self) -> object:
        """Wait until it has."""
        ...


class Scope(Protocol):
    """A block that can be cancelled."""

    @property
    def deadline(self) -> float:
        """When it is cancelled by itself."""
        ...

    @deadline.setter
    def deadline(self, value: float, /) -> None:
        """Move that."""

    def cancel(self) -> object:
        """Cancel what is awaited in it."""
        ...

    @property
    def cancel_called(self) -> bool:
        """True once it was cancelled."""
        ...

    @property
    def cancelled_caught(self) -> bool:
        """True if it has ended so."""
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
    """Tasks that end before their block does."""

    @property
    def cancel_scope(self) -> Scope:
        """Around all of them."""
        ...

    def start_soon(self, work: Callable[..., Coroutine[Any, Any, Any]], /, *args: Any) -> object:
        """Begin one."""
        ...


class Groups(Protocol):
    """The block of a group."""

    async def __aenter__(self) -> Group:
        """Enter it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> bool | None:
        """Leave it."""
        ...


class Waits(Protocol):
    """The loop's own functions."""

    @property
    def closed(self) -> type[Exception]:
        """What the wait for a socket raises that `notify_closing` was called for."""
        ...

    @property
    def log(self) -> str:
        """The name of the logger."""
        ...

    def now(self) -> float:
        """The time of deadlines."""
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
        """Wait until something can be read."""
        ...

    def writable(self, sock: socket.socket, /) -> Awaitable[None]:
        """Wait until something can be written."""
        ...

    def notify_closing(self, sock: socket.socket, /) -> None:
        """Wake who waits for a socket that is closed now."""

    def in_thread(self, work: Callable[[], None]) -> Awaitable[None]:
        """Compute something elsewhere; a cancellation leaves it alone."""
        ...

    async def look_up(self, host: str, port: int) -> list[tuple[int, Address]]:
        """The families and addresses of a host."""
        ...

    def home(self) -> object:
        """Where the caller runs; None if nowhere."""
        ...

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Have something called there, from any thread; False if it is too late."""
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
        """True for what the loop raises where it cancels."""
        ...
