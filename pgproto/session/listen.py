"""LISTEN as a conversation: what is sent, and how it is known that notifications can arrive.

A pooler in transaction mode takes LISTEN without a word, and gives the server to somebody else: nothing ever
arrives.  `named_statements=False` says that there is one.  Otherwise the server process is asked for its
number, in the same round trip: another one than the start-up told belongs to a pooler.  In session mode all
is well; in transaction mode PgBouncer from 1.21 on gives prepared statements names of its own, which the
server's list of them shows.  (Before, its transaction mode needs `named_statements=False`.)
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
        """From here on a reset, an UNLISTEN or a ROLLBACK concerns it."""
        if segment.error is None:
            sealed = channel.connection.transaction_status == "I"
            depth = 0 if self.transaction is None else self.transaction.depth
            channel.listeners.confirm(self._listener, sealed=sealed, depth=depth)
        super().segment_done(channel, segment)


def listen(engine: Engine, listener: Listener) -> Generator[Operation, None, None]:
    """A flow: begin to listen.

    Raises:
        LocalProtocolError: no notification could arrive, or it listens already.
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
    """Run the item by a name of our own, whether statements get one or not."""
    item.statement = statement = Statement(item.sql, channel.statements.unique_name(), kept=True)
    try:
        yield Prepare(statement)
        yield Execution([item])
    finally:
        channel.statements.close(statement)


def unlisten(engine: Engine, listener: Listener) -> Generator[Operation, None, None]:
    """A flow: listen no more.

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
        "through a pooler in session mode and without named_statements=False"
    )
    error.outcome = outcome
    return error
