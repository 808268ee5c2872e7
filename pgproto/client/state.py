"""What a session is: its server, its state, and what is there while somebody else runs statements on it."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Final

from pgproto.config import Config
from pgproto.errors import ConnectError
from pgproto.session import Connector, Engine
from pgproto.session.deadlines import DEFAULT, Timeout, limit

from . import refusals
from .noticed import Notices
from .runtime import Link, Runtime
from .unique import Unique

__all__ = ["State"]

_CANCELLING: Final = 5.0  # seconds for a cancel request
_LONG: Final = 1e8  # seconds, for loops whose clocks have limits


class State(Unique):
    """The part of a `Connection` that runs no statement.

    Args:
        runtime: the runtime of its adapter.
        connector: makes the session.
        lender: the pool's connection, for a handle that is lent; else None.
    """

    _link: Link | None = None
    _borrower: weakref.ref[Any] | None = None
    _opened_at = 0.0
    _notices: Notices | None = None

    def __init__(self, runtime: Runtime, connector: Connector, lender: State | None) -> None:
        self.runtime = runtime
        """The runtime of its adapter."""
        self._connector = connector
        self._lender: Any = lender
        self.data: dict[Any, Any] = {} if lender is None else lender.data
        """A dict for the caller's own use, which lives as long as the session.

        All handles of a session that a pool lends have the same one, and so have hooks; a reset keeps it.
        """

    @property
    def engine(self) -> Engine:
        """The engine of the session."""
        link = self._link
        if link is None:
            raise refusals.not_open(lent=self._lender is not None)
        return link.engine

    @property
    def link(self) -> Link:
        """The transport of the session.

        Raises:
            ConnectionClosed: it is not open, or it belongs to the parent process.
            LocalProtocolError: it belongs to another event loop, or is a pool's, which has lent it.
        """
        link = self._link
        if link is None:
            raise refusals.not_open(lent=self._lender is not None)
        if self._borrower is not None:  # a hook has kept it
            raise refusals.lent()
        link.check_here()
        return link

    @property
    def config(self) -> Config:
        """The configuration with which it was connected."""
        return self._connector.config

    @property
    def closed(self) -> bool:
        """True once nothing can be submitted any more."""
        return self._link is None or self._link.shut

    @property
    def transaction_status(self) -> str:
        """The status of the last ReadyForQuery: "I" idle, "T" in a transaction block, "E" in a failed one."""
        return self.engine.transaction_status

    @property
    def parameters(self) -> Mapping[str, str]:
        """The server's parameters as reported (`server_version`, `TimeZone`, ...)."""
        return self.engine.parameters

    @property
    def pid(self) -> int:
        """The process ID of the server process; 0 if it is not known."""
        key = self.engine.connection.backend_key
        return key.process_id if key is not None else 0

    @property
    def notices(self) -> Notices:
        """The listeners for notices: `conn.notices.add(callback)`; they are called after `on_notice`.

        As with that, those of a handle that a pool has lent end with the lease, and those that `on_connect`
        has added stay; so are their exceptions reported.
        """
        if self._notices is None:
            self.__dict__.setdefault("_notices", Notices())  # another thread may do so, too
        assert self._notices is not None
        return self._notices

    @property
    def idle_for(self) -> float:
        """Seconds since the server's last answer to a statement, or since it was opened; 0 while one runs.

        Raises:
            ConnectionClosed: it is not open.
        """
        engine = self.engine
        if engine.running is not None:
            return 0.0
        answered = (self._lender or self)._opened_at if engine.answered is None else engine.answered
        return max(0.0, engine.clock() - answered)

    async def cancel(self, *, timeout: Timeout = DEFAULT) -> bool:
        """Cancel the statement that runs on this connection now: for another task than the one that waits.

        That one gets `QueryCanceled` (57014), unless the statement ends before the request arrives.  It goes
        to the session's own address, with TLS if the session has it.  Until it is delivered nothing new is
        sent on this connection, so it hits no later statement.

        Args:
            timeout: seconds for the request, 5 by default; None for no limit.

        Returns:
            True if there was something to cancel; False if nothing runs.

        Raises:
            ConnectError: the request could not be delivered in that time.
            ConnectionClosed: the connection is not open, or its lease is over.
        """
        time = limit(timeout, _CANCELLING)
        link = self.link
        engine = link.engine
        engine.check_open()
        running = engine.running is not None
        delivered = await link.cancel(_LONG if time is None else max(0.0, time))
        if delivered is False:
            raise ConnectError("the cancel request could not be delivered in time")
        return delivered is not None or running
