"""Opening sessions and cancelling queries: the core's flows, with asyncio doing the steps."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Generator
from typing import TypeVar

from pgproto import ConnectError
from pgproto.config import Config
from pgproto.session import GRACE, Connector, Dial, Engine, HangUp, Step
from pgproto.wire import BackendKeyData
from pgproto_sockets import options, peer

from .transport import Transport

__all__ = ["cancel", "cancel_running", "open_session"]

T = TypeVar("T")


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
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - the flow decides
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
        loop = asyncio.get_running_loop()
        if isinstance(step, HangUp):
            self._hang_up()
        elif isinstance(step, Dial):
            if step.fresh:
                self._deadline = None if self._budget is None else loop.time() + self._budget
            self.transport = await _dial(step, self._config, self._deadline)
        elif self.transport is not None:
            deadline = self._deadline
            timeout = None if deadline is None else max(0.0, deadline - loop.time())
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
    """Send the cancel request that the engine wants, within GRACE; best effort, never raises."""
    key = engine.take_cancel()
    if key is None:
        return
    try:
        await cancel_running(connector, engine, key)
    finally:
        engine.cancel_done()


async def cancel_running(connector: Connector, engine: Engine, key: BackendKeyData) -> None:
    """Send a cancel request for what a session runs, within GRACE; best effort, never raises."""
    with contextlib.suppress(Exception):  # a query that cannot be cancelled runs into GRACE
        await _Stepper(connector.config, GRACE).run(connector.cancel(engine, key))


async def _dial(step: Dial, config: Config, deadline: float | None) -> Transport:
    """Open the transport that a step asks for."""
    loop = asyncio.get_running_loop()
    host = step.host

    def protocol() -> Transport:
        return Transport(step.engine)

    try:
        async with asyncio.timeout_at(deadline):
            if host.is_unix:
                made, transport = await loop.create_unix_connection(protocol, host.unix_path)
            else:
                made, transport = await loop.create_connection(protocol, host.address, host.port)
    except TimeoutError as error:
        raise ConnectError(f"no answer from {host} in time") from error
    sock = made.get_extra_info("socket")
    if sock is not None:
        try:
            options.configure_socket(sock, config)
            peer.check_peer(sock, host, config)
            transport.patience = options.Patience.with_peer(sock, config)
        except BaseException:
            transport.abort()
            raise
    return transport
