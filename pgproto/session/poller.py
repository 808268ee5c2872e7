"""Connecting and cancelling without blocking: runs the flows of a `Connector` by polling.

The counterpart of libpq's PQconnectPoll and PQcancelPoll, but without sockets: `poll` returns what to wait
for or to do, and the caller does it with transports of its own and reports the result.

    poller = Poller(connector.connect(), clock=time.monotonic, timeout=10)
    while (wish := poller.poll()) != DONE:
        if wish == DIAL:       # open a transport to poller.host, then: poller.dialled(), or dialled(error)
        elif wish == HANG_UP:  # close it (it may not have opened yet), then: poller.hung_up()
        elif wish == WRITE:    # when it is writable: poller.engine.data_to_send(), .data_sent(count)
        elif wish == READ:     # when it is readable: poller.engine.receive_data(data), or .receive_eof()
    engine = poller.result()

Wait at most until `next_deadline`, and poll again then.  If the transport fails, call `transport_failed` or
`write_failed` of the engine.  Manual: "Database Connection Control Functions" (libpq).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Final

from ..config import Host
from ..errors import ConnectError, ConnectionClosed, LocalProtocolError
from .connect import Accept, Dial, HangUp, Step
from .engine import Engine
from .operation import Operation
from .startup import Startup

__all__ = ["DIAL", "DONE", "HANG_UP", "READ", "WRITE", "Poller"]

DONE: Final = 0
"""The flow has ended: `Poller.result` returns its result or raises its error."""
READ: Final = 1
"""Wait until the transport can be read."""
WRITE: Final = 2
"""Wait until the transport can be written."""
DIAL: Final = 3
"""Open a transport to `Poller.host`."""
HANG_UP: Final = 4
"""Close the transport."""


class Poller:
    """A flow that is run by polling.

    Args:
        flow: from `Connector.connect()` or `Connector.cancel()`.
        clock: returns monotonic time in seconds, as for the connector.
        timeout: seconds for each host, as `Config.connect_timeout`; None for no limit.
    """

    __slots__ = (
        "_clock",
        "_deadline",
        "_error",
        "_flow",
        "_result",
        "_startup",
        "_step",
        "_timeout",
        "engine",
        "host",
    )

    def __init__(
        self,
        flow: Generator[Step, None, Engine | None],
        *,
        clock: Callable[[], float],
        timeout: float | None = None,
    ) -> None:
        self._flow = flow
        self._clock = clock
        self._timeout = timeout
        self._deadline: float | None = None
        self._step: Dial | HangUp | Operation | None = None
        self._error: BaseException | None = None
        self._result: Engine | None = None
        self._startup: Startup | None = None
        self.engine: Engine | None = None
        """The engine for the transport that is to be opened, is open, or is to be closed."""
        self.host: Host | None = None
        """The host of that transport."""
        self._go_on(None)

    def poll(self) -> int:
        """The next thing to do: DIAL, HANG_UP, READ, WRITE or DONE; the same until it was done.

        It computes SCRAM proofs, which takes some milliseconds.
        """
        while True:
            step, engine = self._step, self.engine
            if step is None or engine is None:
                return DONE
            if isinstance(step, HangUp):
                return HANG_UP
            if isinstance(step, Dial):
                if self._deadline is None or self._clock() < self._deadline:
                    return DIAL
                late = ConnectError(f"no answer from {step.host} in time")
                late.__cause__ = TimeoutError()
                self._go_on(late)
                continue
            engine.tick()
            work = step.take_work()
            if work is not None:
                work()
                engine.resume()
            if not step.finished:
                return WRITE if engine.data_to_send() else READ
            self._go_on(step.error)

    def dialled(self, error: Exception | None = None) -> None:
        """The transport is open, or could not be opened.

        Args:
            error: the reason if it could not: an OSError or a ConnectError.

        Raises:
            LocalProtocolError: `poll` did not ask for it.
        """
        if not isinstance(self._step, Dial):
            raise LocalProtocolError("nothing is to be dialled")
        self._go_on(error)

    def hung_up(self) -> None:
        """The transport is closed.

        Raises:
            LocalProtocolError: `poll` did not ask for it.
        """
        if not isinstance(self._step, HangUp):
            raise LocalProtocolError("nothing is to be hung up")
        self._go_on(None)

    @property
    def password_asked(self) -> bool:
        """True if the last server that was reached has asked for a password.

        If one was given, it was used; else `result` raises ConfigError.
        """
        return self._startup is not None and self._startup.password_asked

    def next_deadline(self) -> float | None:
        """The latest time to call `poll`, in seconds of the clock; None for never."""
        if isinstance(self._step, Dial):
            return self._deadline
        if self._step is None or self.engine is None:
            return None
        return self.engine.next_deadline()

    def close(self) -> None:
        """Give up the flow: `poll` returns DONE; close the transport.  Idempotent."""
        if self._step is not None and self.engine is not None:
            self._step = None
            self._error = ConnectionClosed("the attempt was given up")
            self._flow.close()
            self.engine.close()

    def result(self) -> Engine | None:
        """The flow's result: the engine of a session that is ready, or None for a cancel request.

        Raises:
            ConnectError: no host accepted.
            ConfigError: a file or password of the configuration cannot be used.
            ConnectionClosed: the flow was given up.
            LocalProtocolError: the flow has not ended yet.
        """
        if self._step is not None:
            raise LocalProtocolError("the flow has not ended: poll it")
        if self._error is not None:
            raise self._error
        return self._result

    def _go_on(self, error: BaseException | None) -> None:
        """The step is done: run the flow to its next step that has to wait."""
        while True:
            try:
                step = self._flow.send(None) if error is None else self._flow.throw(error)
            except StopIteration as stop:
                result = stop.value
                self._result = result if isinstance(result, Engine) else None
                self._step = None
                return
            except Exception as raised:  # noqa: BLE001 - `result` raises it
                self._error = raised
                self._step = None
                return
            assert not isinstance(step, Accept), "it did not ask for that"
            self._step = step
            if not isinstance(step, Operation):
                self._turn_to(step)
                return
            error = self._begin(step)
            if error is None:
                return

    def _turn_to(self, step: Dial | HangUp) -> None:
        self.engine = step.engine
        if isinstance(step, Dial):
            self.host = step.host
            if step.fresh:
                self._deadline = None if self._timeout is None else self._clock() + self._timeout

    def _begin(self, operation: Operation) -> Exception | None:
        """Start an operation; return the error if it was refused."""
        assert self.engine is not None  # a Dial came first
        operation.deadline = self._deadline
        if isinstance(operation, Startup):
            self._startup = operation
        try:
            self.engine.submit(operation)
        except Exception as refused:  # noqa: BLE001 - the flow decides
            return refused
        return None
