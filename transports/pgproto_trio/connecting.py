"""Opening sessions and cancelling queries: the core's flows, with trio doing the steps."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
from collections.abc import Generator
from typing import TypeVar

import trio

from pgproto import ConnectError
from pgproto.config import Config, Host
from pgproto.session import GRACE, Connector, Dial, Engine, HangUp, Step
from pgproto.wire import BackendKeyData
from pgproto_sockets import options, peer

from .transport import Transport

__all__ = ["cancel", "cancel_running", "open_session"]

T = TypeVar("T")

Address = str | tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]


class _Stepper:
    """Does the steps of a flow; holds the transport that is open."""

    def __init__(self, config: Config, budget: float | None) -> None:
        self.transport: Transport | None = None
        self._config = config
        self._budget = budget
        self._deadline: float | None = None

    async def run(self, flow: Generator[Step, None, T]) -> T:
        """Run a flow to its end; whatever happens, no transport but the flow's result stays open."""
        try:
            step = next(flow)
            while True:
                try:
                    await self._step(step)
                except BaseException as error:  # noqa: BLE001 - the flow decides; it never ends a Cancelled
                    step = flow.throw(error)
                else:
                    step = flow.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except BaseException:
            self._hang_up()
            raise

    async def _step(self, step: Step) -> None:
        if isinstance(step, HangUp):
            self._hang_up()
        elif isinstance(step, Dial):
            if step.fresh:
                self._deadline = None if self._budget is None else trio.current_time() + self._budget
            self.transport = await _dial(step, self._config, self._deadline)
        elif self.transport is not None:
            deadline = self._deadline
            timeout = None if deadline is None else max(0.0, deadline - trio.current_time())
            await self.transport.run(step, timeout)

    def _hang_up(self) -> None:
        if self.transport is not None:
            self.transport.abort()
            self.transport = None


async def open_session(connector: Connector, budget: float | None) -> Transport:
    """Connect; the transport of a session that is ready for queries.

    Args:
        connector: how to connect.
        budget: seconds for each host; None for no limit.

    Raises:
        ConnectError: no server would do.
        ConfigError: a file of the configuration cannot be used.
    """
    stepper = _Stepper(connector.config, budget)
    await stepper.run(connector.connect())
    transport = stepper.transport
    if transport is None:
        raise ConnectError("the connection was closed")
    return transport


async def cancel(connector: Connector, engine: Engine) -> None:
    """Send the cancel request that the engine wants, within GRACE; best effort, raises only Cancelled."""
    key = engine.take_cancel()
    if key is None:
        return
    try:
        await cancel_running(connector, engine, key)
    finally:
        engine.cancel_done()


async def cancel_running(connector: Connector, engine: Engine, key: BackendKeyData) -> None:
    """Send a cancel request for what a session runs, within GRACE; best effort, raises only Cancelled."""
    with contextlib.suppress(Exception):  # a query that cannot be cancelled runs into GRACE
        await _Stepper(connector.config, GRACE).run(connector.cancel(engine, key))


async def _dial(step: Dial, config: Config, deadline: float | None) -> Transport:
    """Open the transport that a step asks for."""
    host = step.host
    with trio.move_on_at(math.inf if deadline is None else deadline):
        sock = await _connect(host, deadline)
        try:
            options.configure_socket(sock, config)
            peer.check_peer(sock, host, config)
        except BaseException:
            sock.close()
            raise
        return Transport(sock, step.engine, options.Patience.with_peer(sock, config))
    raise ConnectError(f"no answer from {host} in time") from TimeoutError()


async def _connect(host: Host, deadline: float | None) -> socket.socket:
    """A connected socket: the host's addresses in order, each with its share of the time that is left."""
    if host.is_unix:
        return await _connect_to(socket.AF_UNIX, host.unix_path)
    found = await trio.socket.getaddrinfo(host.address, host.port, type=socket.SOCK_STREAM)
    failures: list[str] = []
    late: TimeoutError | None = None
    for index, (family, _, _, _, address) in enumerate(found):
        now = trio.current_time()
        share = math.inf if deadline is None else (deadline - now) / (len(found) - index)
        with trio.move_on_after(max(0.0, share)) as scope:
            try:
                return await _connect_to(family, address)
            except OSError as error:
                if len(found) == 1:
                    raise
                failures.append(f"{address[0]}: {error}")
        if scope.cancelled_caught:
            late = TimeoutError("no answer in time")
            failures.append(f"{address[0]}: {late}")
    raise OSError("; ".join(failures) or "the host has no address") from late


async def _connect_to(family: int, address: Address) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(address)
            await trio.lowlevel.checkpoint()
        except BlockingIOError as error:
            if error.errno == errno.EAGAIN and family not in (socket.AF_INET, socket.AF_INET6):
                raise OSError(errno.EAGAIN, "the server's queue of new connections is full") from error
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, os.strerror(code)) from None
    except BaseException:
        sock.close()
        raise
    return sock
