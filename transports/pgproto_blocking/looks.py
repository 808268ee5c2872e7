"""What the pool looks at in its connections, without a word to the server."""

from __future__ import annotations

from typing import Final

from pgproto.client.blocking import Connection
from pgproto.pool import Resetting
from pgproto_sockets import readiness

from .link import Link
from .transport import Transport

__all__ = ["is_alive", "state_left"]

_MOMENT: Final = 0.01  # seconds


def is_alive(conn: Connection) -> bool:
    """True if a look at an idle session shows that it can be used.

    What can be read from it is its end, most likely.  It may be a notice, which is taken in; but a notice
    can announce the end, so the end gets a moment to follow.
    """
    transport = _transport(conn)
    if not transport.closed and not readiness.is_quiet(transport.descriptor):
        transport.alone(transport.look)
        if transport.closed or readiness.wait(transport.descriptor, readiness.READABLE, _MOMENT):
            return False
    return conn.reusable


def state_left(conn: Connection, resetting: Resetting) -> tuple[bool, bool]:
    """How a lease has left the session: (True if it may be lent again, True if it is as new).

    While another thread is in a call nothing can be said, so it may not.
    """
    state = (False, False)

    def look() -> None:
        nonlocal state
        state = (conn.reusable, not conn.reset_script(resetting))

    transport = _transport(conn)
    if not transport.closed:
        transport.try_alone(look)
    return state


def _transport(conn: Connection) -> Transport:
    link = conn.link
    assert isinstance(link, Link)
    return link.transport
