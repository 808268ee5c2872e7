"""The hooks of a pool's owner, asked for a limited time."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TypeVar

from pgproto import ConnectError

from . import threads

__all__ = ["Bound", "ask"]

T = TypeVar("T")


class Bound(AbstractContextManager["Bound"]):
    """See `pgproto.client.blocking.Bound`.  It ends no block: what is waited for in one has its own timeout.

    Attributes:
        deadline: when `ask` gives up, by `time.monotonic`.
        news: whom to wake when there is an answer, or another deadline.
    """

    expired = False

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        self.news = threads.new_waiter()

    def shorten(self, deadline: float) -> None:
        """Set an earlier deadline."""
        self.deadline = min(self.deadline, deadline)
        threads.wake(self.news)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass


def ask(call: Callable[[], T], bound: Bound) -> T:
    """Call a hook in a thread of its own: nothing else can be done about one that does not return.

    What is no thread of a pool's is the caller's, who calls it himself.

    Raises:
        TimeoutError: the bound was reached.
        RuntimeError: the hook has ended its thread.
        Exception: what it raised.
    """
    answers: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:  # noqa: BLE001 - it is raised by `ask`
            raised.append(error)
        finally:
            threads.wake(bound.news)

    if not threads.is_helper():
        return call()
    try:
        threads.start(threading.Thread(target=run, name="pgproto pool hook", daemon=True))
    except ConnectError:  # it is asked all the same
        run()
    while not (answers or raised):
        left = bound.deadline - time.monotonic()
        if left <= 0:
            bound.expired = True
            raise TimeoutError
        bound.news.acquire(timeout=min(left, threading.TIMEOUT_MAX))
    if answers:
        return answers[0]
    error = raised[0]
    if isinstance(error, Exception):
        raise error
    raise RuntimeError(f"a hook has ended its thread: {type(error).__name__}") from error
