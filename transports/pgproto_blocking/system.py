"""What every adapter asks of the operating system: environment, files, clock, sockets, forks.

The core takes all of these as arguments.  The other two adapters import this module too; it holds no
protocol, and nothing but `wait` and `pause` waits.
"""

from __future__ import annotations

import contextlib
import getpass
import math
import os
import select
import socket
import stat
import struct
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Mapping
from typing import Final, Protocol

from pgproto.config import Config, ConnectOptions, FileText, Host, parse_config
from pgproto.errors import ConfigError, ConnectError, ConnectionClosed, LocalProtocolError, Outcome
from pgproto.session import Connector

__all__ = [
    "READABLE",
    "WRITABLE",
    "Inheritable",
    "Patience",
    "check_peer",
    "configure_socket",
    "connector",
    "forget_in_child",
    "inherited",
    "is_quiet",
    "let_go",
    "not_here",
    "pause",
    "read_file",
    "read_rest",
    "wait",
]

# The password and service files are small; whatever is larger is not one of them.
_MAX_FILE = 1 << 20

# Bytes that fit into the smallest window that a server opens with.
_LITTLE: Final = 16384

READABLE: Final = 1
WRITABLE: Final = 2

# A longer wait is cut short, which its caller sees as one that has found nothing yet.
_MAX_WAIT: Final = 86400.0


def read_file(path: str) -> FileText | None:
    """Read a configuration file; None if there is none or it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        regular = stat.S_ISREG(status.st_mode)
        data = os.read(descriptor, _MAX_FILE) if regular else b""
    except OSError:
        return None
    finally:
        os.close(descriptor)
    # A password may be in another encoding than UTF-8: surrogateescape keeps its bytes as they are.
    mode = stat.S_IMODE(status.st_mode) if os.name == "posix" else 0o600
    return FileText(data.decode("utf-8", "surrogateescape"), mode, regular, status.st_uid)


def connector(
    dsn: str | None,
    options: ConnectOptions,
    server_settings: Mapping[str, str] | None,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Connector:
    """A Connector for a connection string and options, with this process's environment and files.

    `clock` tells monotonic time in seconds; deadlines are on it.  What was ignored (a password file that
    others can read) is a warning at the line that calls our caller: `connect` or `Pool`.

    Raises:
        ConfigError: they cannot be used.
    """
    config = parse_config(
        dsn,
        environ=os.environ,
        read_file=read_file,
        os_user=getpass.getuser,
        server_settings=server_settings,
        **options,
    )
    for text in config.warnings:
        warnings.warn(text, stacklevel=3)
    return Connector(config, clock=clock, random_bytes=os.urandom)


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


def check_peer(sock: socket.socket, host: Host, config: Config) -> None:
    """See to `requirepeer`: the server behind a unix socket must run as that user.

    Raises:
        ConnectError: it runs as somebody else.
        ConfigError: this system cannot tell.
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


def is_quiet(descriptor: int) -> bool:
    """True if nothing can be read: an idle session whose socket is readable is dead, or about to be."""
    try:
        if hasattr(select, "poll"):
            poll = select.poll()
            poll.register(descriptor, select.POLLIN)
            return not poll.poll(0)
        return not select.select([descriptor], [], [], 0)[0]
    except (OSError, ValueError):
        return False


def read_rest(descriptor: int, limit: int = 1 << 18) -> bytes:
    """What the peer had sent before a write failed: its last words are in the receive queue still."""
    data = b""
    with contextlib.suppress(OSError):
        sock = socket.socket(fileno=os.dup(descriptor))
        with sock:
            sock.setblocking(False)
            while len(data) < limit:
                more = sock.recv(65536)
                if not more:
                    break
                data += more
    return data


def wait(descriptor: int, interest: int, seconds: float | None, waker: int = -1) -> int:
    """Wait until a socket is ready.

    Args:
        descriptor: its file descriptor.
        interest: READABLE, WRITABLE, or both.
        seconds: how long at most; None for ever.
        waker: another descriptor that ends the wait when it becomes readable; -1 for none.

    Returns:
        What the socket is ready for, 0 if nothing.  A broken socket is READABLE: reading tells why.
    """
    if seconds is not None:
        seconds = min(max(seconds, 0.0), _MAX_WAIT)
    if not hasattr(select, "poll"):
        return _select(descriptor, interest, seconds, waker)
    poll = select.poll()
    wanted = select.POLLIN if interest & READABLE else 0
    poll.register(descriptor, wanted | select.POLLOUT if interest & WRITABLE else wanted)
    if waker >= 0:
        poll.register(waker, select.POLLIN)
    # Rounded up: who waits for a deadline shall find that it has passed.
    for found, events in poll.poll(math.ceil(seconds * 1000.0) if seconds is not None else None):
        if found == descriptor:
            ready = WRITABLE if events & select.POLLOUT else 0
            return ready | READABLE if events & ~select.POLLOUT else ready
    return 0


def _select(descriptor: int, interest: int, seconds: float | None, waker: int) -> int:
    """The same where there is no poll: on Windows, which reports a failed connect as "exceptional"."""
    reading = [waker] if waker >= 0 else []
    if interest & READABLE:
        reading.append(descriptor)
    writing = [descriptor] if interest & WRITABLE else []
    readable, writable, broken = select.select(reading, writing, writing, seconds)
    ready = WRITABLE if writable else 0
    return ready | READABLE if broken or descriptor in readable else ready


def pause(seconds: float) -> None:
    """Let time pass; an interrupt ends it."""
    threading.Event().wait(seconds)


class Inheritable(Protocol):
    """What holds a socket that a forked child must not use."""

    def forget(self) -> None:
        """In the child: let go of the socket without sending anything."""


_inherited: Final[weakref.WeakSet[Inheritable]] = weakref.WeakSet()


def forget_in_child(holder: Inheritable) -> None:
    """Have `holder.forget()` called in every child that this process forks.

    Two processes that write to one session garble it, and a child that says good-bye ends its parent's.
    """
    _inherited.add(holder)


def let_go(descriptor: int) -> None:
    """In a forked child: drop a socket, and leave something harmless under its number.

    Somebody may close that number later, or ask a selector that is shared with the parent to forget it.
    Neither may hit the parent's socket, or another file of the child's.
    """
    with contextlib.suppress(OSError):
        nothing = os.open(os.devnull, os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        try:
            if descriptor >= 0:
                os.dup2(nothing, descriptor, inheritable=False)
        finally:
            os.close(nothing)


def not_open(*, lent: bool) -> ConnectionClosed:
    """The error for a handle without a session.

    Args:
        lent: a pool has lent it, and has it back.
    """
    over = "the lease is over: the connection was given back to its pool"
    error = ConnectionClosed(over if lent else "the connection is not open")
    error.outcome = Outcome.NOT_SENT
    return error


def not_here(what: str) -> LocalProtocolError:
    """The error for a connection or a pool that is used in another event loop than its own.

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


def _forget_all() -> None:
    for holder in list(_inherited):
        holder.forget()
    _inherited.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
