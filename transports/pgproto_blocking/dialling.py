"""Opening a socket: look the host up, then try one address after the other.

Every wait is within the host's time budget.  The look-up is done in a thread, because the system's resolver
has no timeout.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from functools import partial
from typing import Final

from pgproto import ConnectError
from pgproto.config import Config, Host
from pgproto.session import Dial
from pgproto_sockets import options, peer, readiness

from . import stops, threads
from .stops import Stop
from .transport import Address, Transport

__all__ = ["dial"]

_IN_PROGRESS: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR, errno.EALREADY})
_RETRY_DELAY: Final = 0.01  # seconds; there is no way to wait for a unix socket whose backlog is full


def dial(step: Dial, config: Config, deadline: float | None, address: object) -> Transport:
    """Open the transport that a step asks for, at the first of the host's addresses that answers.

    Args:
        step: the host and the engine.
        config: the configuration.
        deadline: when to give up; None for never.
        address: the address to connect to; None to look up the host.

    Raises:
        ConnectError, OSError: the transport could not be opened.
    """
    stop = stops.current()
    addresses = [address] if isinstance(address, Address) else _addresses(step.host, deadline, stop)
    errors: list[Exception] = []
    for index, found in enumerate(addresses):
        left = _left(deadline, stop)
        # A share of the time for each address, so that a silent one leaves time for the others.
        patience = None if left is None else left / (len(addresses) - index)
        try:
            sock = _connect(step.host, config, found, patience, stop)
            transport = Transport(step.engine, sock, found, options.Patience.with_peer(sock, config))
            stop.ends(transport.abort)
            return transport
        except (OSError, ConnectError) as error:
            errors.append(error)
    if len(errors) == 1:
        raise errors[0]
    late = next((error.__cause__ for error in errors if isinstance(error.__cause__, TimeoutError)), None)
    raise ConnectError("; ".join(dict.fromkeys(str(error) for error in errors)), errors) from late


def _left(deadline: float | None, stop: Stop) -> float | None:
    if stop.asked:
        raise ConnectError("the connection attempt was given up")
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def _connect(
    host: Host, config: Config, address: Address, patience: float | None, stop: Stop
) -> socket.socket:
    deadline = None if patience is None else time.monotonic() + patience
    family, target = address
    sock = socket.socket(family, socket.SOCK_STREAM)
    stop.ends(partial(_shut, sock))
    try:
        sock.setblocking(False)
        options.configure_socket(sock, config)
        code = sock.connect_ex(target)
        while code:
            left = None if deadline is None else deadline - time.monotonic()
            if stop.asked or (left is not None and left <= 0):
                raise ConnectError(f"no answer from {host} in time") from TimeoutError()
            if code == errno.EAGAIN and host.is_unix:
                readiness.pause(_RETRY_DELAY if left is None else min(_RETRY_DELAY, left))
                code = sock.connect_ex(target)
            elif code not in _IN_PROGRESS:
                raise OSError(code, os.strerror(code))
            elif readiness.wait(sock.fileno(), readiness.WRITABLE, left):
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not code:
                    break
        peer.check_peer(sock, host, config)
    except BaseException:
        sock.close()
        raise
    finally:
        stop.ends(None)
    return sock


def _shut(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)


def _addresses(host: Host, deadline: float | None, stop: Stop) -> list[Address]:
    """The addresses of a host; a name is looked up."""
    if host.is_unix:
        return [Address(socket.AF_UNIX, host.unix_path)]
    try:
        return _look_up(host, socket.AI_NUMERICHOST)
    except socket.gaierror:
        pass
    found: list[Address] = []
    failed: list[OSError | UnicodeError] = []
    looking = threads.new_waiter()

    def look_up() -> None:
        try:
            found.extend(_look_up(host, 0))
        except (OSError, UnicodeError) as error:
            failed.append(error)
        finally:
            threads.wake(looking)

    stop.ends(partial(threads.wake, looking))
    threads.start(threading.Thread(target=look_up, name=f"look up {host}", daemon=True))
    left = _left(deadline, stop)
    if not looking.acquire(timeout=-1.0 if left is None else min(left, threading.TIMEOUT_MAX)):
        raise ConnectError(f"the name of {host} could not be looked up in time") from TimeoutError()
    _left(deadline, stop)
    if failed:
        raise failed[0]
    return found


def _look_up(host: Host, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(Address(family, address) for family, _, _, _, address in found))
