"""Who runs the server at the other end of a unix socket."""

from __future__ import annotations

import socket
import struct

from pgproto.config import Config, Host
from pgproto.errors import ConfigError, ConnectError

__all__ = ["check_peer"]


def check_peer(sock: socket.socket, host: Host, config: Config) -> None:
    """Check `requirepeer`: the server at the other end of a unix socket must run as that user.

    Raises:
        ConnectError: it runs as another user.
        ConfigError: this system does not report the user.
    """
    if not config.requirepeer or not host.is_unix:
        return
    if not hasattr(socket, "SO_PEERCRED"):
        raise ConfigError("requirepeer is not supported on this system")
    import pwd

    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid = struct.unpack("3i", credentials)[1]
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    if name != config.requirepeer:
        text = f'requirepeer specifies "{config.requirepeer}", but the server runs as "{name}"'
        raise ConnectError(text, permanent=True)
