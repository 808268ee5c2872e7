"""The client on asyncio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Unpack

from pgproto import client
from pgproto.client import DEFAULT, Connecting, Timeout
from pgproto.config import ConnectOptions

from .runtime import RUNTIME

__all__ = ["Pool", "connect"]


def connect(
    dsn: str | None = None,
    *,
    timeout: Timeout = DEFAULT,
    server_settings: Mapping[str, str] | None = None,
    **options: Unpack[ConnectOptions],
) -> Connecting:
    """Open a connection: await the result, or enter it with `async with`.

    Args:
        dsn: a connection string, URI or keywords; see `pgproto.parse_config`.
        timeout: in seconds for each host; the `connect_timeout` option by default; None for no limit.
        server_settings: run-time parameters for the session.
        options: libpq's options by name, and pgproto's own.

    Raises:
        ConfigError: the options cannot be used.
        ConnectError: no server would do.
    """
    return Connecting(RUNTIME, RUNTIME.connector(dsn, options, server_settings), timeout)


class Pool(client.Pool):  # noqa: D101 - the other one's
    __doc__ = client.Pool.__doc__
    runtime = RUNTIME
