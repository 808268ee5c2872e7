"""The options of a TCP socket, and TCP_USER_TIMEOUT, which has to be lifted at times."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from pgproto.config import Config

__all__ = ["Patience", "configure_socket"]

# Bytes that fit into the smallest initial TCP window of a server.
_LITTLE: Final = 16384


def configure_socket(sock: socket.socket, config: Config) -> None:
    """Set the options of a TCP socket: no delay, keepalives, user timeout."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(config.keepalives))
    wanted = {
        "TCP_KEEPIDLE": config.keepalives_idle,
        "TCP_KEEPINTVL": config.keepalives_interval,
        "TCP_KEEPCNT": config.keepalives_count,
        "TCP_USER_TIMEOUT": config.tcp_user_timeout,
    }
    for name, value in wanted.items():
        option = getattr(socket, name, None)
        if value is not None and option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)


class Patience:
    """Lifts the default TCP_USER_TIMEOUT while much data is unacknowledged.

    The option detects a dead peer, but also strikes a live one that does not read: a server that is busy with
    one statement of many closes its TCP window, and the system would then end the session.  A little data
    fits into the window, so the option can stay.

    Args:
        sock: a TCP socket after `configure_socket`.
        config: its configuration.

    Attributes:
        lifted: the option is lifted; call `answered` when everything sent is answered.
    """

    __slots__ = ("_milliseconds", "_sent", "_sock", "lifted")

    def __init__(self, sock: socket.socket, config: Config) -> None:
        self._sock = sock
        self._sent = 0
        self._milliseconds = config.tcp_user_timeout or 0
        self.lifted = False

    @classmethod
    def with_peer(cls, sock: socket.socket, config: Config) -> Patience | None:
        """None if there is no option to lift."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if config.tcp_user_timeout_given or config.tcp_user_timeout is None:
            return None
        return cls(sock, config) if hasattr(socket, "TCP_USER_TIMEOUT") else None

    def sent(self, count: int) -> None:
        """So many bytes were sent."""
        self._sent += count
        if self._sent > _LITTLE and not self.lifted:
            self.lifted = True
            self._set(0)

    def answered(self) -> None:
        """Everything sent is answered: restore the option."""
        self._sent = 0
        self.lifted = False
        self._set(self._milliseconds)

    def _set(self, milliseconds: int) -> None:
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
