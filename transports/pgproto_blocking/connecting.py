"""Opening sessions and cancelling queries: the core's flows, with blocking code doing the steps.

Every wait has the host's time budget: the look-up of its name too, which is done by a thread because the
system's resolver cannot be told how long it may take.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
import time
from collections.abc import Generator
from typing import Final, TypeVar

from pgproto import ConnectError
from pgproto.config import Host
from pgproto.session import GRACE, Connector, Dial, Engine, HangUp, Step
from pgproto.wire import BackendKeyData
from pgproto_sockets import options, peer, readiness

from . import threads
from .transport import Address, Transport

__all__ = ["Opening", "cancel", "cancel_running"]

T = TypeVar("T")

_IN_PROGRESS: Final = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EINTR, errno.EALREADY})
_RETRY_DELAY: Final = 0.01  # seconds; a unix socket whose backlog is full cannot be waited for


class Opening:
    """Does the steps of a flow; holds the transport that is open.

    Args:
        connector: how to connect.
        budget: seconds for each host; None for no limit.
        address: where to connect to instead of looking up the host.
    """

    def __init__(self, connector: Connector, budget: float | None, address: Address | None = None) -> None:
        self._connector = connector
        self._budget = budget
        self._address = address
        self._transport: Transport | None = None
        self._dialing: socket.socket | None = None
        self._deadline: float | None = None
        self._aborted = False
        self._looking: threading.Lock | None = None

    def session(self) -> Transport:
        """Connect; the transport of a session that is ready for queries.

        Raises:
            ConnectError: no server would do.
            ConfigError: a file of the configuration cannot be used.
        """
        self.run(self._connector.connect())
        if self._transport is None:
            raise ConnectError("the connection was closed")
        return self._transport

    def run(self, flow: Generator[Step, None, T]) -> T:
        """Run a flow to its end; whatever happens, no transport but the flow's result stays open."""
        try:
            step = next(flow)
            while True:
                try:
                    self._step(step)
                except Exception as error:  # noqa: BLE001 - the flow decides
                    step = flow.throw(error)
                else:
                    step = flow.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except BaseException:
            self._hang_up()
            raise

    def abort(self) -> None:
        """Another thread does not want the session any more: fail soon."""
        self._aborted = True
        looking, dialing, transport = self._looking, self._dialing, self._transport
        if looking is not None:
            threads.wake(looking)
        if dialing is not None:
            with contextlib.suppress(OSError):
                dialing.shutdown(socket.SHUT_RDWR)
        if transport is not None:
            transport.abort()

    def _step(self, step: Step) -> None:
        if isinstance(step, HangUp):
            self._hang_up()
        elif isinstance(step, Dial):
            if step.fresh:
                self._deadline = None if self._budget is None else time.monotonic() + self._budget
            self._dial(step)
        elif self._transport is not None:
            self._transport.run(step, self._left())

    def _hang_up(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.close(0.0)

    def _left(self) -> float | None:
        if self._aborted:
            raise ConnectError("the connection attempt was given up")
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())

    # ---- Dialling

    def _dial(self, step: Dial) -> None:
        """Open the transport that a step asks for, at the first of the host's addresses that answers."""
        addresses = [self._address] if self._address is not None else self._addresses(step.host)
        errors: list[Exception] = []
        for index, address in enumerate(addresses):
            left = self._left()
            # One silent address leaves the others their share.
            patience = None if left is None else left / (len(addresses) - index)
            try:
                sock = self._connect(step.host, address, patience)
                config = self._connector.config
                self._transport = Transport(
                    step.engine, sock, address, options.Patience.with_peer(sock, config)
                )
                return
            except (OSError, ConnectError) as error:
                errors.append(error)
        if len(errors) == 1:
            raise errors[0]
        late = next((error.__cause__ for error in errors if isinstance(error.__cause__, TimeoutError)), None)
        raise ConnectError("; ".join(dict.fromkeys(str(error) for error in errors)), errors) from late

    def _connect(self, host: Host, address: Address, patience: float | None) -> socket.socket:
        deadline = None if patience is None else time.monotonic() + patience
        family, target = address
        sock = socket.socket(family, socket.SOCK_STREAM)
        self._dialing = sock
        try:
            sock.setblocking(False)
            options.configure_socket(sock, self._connector.config)
            code = sock.connect_ex(target)
            while code:
                left = None if deadline is None else deadline - time.monotonic()
                if self._aborted or (left is not None and left <= 0):
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
            peer.check_peer(sock, host, self._connector.config)
        except BaseException:
            sock.close()
            raise
        finally:
            self._dialing = None
        return sock

    def _addresses(self, host: Host) -> list[Address]:
        """The addresses of a host; its name is looked up if it is one."""
        if host.is_unix:
            return [(socket.AF_UNIX, host.unix_path)]
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

        self._looking = looking
        threads.start(threading.Thread(target=look_up, name=f"look up {host}", daemon=True))
        left = self._left()
        if not looking.acquire(timeout=-1.0 if left is None else min(left, threading.TIMEOUT_MAX)):
            raise ConnectError(f"the name of {host} could not be looked up in time") from TimeoutError()
        self._left()
        if failed:
            raise failed[0]
        return found


def _look_up(host: Host, flags: int) -> list[Address]:
    found = socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys((family, address) for family, _, _, _, address in found))


def cancel(connector: Connector, engine: Engine, address: Address) -> None:
    """Send the cancel request that the engine wants, to the very server of its session.

    Best effort, and within half of GRACE: the other half is for the answer to the cancelled query.
    """
    key = engine.take_cancel()
    if key is None:
        return
    try:
        cancel_running(connector, engine, address, key)
    finally:
        engine.cancel_done()


def cancel_running(connector: Connector, engine: Engine, address: Address, key: BackendKeyData) -> None:
    """Send a cancel request for what a session runs, as `cancel` does."""
    with contextlib.suppress(Exception):  # a query that cannot be cancelled runs into GRACE
        Opening(connector, GRACE / 2, address).run(connector.cancel(engine, key))
