"""Opening sessions and sending cancel requests: runs the core's flows with a runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Generator
from functools import partial
from typing import Final, TypeVar

from pgproto.config import AskPassword
from pgproto.errors import ConfigError, ConnectError
from pgproto.session import Accept, Connector, Dial, Engine, HangUp, Step
from pgproto.wire import BackendKeyData

from .runtime import Link, Runtime

__all__ = ["open_session", "send_cancel"]

T = TypeVar("T")

_LONG: Final = 1e8  # seconds, for loops whose clocks have limits


class _Stepper:
    """Does the steps of a flow; has the link that is open.

    Args:
        runtime: the adapter's runtime.
        connector: the connector of the flow.
        budget: seconds for each host; None for no limit.
        peer: the address to dial instead of the step's host; None to look that up.
        accept: asks about a session, until a deadline; raises if it will not do.
    """

    def __init__(
        self,
        runtime: Runtime,
        connector: Connector,
        budget: float | None,
        peer: object = None,
        accept: Callable[[Link, float], Awaitable[None]] | None = None,
    ) -> None:
        self.link: Link | None = None
        self._runtime = runtime
        self._config = connector.config
        self._budget = budget
        self._peer = peer
        self._accept = accept
        self._deadline: float | None = None

    async def run(self, flow: Generator[Step, None, T]) -> T:
        """Run a flow to its end; in any case, no link except that of its result stays open."""
        try:
            step = next(flow)
            while True:
                try:
                    await self._step(step)
                except BaseException as error:  # noqa: BLE001 - the flow decides; it ends no interrupt
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
        now = self._runtime.now
        if isinstance(step, HangUp):
            self._hang_up()
        elif isinstance(step, Dial):
            if step.fresh:
                self._deadline = None if self._budget is None else now() + self._budget
            self.link = await self._runtime.dial(step, self._config, self._deadline, self._peer)
        elif isinstance(step, Accept):
            assert self.link is not None and self._accept is not None, "a flow asks if it is told to"  # noqa: PT018
            await self._accept(self.link, now() + _LONG if self._deadline is None else self._deadline)
        else:
            assert self.link is not None, "a flow dials before anything else"
            await self.link.run(step, None if self._deadline is None else max(0.0, self._deadline - now()))

    def _hang_up(self) -> None:
        if self.link is not None:
            self.link.abort()
            self.link = None


async def open_session(
    runtime: Runtime,
    connector: Connector,
    budget: float | None,
    accept: Callable[[Link, float], Awaitable[None]] | None = None,
) -> Link:
    """Connect; return the link of a session that is ready for queries and for cancel requests.

    Args:
        runtime: the adapter's runtime.
        connector: the connector.
        budget: seconds for each host; None for no limit.
        accept: asks about each session, until a deadline; raises a ConnectError if it will not do.

    Raises:
        ConnectError: no server accepted.
        ConfigError: a file of the configuration cannot be used.
    """
    ask = connector.config.ask_password
    password = None if ask is None else await _asked(runtime, ask, budget)

    def can_cancel(link: Link) -> Link:
        link.send_cancel = partial(send_cancel, runtime, connector, link.engine, link.peer)
        return link

    async def asked(link: Link, deadline: float) -> None:
        assert accept is not None, "the flow asks if it is told to"
        await accept(can_cancel(link), deadline)

    stepper = _Stepper(runtime, connector, budget, accept=asked)
    await stepper.run(connector.connect(password, accepting=accept is not None))
    assert stepper.link is not None, "a flow that has not failed has a session"
    return can_cancel(stepper.link)


async def _asked(runtime: Runtime, ask: AskPassword, budget: float | None) -> str:
    """The password for a new connection, in the time for one host.  No text shows what the function says."""
    bound = runtime.bound(runtime.now() + (_LONG if budget is None else budget))
    try:
        answer: object = await runtime.ask(ask, bound)
    except TimeoutError as error:
        raise ConnectError("password: the function gave no answer in time") from error
    except Exception as error:
        raise ConnectError(f"password: the function raised {type(error).__name__}") from error
    if not isinstance(answer, str):
        raise ConfigError(f"password: the function must return a str, not {type(answer).__name__}")
    return answer


async def send_cancel(
    runtime: Runtime, connector: Connector, engine: Engine, peer: object, key: BackendKeyData, budget: float
) -> bool:
    """Send a cancel request for a session: best effort; False if it was not delivered.

    Args:
        runtime: the adapter's runtime.
        connector: the connector of the session.
        engine: the session.
        peer: the session's address; a new look-up could find another server.
        key: the session's cancel key.
        budget: seconds that it may take.
    """
    with contextlib.suppress(Exception):  # if it fails, GRACE ends the query
        await _Stepper(runtime, connector, budget, peer).run(connector.cancel(engine, key))
        return True
    return False
