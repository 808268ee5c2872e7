"""A blocking connection whose messages are seen from the first byte on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from pgproto.client.blocking import Connection
from pgproto.config import Config
from pgproto_blocking.runtime import RUNTIME

__all__ = ["Seen", "connect"]

Seen: TypeAlias = Callable[[str, bytes, bool], object]
"""Called with the sender ("F" or "B"), the bytes, and whether they are a start-up packet."""


class _Watching:
    """The blocking runtime; it tells of the messages of the connections that it opens."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def __getattr__(self, name: str) -> Any:
        return getattr(RUNTIME, name)

    def dial(self, step: Any, config: Config, deadline: float | None, address: object) -> Any:
        """Open a socket, and watch the connection."""
        step.engine.connection.trace = self._seen
        return RUNTIME.dial(step, config, deadline, address)


def connect(config: Config, seen: Seen | None = None) -> Connection:
    """Open a session.

    Args:
        config: where.
        seen: told of each message; None for nobody.

    Raises:
        ConnectError: no server would do.
    """
    runtime: Any = RUNTIME if seen is None else _Watching(seen)
    connection = Connection(runtime, RUNTIME.connector(config, {}, None, None))
    connection.open()
    return connection
