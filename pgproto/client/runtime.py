"""The protocols of an adapter: `Runtime` for an event loop, `Link` for the transport of a session.

An adapter that implements them gets the whole client: connections, pool, batches, COPY, LISTEN, retry.
The client awaits nothing else.  It is written for level cancellation: work that is needed after a
cancellation is done in a block of `Runtime.shield`.

A "home" is the event loop, or the run, that a session or a pool belongs to.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

from pgproto.config import Config, ConnectOptions
from pgproto.session import Connector, CopyIn, Dial, Engine, ExecuteMany, Operation, TraceLine
from pgproto.types import TypeMap
from pgproto.wire import BackendKeyData

from .records import FileMode, Path

if TYPE_CHECKING:
    from typing import Self

__all__ = ["END", "Alarm", "Bound", "Event", "Link", "Reader", "Runtime", "Task", "Tasks", "Turn"]

T = TypeVar("T")

END = object()
"""Returned by a `Reader` instead of a chunk when there are no more."""


class Event(Protocol):
    """An event that one task waits for and another one sets, once."""

    def set(self) -> None:
        """Set it."""

    async def wait(self) -> Any:
        """Wait until it is set."""
        ...


class Turn(Protocol):
    """A turn that one task or thread has at a time: threads queue up, a second task is refused."""

    async def take(self, deadline: float | None) -> bool:
        """Take the turn; False if another thread has had it until the deadline.

        Raises:
            LocalProtocolError: another task has it.
        """
        ...

    def leave(self) -> None:
        """Release the turn."""


class Bound(Protocol):
    """An `async with` block with a deadline, at which the code in it is cancelled.

    The block then ends without an error, and `expired` is True.
    """

    @property
    def expired(self) -> bool:
        """True once the deadline has ended the block."""
        ...

    def shorten(self, deadline: float) -> None:
        """Set an earlier deadline; it may have passed.  A later one is ignored."""

    async def __aenter__(self) -> Self:
        """Enter it."""
        ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Leave it."""
        ...


class Task(Protocol):
    """A task."""

    async def stop(self) -> None:
        """Cancel it, if it has not ended, and wait for its end."""


class Alarm(Protocol):
    """A timer that can be moved."""

    def set(self, deadline: float | None) -> None:
        """Call at this time and at no other; None for never."""


class Tasks(Protocol):
    """The tasks of one pool, which belong to no caller.

    Their exceptions are reported, except those that must propagate (`Runtime.goes_up`).
    """

    def spawn(self, work: Callable[..., Coroutine[Any, Any, None]], *args: object) -> Task:
        """Begin a task."""
        ...

    def alarm(self, call: Callable[[], None]) -> Alarm:
        """A timer for `call`; it keeps nothing else alive."""
        ...

    async def enter(self) -> None:
        """The pool is entered with `async with`."""

    async def leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """The block of the pool is left, after the pool's end."""
        ...

    async def wait(self) -> None:
        """Wait until all tasks have ended; the pool starts no more."""


class Reader(Protocol):
    """Reads an asynchronous source: with `async for`, or piece by piece."""

    def __aiter__(self) -> AsyncIterator[Any]:
        """Itself."""
        ...

    async def __anext__(self) -> Any:
        """The next piece, even if the operation is over."""
        ...

    async def next_unless_over(self, link: Link, operation: CopyIn | ExecuteMany) -> Any:
        """The next piece, while earlier ones are being sent; END at the end of the source, or once the
        operation is over.

        Only StopAsyncIteration from the source's own `__anext__` is its end: a cancellation that comes out
        of a source is an error like any other.
        """
        ...

    async def close(self) -> None:
        """Close a source that was not read to its end, within GRACE."""


class Forgetting(Protocol):
    """An object with resources that a forked child must not use."""

    def forget(self) -> None:
        """In the child: let go of the parent's resources."""


class Runtime(Protocol):
    """One kind of event loop.  It has no state: one object serves all loops of its kind."""

    def now(self) -> float:
        """The time in seconds, on the clock of all deadlines."""
        ...

    def random(self) -> float:
        """A new float in [0, 1) at each call."""
        ...

    def connector(
        self,
        dsn: str | Config | None,
        options: ConnectOptions,
        server_settings: Mapping[str, str] | None,
        types: TypeMap | None,
    ) -> Connector:
        """A Connector with this process's environment and files, and the clock of `now`.

        A warning about the options refers to the line that calls the caller.

        Args:
            dsn: as in `connect`.
            options: as in `connect`.
            server_settings: as in `connect`.
            types: the types of the sessions; None for a new map, which they share.

        Raises:
            ConfigError: the options cannot be used.
        """
        ...

    def open_file(self, path: str | Path, mode: FileMode) -> BinaryIO:
        """Open a file of the caller's for COPY.

        Args:
            path: its path.
            mode: "rb" or "wb".

        Raises:
            OSError: it cannot be opened.
        """
        ...

    def tracer(self, trace: object) -> TraceLine | None:
        """What writes the trace of sessions to `trace`: see `pgproto.client.Trace`.

        Args:
            trace: where the trace goes; None for what this process's environment says.

        Raises:
            TypeError: it is nothing that can be written to.
            ConfigError: it cannot be written there.
        """
        ...

    def forget_in_child(self, holder: Forgetting) -> None:
        """Have `holder.forget()` called in every child that this process forks."""

    def home(self) -> object:
        """The home in which the caller runs; None if there is none."""
        ...

    def is_gone(self, home: object) -> bool:
        """True if nothing will run in that home any more."""
        ...

    def task(self) -> object:
        """The running task; None if there is none."""
        ...

    def is_over(self, task: object) -> bool:
        """True if a task has ended."""
        ...

    def event(self) -> Event:
        """A new event."""
        ...

    def turn(self, refusal: str) -> Turn:
        """A new turn; `refusal` is the error text for a second task."""
        ...

    async def checkpoint(self) -> None:
        """At the start of a call: raise a pending cancellation, before anything is done."""

    async def checkpoint_if_cancelled(self) -> None:
        """The same, without letting other tasks run."""

    async def shielded_checkpoint(self) -> None:
        """At the end of a call that did not wait: let other tasks run, without a cancellation."""

    async def sleep(self, seconds: float) -> None:
        """Wait for so many seconds."""

    def bound(self, deadline: float) -> Bound:
        """A block that ends at the deadline."""
        ...

    def shield(self, seconds: float) -> Bound:
        """A block that is protected from cancellation for so many seconds."""
        ...

    async def do_last(
        self, home: object, work: Callable[[], Coroutine[Any, Any, object]], error: BaseException | None
    ) -> None:
        """Do the last work of an `async with` block that `error` has ended.

        Args:
            home: the home of the work; None if nothing was begun.
            work: the work.
            error: after a GeneratorExit it may be impossible to await anything.
        """

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Have `call` called in that home, from any thread and at any moment; False if that is too late."""
        ...

    async def ask(self, call: Callable[[], Awaitable[T] | T], bound: Bound) -> T:
        """Call a hook from one of the library's tasks; the hook may ignore its cancellation.

        Raises:
            TimeoutError: the bound was reached.
            BaseException: the hook's exception.
        """
        ...

    def goes_up(self, error: BaseException) -> bool:
        """True if the exception must propagate: an interrupt, or the cancellation of this very task."""
        ...

    def report(self, home: object, name: str, error: BaseException) -> None:
        """Report an exception of a callback or hook of this name, which has no caller to raise it in."""

    def tasks(self) -> Tasks:
        """The tasks of a new pool."""
        ...

    def reader(self, iterator: AsyncIterator[Any]) -> Reader:
        """A reader for a source of COPY or executemany."""
        ...

    async def dial(self, step: Dial, config: Config, deadline: float | None, address: object) -> Link:
        """Open a transport, and attach the step's engine to it.

        Args:
            step: the host and the engine.
            config: the configuration.
            deadline: when to give up; None for never.
            address: a `Link.peer`, to connect to exactly that address; None to look the host up.

        Raises:
            ConnectError, OSError: the transport could not be opened.
        """
        ...


class Link(Protocol):
    """One connected transport, and the engine of its session.

    Attributes:
        engine: the session.
    """

    engine: Engine

    @property
    def on_change(self) -> Callable[[], None] | None:
        """Called after every event: there may be notifications, notices, or the session's end."""
        ...

    @on_change.setter
    def on_change(self, call: Callable[[], None] | None) -> None: ...

    @property
    def send_cancel(self) -> Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]] | None:
        """Sends a cancel request with a key, within so many seconds; False if that has failed."""
        ...

    @send_cancel.setter
    def send_cancel(
        self, call: Callable[[BackendKeyData, float], Coroutine[Any, Any, bool]] | None
    ) -> None: ...

    @property
    def inherited(self) -> bool:
        """True if it belongs to the parent process (see `fork`)."""
        ...

    @property
    def peer(self) -> object:
        """The address of the server, for `Runtime.dial`."""
        ...

    @property
    def home(self) -> object:
        """Its home."""
        ...

    @property
    def shut(self) -> bool:
        """True once nothing can be submitted any more."""
        ...

    @property
    def over(self) -> bool:
        """True once there is nothing left to be closed."""
        ...

    @property
    def descriptor(self) -> int:
        """The file descriptor of its socket; -1 if there is none (any more)."""
        ...

    @property
    def quiet(self) -> bool:
        """True if there is nothing to read.  An idle session whose socket is readable is dead."""
        ...

    def check_here(self) -> None:
        """Check that the session can be used here.

        Raises:
            ConnectionClosed: it belongs to the parent process.
            LocalProtocolError: it has another home; nothing was changed or sent.
        """

    def lend(self) -> Link:
        """The link for a borrower's handle: it refuses calls after the end of the lease."""
        ...

    def alone(
        self, work: Callable[[], T], timeout: float | None = None, told: BaseException | None = None
    ) -> T:
        """Call `work`, which uses the engine and does not wait, while no other thread uses the engine.

        Args:
            work: the work.
            timeout: seconds to wait for other threads; None for no limit.
            told: an error passed to the work: if the work raises this very error, nothing is half done.
        """
        ...

    async def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation (the first one starts the session) and wait for its end.

        Args:
            operation: the operation.
            timeout: in seconds; None for no limit.

        Raises:
            Error: the operation's error.
        """

    async def begin(self, operation: Operation) -> None:
        """Submit an operation.  If this raises an Error, nothing of it was submitted."""

    async def wait(self, operation: Operation) -> None:
        """Wait until an operation that was submitted has ended or made progress."""

    async def wait_for(self, event: Event, deadline: float | None) -> bool:
        """Wait until the event is set or the session is over; False if the deadline comes first."""
        ...

    async def leave(self, operation: Operation) -> None:
        """Abandon an operation.  It takes at most GRACE and never raises."""

    async def ended(self, operation: Operation) -> None:
        """Wait for the end of an abandoned operation whose caller reads its outcome.

        It takes at most GRACE.
        """

    async def cancel(self, seconds: float) -> bool | None:
        """Cancel what the session runs, for whatever caller, by a request that takes at most so many seconds.

        Until it is delivered nothing new is sent.

        Returns:
            True once it was delivered, False if it could not be; None if there is nothing to be sent.
        """
        ...

    async def settled(self) -> None:
        """Wait until nothing is in flight, the session is over, or its grace has passed."""

    async def close(self, timeout: float | None) -> None:
        """End the session, within so many seconds; None for no limit.  Idempotent."""

    def abort(self) -> None:
        """End the session at once; drop unsent bytes.  A running statement is cancelled first."""

    def drop(self) -> None:
        """Nobody refers to the connection any more: end it.  Called by the garbage collector."""

    def dismiss(self) -> None:
        """The lease is over: stop its operations; their callers get an error."""

    def orphan(self, operation: Operation, then: Callable[[], None] | None) -> None:
        """Abandon an operation for the garbage collector: safe at any moment, in any thread.

        Args:
            operation: the operation, which nobody waits for.
            then: called afterwards in the link's home, unless that is gone.
        """

    def resume(self) -> None:
        """An operation has more to write, or room for more to read."""

    def flush(self) -> None:
        """Do what can be done without waiting: write output, wake tasks."""
