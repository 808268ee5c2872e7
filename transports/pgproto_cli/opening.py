"""A blocking connection of the command line."""

from __future__ import annotations

from pgproto.client.blocking import Connection
from pgproto.config import Config
from pgproto.session import TraceLine
from pgproto_blocking.runtime import RUNTIME

__all__ = ["connect"]


def connect(config: Config, trace: TraceLine | None = None) -> Connection:
    """Open a session.

    Args:
        config: where.
        trace: takes each message as a line, from the first one on; None for no trace.

    Raises:
        ConnectError: no server would do.
    """
    connector = RUNTIME.connector(config, {}, None, None)
    connector.trace = trace
    connection = Connection(RUNTIME, connector)
    connection.open()
    return connection
