"""The options of a TCP socket, and the one that has to be lifted now and then."""

from __future__ import annotations

import contextlib
import socket
from typing import Final

from pgproto.config import Config

__all__ = ["Patience", "configure_socket"]

# Bytes that fit into the smallest window that a server opens with.
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
    """Lifts the TCP_USER_TIMEOUT that nobody asked for while much is under way.

    It is there to find out that the peer has gone, but counts a peer that lives and reads nothing, too: a
    server that is busy with one statement of many closes its window, and the system would end the session.
    What even a closed window has let through before does not need that.

    Args:
        sock: a TCP socket that `configure_socket` has seen.
        config: as there.

    Attributes:
        lifted: it is; call `answered` when all that was sent is answered.
    """

    __slots__ = ("_milliseconds", "_sent", "_sock", "lifted")

    def __init__(self, sock: socket.socket, config: Config) -> None:
        self._sock = sock
        self._sent = 0
        self._milliseconds = config.tcp_user_timeout or 0
        self.lifted = False

    @classmethod
    def with_peer(cls, sock: socket.socket, config: Config) -> Patience | None:
        """None where nothing has to be lifted."""
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if config.tcp_user_timeout_given or config.tcp_user_timeout is None:
            return None
        return cls(sock, config) if hasattr(socket, "TCP_USER_TIMEOUT") else None

    def sent(self, count: int) -> None:
        """So many bytes went out."""
        self._sent += count
        if self._sent > _LITTLE and not self.lifted:
            self.lifted = True
            self._set(0)

    def answered(self) -> None:
        """Nothing is under way any more."""
        self._sent = 0
        self.lifted = False
        self._set(self._milliseconds)

    def _set(self, milliseconds: int) -> None:
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
