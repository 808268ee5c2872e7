"""The hooks of a pool's owner, asked for a limited time."""

from __future__ import annotations

import threading
import time

from pgproto import ConnectError
from pgproto.client.blocking import Connection, Hook
from pgproto.pool import HookTimeout

from . import threads

__all__ = ["Questions"]


class Questions:
    """What hooks are asked in threads of their own.

    Attributes:
        limit: when all have to be answered, by `time.monotonic`.
    """

    def __init__(self) -> None:
        self.limit = float("inf")
        self._open: set[threading.Lock] = set()

    def end(self, limit: float) -> None:
        """Have all of them answered by then."""
        self.limit = limit
        for answer in list(self._open):
            threads.wake(answer)

    def ask(self, name: str, hook: Hook, seconds: float, conn: Connection) -> bool | None:
        """Call a hook in a thread of its own: nothing else can be done about one that does not return.

        Raises:
            HookTimeout: it took too long, or until after the end of the pool.
            BaseException: what it raised.
        """
        news = threads.new_waiter()
        answers: list[bool | None] = []
        raised: list[BaseException] = []

        def ask() -> None:
            try:
                answers.append(hook(conn))
            except BaseException as error:  # noqa: BLE001 - it is raised by `ask`
                raised.append(error)
            finally:
                threads.wake(news)

        try:
            threads.start(threading.Thread(target=ask, name="pgproto pool hook", daemon=True))
        except ConnectError:  # it is asked all the same
            ask()
        deadline = time.monotonic() + seconds
        self._open.add(news)
        try:
            while not (answers or raised):
                left = min(deadline, self.limit) - time.monotonic()
                if left <= 0:
                    raise HookTimeout(name)
                news.acquire(timeout=min(left, threading.TIMEOUT_MAX))
        finally:
            self._open.discard(news)
        if raised:
            raise raised[0]
        return answers[0]
