"""The flows of LISTEN and UNLISTEN, and the check that notifications can arrive.

A pooler in transaction mode accepts LISTEN and then gives the server to another client: nothing ever arrives.
A session without names means that there is such a pooler.  Otherwise the server process is asked for its
process ID in the same round trip: if it differs from that of BackendKeyData, there is a pooler.  In session
mode all is well.  In transaction mode PgBouncer from 1.21 on gives prepared statements names of its own,
which pg_prepared_statements shows.  (Older ones need `statement_mode=cache_describe`.)
"""

from __future__ import annotations

from collections.abc import Generator

from ..errors import Error, LocalProtocolError, Outcome, RemoteProtocolError
from .batch import QueuedQuery
from .channel import Channel
from .engine import Engine
from .execution import Execution
from .listening import Listener
from .operation import Operation
from .preparing import Prepare
from .script import Script
from .segment import Segment
from .statements import Statement
from .whereabouts import PROCESS

__all__ = ["listen", "unlisten"]

_STATEMENTS = "SELECT name FROM pg_catalog.pg_prepared_statements"


class Listen(Script):
    """The LISTENs of one listener."""

    __slots__ = ("_listener",)

    def __init__(self, sql: str, listener: Listener) -> None:
        super().__init__(f"{sql}; {PROCESS}")
        self._listener = listener

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """The listener is registered: from now on a reset, an UNLISTEN or a ROLLBACK concerns it."""
        if segment.error is None:
            sealed = channel.connection.transaction_status == "I"
            depth = 0 if self.transaction is None else self.transaction.depth
            channel.listeners.confirm(self._listener, sealed=sealed, depth=depth)
        super().segment_done(channel, segment)


def listen(engine: Engine, listener: Listener) -> Generator[Operation, None, None]:
    """A flow: begin to listen.

    Raises:
        LocalProtocolError: no notification could arrive, or the listener already listens.
        Error: LISTEN failed.
    """
    channel = engine.channel
    if not channel.statements.named:
        raise _deaf(Outcome.NOT_SENT)
    script = Listen(channel.listeners.add(listener), listener)
    try:
        yield script
        key = engine.connection.backend_key
        rows = script.results[-1].rows
        if not rows:
            raise RemoteProtocolError("the server did not say which of its processes listens")
        if key is None or rows[0][0] != str(key.process_id):
            yield from _list_statements(channel, item := QueuedQuery(_STATEMENTS, ()))
            if not any(row[0].startswith(channel.statements.prefix) for row in item.rows):
                raise _deaf(Outcome.COMMITTED)
    except BaseException:
        channel.listeners.remove(listener)
        engine.stop_listening()
        raise


def _list_statements(channel: Channel, item: QueuedQuery) -> Generator[Operation, None, None]:
    """Run the item as a named statement, whatever the statement mode says."""
    item.statement = statement = Statement(item.sql, channel.statements.unique_name(), kept=True)
    try:
        yield Prepare(statement)
        yield Execution([item])
    finally:
        channel.statements.close(statement)


def unlisten(engine: Engine, listener: Listener) -> Generator[Operation, None, None]:
    """A flow: stop listening.

    Raises:
        Error: UNLISTEN failed.
    """
    sql = engine.channel.listeners.remove(listener)
    if sql:
        try:
            yield Script(sql)
        except BaseException:
            engine.stop_listening()
            raise


def _deaf(outcome: Outcome) -> Error:
    error = LocalProtocolError(
        "notifications cannot arrive through a pooler in transaction mode: connect to the server itself, or "
        "through a pooler in session mode, with statement_mode=cache_statement"
    )
    error.outcome = outcome
    return error
