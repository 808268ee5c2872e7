"""The errors for a call that is not possible here: nothing was changed or sent."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Final

from pgproto.errors import ConnectionClosed, LocalProtocolError, Outcome, not_sent

__all__ = ["CURSOR_OF_NOTHING", "POOL_AWAITED", "check_done", "inherited", "not_here", "not_open"]

CURSOR_OF_NOTHING: Final = (
    "a cursor is made of its statement: `conn.cursor(sql, *args)` in a transaction block; most queries need "
    "none: `conn.fetch(sql, *args)`"
)
_NOT_RUN: Final = {
    "__await__": "the function is asynchronous, and nobody awaits it here",
    "__next__": "the function is a generator, of which nothing has run",
    "__anext__": "the function is an async generator, of which nothing has run",
}
POOL_AWAITED: Final = (
    "a Pool is not awaited: use `async with Pool(dsn) as pool`, or `pool = await Pool(dsn).open()`"
)


def not_open(*, lent: bool) -> ConnectionClosed:
    """The error for a handle without a session.

    Args:
        lent: it was lent by a pool, and given back.
    """
    over = "the lease is over: the connection was given back to its pool"
    error = ConnectionClosed(over if lent else "the connection is not open")
    error.outcome = Outcome.NOT_SENT
    return error


def lent() -> LocalProtocolError:
    """The error for a call on a pool's own connection, which only hooks get, while somebody else has it."""
    error = LocalProtocolError("the pool has lent this connection: a hook may not use it after its return")
    error.outcome = Outcome.NOT_SENT
    return error


def not_here(what: str) -> LocalProtocolError:
    """The error for a connection or a pool that is used outside of its own event loop.

    Args:
        what: "connection" or "pool".
    """
    error = LocalProtocolError(f"the {what} belongs to another event loop: open one in each")
    error.outcome = Outcome.NOT_SENT
    return error


def inherited(what: str) -> ConnectionClosed:
    """The error for a connection or a pool that was open when this process was forked.

    Args:
        what: "connection" or "pool".
    """
    return ConnectionClosed(f"the {what} belongs to the parent process: open one after fork()")


def check_done(answer: object) -> None:
    """Refuse what a function has returned if the function has not run, and nobody here will run it.

    Raises:
        Error: it is a coroutine, a generator, or another thing to be awaited or iterated.
    """
    for name, text in _NOT_RUN.items():
        if hasattr(answer, name):
            if isinstance(answer, Coroutine):
                answer.close()  # so that it does not warn that nobody has awaited it
            raise not_sent(text)
