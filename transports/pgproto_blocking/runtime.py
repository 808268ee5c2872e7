"""The blocking `Runtime`: threads."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from pgproto.client.blocking import Bound as AnyBound
from pgproto.config import Config
from pgproto.session import Dial
from pgproto_sockets import readiness
from pgproto_sockets.process import Process

from .dialling import dial
from .events import Event, Turn
from .hooks import Bound, ask
from .link import HERE, Link

__all__ = ["RUNTIME"]

T = TypeVar("T")

_log = logging.getLogger("pgproto")


class _Runtime(Process):
    """See `pgproto.client.blocking.Runtime`."""

    now = staticmethod(time.monotonic)

    def home(self) -> object:
        """The home of all threads."""
        return HERE

    def is_gone(self, home: object) -> bool:
        """False."""
        return False

    def task(self) -> threading.Thread:
        """The running thread."""
        return threading.current_thread()

    def is_over(self, task: object) -> bool:
        """True if a thread has ended."""
        return isinstance(task, threading.Thread) and not task.is_alive()

    def event(self) -> Event:
        """A new event."""
        return Event()

    def turn(self, refusal: str) -> Turn:
        """A new turn, for which threads queue up."""
        return Turn()

    def checkpoint(self) -> None:
        """Nothing: an interrupt may come at any moment."""

    def checkpoint_if_cancelled(self) -> None:
        """Nothing."""

    def shielded_checkpoint(self) -> None:
        """Nothing."""

    def sleep(self, seconds: float) -> None:
        """Wait so long."""
        if seconds > 0:
            readiness.pause(seconds)

    def bound(self, deadline: float) -> Bound:
        """The time limit of `ask`."""
        return Bound(deadline)

    def shield(self, seconds: float) -> Bound:
        """Nothing: a second interrupt propagates like the first one."""
        return Bound()

    def ask(self, call: Callable[[], T], bound: AnyBound) -> T:
        """Call a hook; in a thread of its own, if a pool's asks."""
        assert isinstance(bound, Bound)
        return ask(call, bound)

    def do_last(self, home: object, work: Callable[[], object], error: BaseException | None) -> None:
        """Do the last work of a block."""
        work()

    def soon(self, home: object, call: Callable[[], object]) -> bool:
        """Call it."""
        call()
        return True

    def goes_up(self, error: BaseException) -> bool:
        """True for an exception of a signal handler."""
        return not isinstance(error, Exception)

    def report(self, home: object, name: str, error: BaseException) -> None:
        """Log that a callback or a hook has raised."""
        _log.error("%s raised", name, exc_info=error)

    def dial(self, step: Dial, config: Config, deadline: float | None, address: object) -> Link:
        """Open a socket, and set the terms of `Blocks` to threads."""
        step.engine.blocks.caller = "thread"
        return Link(dial(step, config, deadline, address))


RUNTIME: Final = _Runtime()
