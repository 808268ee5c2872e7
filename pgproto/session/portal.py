"""Portals: the rows of a statement, fetched piece by piece, with other statements in between.

A portal that has a name lives until its transaction ends (manual, "Extended Query").  Execute with a row
limit suspends it, and the next Execute goes on.  So the session is free between two fetches, the server
computes only what is fetched, and leaving early needs no cancel request: the portal is closed with the next
requests.

Each fetch is an operation of its own.  The first one prepares the statement and binds it.  The statement is
held as long as the portal, because closing a statement closes its portals.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

from ..errors import DataError, Outcome, not_sent
from ..protocol import DataRows
from ..types import RowDecoder
from ..wire import Execute, Message, PortalSuspended
from ..wire.binding import BindTemplate
from .batch import QueuedQuery
from .blocks import Block
from .channel import Channel
from .engine import Engine
from .execution import Execution
from .segment import Segment
from .statements import Statement

__all__ = ["Fetch", "Portal", "in_block"]

_NUMBERS: Final = itertools.count(1)

_NO_TRANSACTION: Final = (
    "a cursor lives in a transaction: enter `conn.transaction()` first, or read with `stream` or `fetch`"
)
_BLOCK_OVER: Final = "the transaction block in which the cursor or stream was opened has ended"
_LEFT: Final = "the cursor is closed"


class Portal:
    """A statement whose rows are fetched piece by piece.

    Args:
        item: the statement with its values.

    Attributes:
        name: its name on the server, also for SQL: `MOVE 10 IN "name"`.
        item: the item of the first fetch; its decoder is that of all rows.
        statement: its statement, which it holds from the first fetch on.
        bound: the server has it.
        given: the number of rows that were fetched.
        done: all rows were fetched.
        closed: nothing more can be fetched.
    """

    __slots__ = ("_block", "_left", "bound", "closed", "done", "given", "item", "name", "statement")

    def __init__(self, item: QueuedQuery[Any]) -> None:
        self.item = item
        self.name = f"pgproto_{next(_NUMBERS)}"
        self.given = 0
        self.done = False
        self.closed = False
        self.bound = False
        self._block: Block | None = None
        self._left: list[Callable[[Channel], str]] | None = None  # the channel's
        self.statement: Statement | None = None

    @property
    def begun(self) -> bool:
        """True once rows were asked for."""
        return self._left is not None

    def fetch(self, engine: Engine, limit: int) -> Fetch:
        """The operation that fetches the next rows; submit it at once, and only one at a time.

        Args:
            engine: the session's.
            limit: how many rows at most; at least 1.

        Raises:
            LocalProtocolError: no transaction is open, or the cursor or its block has ended; NOT_SENT.
        """
        self.check(engine)
        if self.statement is None:
            blocks = engine.blocks.open
            self._block = blocks[-1] if blocks else None
            self._left = engine.channel.left
        return Fetch(self, limit)

    def check(self, engine: Engine) -> None:
        """Raise LocalProtocolError, with the outcome NOT_SENT, if nothing can be fetched now."""
        problem = ""
        if self.closed:
            problem = _LEFT
        elif self._block is not None and self._block.ended:
            problem = _BLOCK_OVER
        elif not in_block(engine):
            problem = _NO_TRANSACTION
        if problem:
            raise not_sent(problem)

    def hold(self, statement: Statement) -> None:
        """It is about to be bound to this statement."""
        assert self.statement is None  # in a block nothing runs a second time
        self.statement = statement
        statement.users += 1
        if self.closed and self._left is not None:  # while its first fetch was waiting for its turn
            self._left.append(self._let_go)

    def close(self) -> None:
        """Close it on the server with the next requests.  Idempotent; from any thread."""
        if not self.closed:
            self.closed = True
            if self.statement is not None and self._left is not None:
                self._left.append(self._let_go)

    def _let_go(self, channel: Channel) -> str:
        """Release the statement; the portal's name, if the server may still have it, else ""."""
        statement, self.statement = self.statement, None
        assert statement is not None  # `close` has seen it, and comes here once
        channel.statements.release(statement)
        return "" if self._block is not None and self._block.ended else self.name


class _Rest(QueuedQuery[Any]):
    """The item of a fetch that goes on: its rows are the portal's, whatever becomes of the statement."""

    def __init__(self, first: QueuedQuery[Any], statement: Statement) -> None:
        super().__init__(first.sql, (), statement)
        self.into = first.into
        self.decoder = first.decoder
        self.parameters = b""

    def reading(self, statement: Statement) -> RowDecoder:
        """What decodes its rows."""
        return self.decoder if self.into is None else self.decoder.values_only()


class Fetch(Execution):
    """Fetch rows of a portal; made by `Portal.fetch`.

    Attributes:
        portal: the portal.
        size: the number of bytes of the rows that have arrived.
    """

    __slots__ = ("_limit", "_suspended", "portal", "size")

    def __init__(self, portal: Portal, limit: int) -> None:
        statement = portal.statement if portal.bound else None
        super().__init__([portal.item if statement is None else _Rest(portal.item, statement)])
        self.portal = portal
        self.size = 0
        self._limit = limit
        self._suspended = False
        self._encoded = statement is not None

    def take(self) -> tuple[list[Any], DataError | None]:
        """The rows, as `into` wants them, and the error for the row that ended them.

        Call it in the caller's own task, because it may run the caller's code.
        """
        item = self.items[0]
        rows, item.rows = item.rows, []
        before = self.portal.given
        self.portal.given += len(rows)
        return item.made(rows, before)

    def template(self, statement: Statement) -> BindTemplate:
        """The constant parts of the Bind, to a portal with a name, and of an Execute with a row limit."""
        portal = self.portal
        portal.hold(statement)
        formats = statement.encoder.formats
        return BindTemplate(statement.name, formats, statement.result_formats, portal.name, self._limit)

    def _write_next(self, channel: Channel) -> None:
        if not self.portal.bound:
            super()._write_next(channel)
            return
        segment = channel.open(self, 0)
        channel.preamble(segment)
        statement = self.items[0].statement
        assert statement is not None
        segment.plain = statement.plain
        channel.write(Execute(self.portal.name, self._limit))
        self.begun = True
        self._segment = segment
        self._next = segment.last = 1

    def take_rows(self, channel: Channel, item: QueuedQuery, event: DataRows) -> None:
        """Decode a run of rows."""
        self.size += event.end - event.start
        super().take_rows(channel, item, event)

    def result(self) -> tuple[str, int, Outcome | None]:
        """The rows that were fetched; there is a tag only at the end of the portal."""
        item = self.items[0]
        return item.tag, len(item.rows), item.outcome

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """PortalSuspended: there are more rows."""
        if isinstance(event, PortalSuspended):
            self._suspended = True
            self.completed(channel, segment, "", 1)
        else:
            super().handle(channel, segment, event)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """ReadyForQuery: the portal is there, with or without more rows."""
        if not segment.preparing and segment.error is None:
            self.portal.bound = True
            self.portal.done = not self._suspended
        super().segment_done(channel, segment)


def in_block(engine: Engine) -> bool:
    """True if the next statement of this task runs in a transaction block."""
    return bool(engine.blocks.open) or engine.transaction_status in ("T", "E")
