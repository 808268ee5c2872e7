# Written by scripts/blocking.py out of pgproto/client/runtime.py: change that one.
"""What the client needs of its surroundings: an event loop, and a connected transport for each session.

Whoever implements these protocols has the whole client: connections, pool, batches, COPY, LISTEN, retry.
The client awaits nothing else.  It is written as for level cancellation: what has to be done after a
cancellation is done in a block of `Runtime.shield`.

What "home" is: the event loop, or the run, that a session or a pool belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, TypeVar

from pgproto.config import Config, ConnectOptions
from pgproto.session import Connector, Dial, Engine, Operation
from pgproto.wire import BackendKeyData

if TYPE_CHECKING:
    from typing import Self

__all__ = ["Bound", "Event", "Link", "Runtime", "Turn"]

T = TypeVar("T")


class Event(Protocol):
    """What one task waits for and another one brings about; it happens once."""

    def set(self) -> None:
        """It has happened."""


class Turn(Protocol):
    """What one has at a time: threads queue up for it, and a second task is refused."""

    def take(self, deadline: float | None) -> bool:
        """Have it; False if another thread has had it until the deadline.

        Raises:
            LocalProtocolError: it is a second task.
        """
        ...

    def leave(self) -> None:
        """Let the next one have it."""


class Bound(Protocol):
    """An `with` block with a deadline: at that moment what is awaited in it is cancelled.

    The block then ends without an error, and `expired` is True.
    """

    @property
    def expired(self) -> bool:
        """True once the deadline has ended the block."""
        ...

    def shorten(self, deadline: float) -> None:
        """Set an earlier deadline; it may have passed.  A later one is ignored."""

    def __enter__(self) -> Self:
        """Enter it."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """Leave it."""
        ...


class Forgetting(Protocol):
    """What a forked child must not use."""

    def forget(self) -> None:
        """In the child: let go of what is the parent's."""


class Runtime(Protocol):
    """An event loop's kind.  One object without a state serves all loops of its kind."""

    def now(self) -> float:
        """The time on the clock of deadlines, in seconds."""
        ...

    def random(self) -> float:
        """A new float in [0, 1) at each call."""
        ...

    def connector(
        self, dsn: str | None, options: ConnectOptions, server_settings: Mapping[str, str] | None
    ) -> Connector:
        """What makes sessions, with this process's environment and files, and the clock of `now`.

        A warning about the options is for the line that calls the caller.

        Raises:
            ConfigError: the options cannot be used.
        """
        ...

    def forget_in_child(self, holder: Forgetting) -> None:
        """Have `holder.forget()` called in every child that this process forks."""

    def home(self) -> object:
        """Where the caller runs; None if nowhere."""
        ...

    def is_gone(self, home: object) -> bool:
        """True if nothing will run there any more."""
        ...

    def task(self) -> object:
        """The task that runs; None if there is none."""
        ...

    def is_over(self, task: object) -> bool:
        """True if a task has ended."""
        ...

    def event(self) -> Event:
        """A new event."""
        ...

    def turn(self, refusal: str) -> Turn:
        """A new turn; a task that comes while another one has it is told `refusal`."""
        ...

    def checkpoint(self) -> None:
        """Where a call begins: a cancellation that is due is raised here, where nothing was done yet."""

    def checkpoint_if_cancelled(self) -> None:
        """The same, without waiting if there is none."""

    def shielded_checkpoint(self) -> None:
        """Where a call that has waited for nothing ends: let others run, and raise nothing."""

    def sleep(self, seconds: float) -> None:
        """Wait so long."""

    def bound(self, deadline: float) -> Bound:
        """A block that ends at that moment."""
        ...

    def shield(self, seconds: float) -> Bound:
        """A block that no cancellation ends, for so long."""
        ...

    def do_last(self, home: object, work: Callable[[], object], error: BaseException | None) -> None:
        """Do the last thing of an `with` block that `error` has ended.

        Args:
            home: where the work belongs; None if nothing has been begun anywhere.
            work: what is to be done.
            error: with a GeneratorExit nothing can be waited for, perhaps.
        """

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Have something called there, from whatever thread and moment; False if it is too late for that."""
        ...

    def ask(self, call: Callable[[], T], bound: Bound) -> T:
        """Call a hook from a task of the library's; it may not end when it is cancelled.

        Raises:
            TimeoutError: the bound was reached.
            BaseException: what it raised.
        """
        ...

    def goes_up(self, error: BaseException) -> bool:
        """True if nobody should keep the exception: an interrupt, or the task itself is cancelled."""
        ...

    def report(self, home: object, name: str, error: BaseException) -> None:
        """Say that what the caller handed in, by its name, has raised where nobody's call is for it."""

    def dial(self, step: Dial, config: Config, deadline: float | None, address: object) -> Link:
        """Open a transport, and attach the step's engine to it.

        Args:
            step: where to, and the engine.
            config: how.
            deadline: when to give up; None for never.
            address: a `Link.peer`, to go to that very address; None to look the host up.

        Raises:
            ConnectError, OSError: it could not be opened.
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
        """Called after everything that happened: notifications, notices or the end may be there."""
        ...

    @on_change.setter
    def on_change(self, call: Callable[[], None] | None) -> None: ...

    @property
    def send_cancel(self) -> Callable[[BackendKeyData, float], None] | None:
        """Sends a cancel request with a key, within so many seconds; never raises."""
        ...

    @send_cancel.setter
    def send_cancel(self, call: Callable[[BackendKeyData, float], None] | None) -> None: ...

    @property
    def inherited(self) -> bool:
        """True if the parent process has it (see `fork`)."""
        ...

    @property
    def peer(self) -> object:
        """Where it is connected to, for `Runtime.dial`."""
        ...

    @property
    def home(self) -> object:
        """Where it belongs."""
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
        """True if nothing waits to be read.  An idle session whose socket is readable is dead."""
        ...

    def check_here(self) -> None:
        """Raise if the caller runs elsewhere, or in a process that was forked meanwhile.

        Raises:
            ConnectionClosed: the parent process has it.
            LocalProtocolError: it belongs elsewhere; nothing was touched, and nothing sent.
        """

    def lend(self) -> Link:
        """The link for the handle that a borrower gets: what comes too late for its lease is refused."""
        ...

    def alone(
        self, work: Callable[[], T], timeout: float | None = None, told: BaseException | None = None
    ) -> T:
        """Do something with the engine that waits for nothing, while no other thread does.

        Args:
            work: what to do.
            timeout: seconds to wait until no other thread does; None for no limit.
            told: an error that the work hands on: if it is what the work raises, nothing is half done.
        """
        ...

    def run(self, operation: Operation, timeout: float | None) -> None:
        """Submit an operation (the first one starts the session) and wait for its end.

        Args:
            operation: what to do.
            timeout: in seconds; None for no limit.

        Raises:
            Error: the operation's error.
        """

    def begin(self, operation: Operation) -> None:
        """Submit an operation.  If this raises an Error, nothing of it was submitted."""

    def wait(self, operation: Operation) -> None:
        """Wait until an operation that was submitted has ended or made progress."""

    def wait_for(self, event: Event, deadline: float | None) -> bool:
        """Wait until somebody sets the event, or the session is over; False if the deadline comes first."""
        ...

    def leave(self, operation: Operation) -> None:
        """Abandon an operation.  Takes GRACE at the most, and never raises."""

    def ended(self, operation: Operation) -> None:
        """Wait for the end of an operation that was abandoned, whose caller reads what became of it.

        GRACE bounds it.
        """

    def settled(self) -> None:
        """Wait until nothing is in flight, the session is over, or its grace has passed."""

    def close(self, timeout: float | None) -> None:
        """End the session, within so many seconds; None for no limit.  Idempotent."""

    def abort(self) -> None:
        """End the session at once, unsent bytes and all.  What the server runs is cancelled first."""

    def drop(self) -> None:
        """Nobody refers to the connection any more: end it, from wherever garbage is collected."""

    def dismiss(self) -> None:
        """The lease is over: what is under way ends, and who still waits for it is told."""

    def orphan(self, operation: Operation, then: Callable[[], None] | None) -> None:
        """Abandon an operation from wherever garbage is collected; safe at any moment, in any thread.

        Args:
            operation: what nobody will ask for any more.
            then: called afterwards where the link belongs, unless that is gone.
        """

    def resume(self) -> None:
        """An operation has more to write, or room for more to read."""

    def flush(self) -> None:
        """Do what can be done without waiting; the engine may have something to say."""
