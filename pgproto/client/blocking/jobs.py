# Written by scripts/blocking.py out of pgproto/client/jobs.py: change that one.
"""What a pool does with one connection: open it, set it up, check it, reset it, ask the hooks, close it.

It is the same for all adapters.  Which task or thread does it, when, and how the machine is told are matters
of the driver.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from functools import partial
from typing import Protocol

from pgproto.errors import ConnectError, Error, PoolTimeout
from pgproto.pool import (
    BROKEN,
    IN_TRANSACTION,
    Check,
    HookTimeout,
    PoolMachine,
    PoolObserver,
    PoolSettings,
    PoolWatch,
    Reset,
    Resetting,
    Slot,
    Ticket,
    ending,
    hook_failed,
    is_permanent,
)
from pgproto.session import GRACE, LONGEST_GRACE, Connector, check_left, check_new

from .. import logs, refusals
from .connection import Connection
from .lending import Hook, Hooks
from .runtime import Bound, Runtime

__all__ = ["Jobs", "is_alive", "looked_after", "open_failed", "release"]


class Ending(Protocol):
    """Something that ends with the pool."""

    def end(self) -> None:
        """The pool is closed."""


class Jobs:
    """What is done with the connections of one pool.

    Args:
        runtime: where it is done.
        connector: makes the sessions.
        settings: limits and times.
        hooks: whom to ask.
        resetting: what makes a session as new.

    Attributes:
        runtime, settings, hooks: as above.
        home: where the pool belongs; None if that is nowhere yet, or in the parent process.
        watch: for the pool's machine; None if no observer wants to be told.
    """

    def __init__(
        self,
        runtime: Runtime,
        connector: Connector,
        settings: PoolSettings,
        hooks: Hooks,
        resetting: Resetting,
    ) -> None:
        self.runtime = runtime
        self.settings = settings
        self.hooks = hooks
        self.home: object = None
        observers = [each for each in connector.observers if isinstance(each, PoolObserver)]
        self.watch = PoolWatch(observers, connector.report) if observers else None
        self._connector = connector
        self._resetting = resetting
        self._asking: set[Bound] = set()  # around the hooks that are being asked
        self._limit = math.inf  # when they have to be at their end
        self.listening: weakref.WeakSet[Ending] = weakref.WeakSet()
        """What ends with the pool: see `PoolNotifications`."""

    @property
    def over(self) -> bool:
        """True if nothing can be done any more: its event loop has ended, or is the parent process's."""
        home = self.home
        return home is None or self.runtime.is_gone(home)

    def end(self, limit: float) -> None:
        """Have every hook at its end by then."""
        self._limit = min(self._limit, limit)
        for bound in list(self._asking):
            bound.shorten(self._limit)
        for listening in list(self.listening):
            listening.end()

    # ---- For the pool

    def open(self) -> Connection:
        """A new connection, set up.  What has failed is gone when this raises.

        Raises:
            BaseException: there is none; see `open_failed`.
        """
        conn = Connection(self.runtime, self._connector)
        try:
            conn.open(accept=self.hooks.accept)
            # What `accept` has left is not lent.  A session that nobody has used needs no reset.
            script = "" if self.hooks.accept is None else conn.reset_script(self._resetting)
            if script:
                conn.reset(script, timeout=self.settings.reset_timeout)
            conn.retire_on(self.hooks.retire_on)
            self._set_up(conn, self.settings.acquire_timeout)
        except BaseException:
            if not self.over:
                conn.abort()
                with self.runtime.shield(LONGEST_GRACE):
                    conn.close()  # it counts until the server has been told to stop, and is gone
            raise
        conn.rest()
        return conn

    def look_after(self, action: Check | Reset) -> bool:
        """Check a connection, or reset it: True if it can be used after that."""
        conn: Connection | None = action.slot.connection
        if conn is None:  # it was taken away before this has begun
            return False
        try:
            if isinstance(action, Reset):
                return self._reset(action, conn)
            conn.script("", timeout=self.settings.check_timeout)
        except Error:
            return False
        return conn.reusable

    def close(self, conn: Connection) -> None:
        """Ask `on_close`, which cannot keep a connection open, and close it."""
        try:
            self._ask("on_close", self.hooks.close, conn, self.settings.reset_timeout)
        except BaseException as error:
            if self.runtime.goes_up(error):
                raise
            self.runtime.report(self.home, "on_close", error)
        finally:
            if not self.over:
                conn.close()

    def _set_up(self, conn: Connection, seconds: float) -> None:
        """Make a session that is as new what every borrower gets.

        Raises:
            ConnectError: `on_connect` has failed, or took too long.
            ConnectionClosed, LocalProtocolError: the session cannot be lent.
        """
        hook = self.hooks.connect
        try:
            self._ask("on_connect", hook, conn, seconds)
        except BaseException as error:
            if self.runtime.goes_up(error):
                raise
            raise hook_failed(error) from error
        conn.settled()
        check_new(conn.engine, "" if hook is None else "on_connect")
        conn.forget_traces()

    def _reset(self, action: Reset, conn: Connection) -> bool:
        slot, seconds = action.slot, self.settings.reset_timeout
        deadline = slot.deadline
        conn.reset(conn.reset_script(self._resetting), timeout=seconds)
        try:
            self._set_up(conn, seconds)
        except Error as error:
            told = error.__cause__ or error
            taken = slot.generation != action.generation  # the pool has closed it under the hook
            if taken and self.hooks.connect is not None and self.runtime.now() >= deadline:
                told = HookTimeout("on_connect")  # that is why, whatever the hook made of it
            if isinstance(told, HookTimeout) or (is_permanent(error) and not taken):
                self.runtime.report(self.home, "on_connect", told)  # nobody waits for this
            return False
        return conn.reusable

    @property
    def ping(self) -> Callable[[Connection], bool] | None:
        """Whether an idle connection is checked before it is lent; None if `check_after` says that."""
        return None if self.hooks.ping is None else self._ping

    def _ping(self, conn: Connection) -> bool:
        hook = self.hooks.ping
        assert hook is not None
        try:
            answer = hook(conn)
            refusals.check_done(answer)
            return bool(answer)
        except BaseException as error:  # in doubt it is checked
            if self.runtime.goes_up(error):
                raise
            self.runtime.report(self.home, "ping", error)
            return True

    # ---- For borrowers

    def accepted(self, conn: Connection, deadline: float) -> bool:
        """Ask `on_acquire`.  One that closes the connection does not want it either.

        Raises:
            PoolTimeout: it has not returned until the deadline, or a moment later.
            LocalProtocolError: it has left the connection so that nobody can use it.
            BaseException: what it raised.
        """
        hook = self.hooks.acquire
        if conn.closed:  # it may have died since it was granted
            return False
        if hook is None:
            return True
        answer: bool | None = False
        with self.runtime.bound(max(deadline, self.runtime.now() + GRACE)) as bound:
            answer = hook(conn)
            if conn.draining:
                conn.settled()
        if bound.expired:
            raise PoolTimeout("on_acquire did not return in time") from TimeoutError()
        if answer is False or conn.closed or conn.engine.retiring:
            return False
        check_left(conn.engine, "on_acquire")
        return True

    def released(self, conn: Connection) -> bool:
        """Bring a connection that came back to rest, and ask `on_release` whether it is wanted."""
        try:
            conn.settled()
            hook = self.hooks.release
            if hook is None or conn.closed:
                return True
            orderly = conn.reusable
            wanted = self._ask("on_release", hook, conn, self.settings.reset_timeout) is not False
            if conn.draining:
                conn.settled()
            if orderly:
                check_left(conn.engine, "on_release")
        except BaseException as error:  # it comes back all the same, to be closed
            if self.runtime.goes_up(error):
                raise
            self.runtime.report(self.home, "on_release", error)
            return False
        return wanted

    def state_left(self, conn: Connection) -> tuple[bool, bool]:
        """How a lease has left a session: (True if it may be lent again, True if it is as new)."""
        return conn.reusable, not conn.reset_script(self._resetting)

    # ---- Hooks

    def _ask(self, name: str, hook: Hook | None, conn: Connection, seconds: float) -> bool | None:
        """Call a hook for the pool.

        Raises:
            HookTimeout: it took too long, or until after the end of the pool.
            BaseException: what it raised.
        """
        if hook is None:
            return None
        bound = self.runtime.bound(min(self.runtime.now() + seconds, self._limit))
        self._asking.add(bound)
        try:
            bound.shorten(self._limit)  # which another thread may just have set
            return self.runtime.ask(partial(hook, conn), bound)
        except TimeoutError:
            if not bound.expired:
                raise
        finally:
            self._asking.discard(bound)
        raise HookTimeout(name)


def open_failed(machine: PoolMachine, slot: Slot, generation: int, error: BaseException, now: float) -> None:
    """Tell the machine that there is no connection: what `Jobs.open` has raised."""
    if isinstance(error, Exception) and slot.generation == generation:  # the pool has not stopped it
        logs.open_failed(slot, error)
    failure = error
    if not isinstance(failure, Exception):
        # The pool stopped the attempt, or it comes out of `on_connect`: the slot is free either way.
        failure = ConnectError(f"the connection attempt ended with {type(error).__name__}")
        failure.__cause__ = error
    machine.open_failed(slot, generation, failure, is_permanent(failure), now)


def looked_after(machine: PoolMachine, action: Check | Reset, usable: bool, now: float) -> None:
    """Tell the machine what `Jobs.look_after` has said."""
    if usable:
        action.slot.connection.rest()
    done = machine.reset_done if isinstance(action, Reset) else machine.check_done
    done(action.slot, action.generation, usable, now)


def release(
    machine: PoolMachine, ticket: Ticket, conn: Connection, now: float, usable: bool, clean: bool
) -> None:
    """Tell the machine that a lease has ended, and how: see `Jobs.state_left`."""
    if not usable and conn.closed:
        engine = conn.engine
        reason, answered = ending(engine.cause), engine.answered is not None
        machine.release(ticket, now, usable=False, reason=reason, answered=answered)
    else:
        left_open = not usable and conn.transaction_status in ("T", "E")
        conn.rest()
        machine.release(
            ticket, now, usable=usable, clean=clean, reason=IN_TRANSACTION if left_open else BROKEN
        )


def is_alive(conn: Connection) -> bool:
    """True if a look at an idle session shows that it can be used."""
    # In this order: to look at it takes in what has come.
    return conn.quiet and conn.reusable and conn.rested
