"""The look-up of types: what the catalog says of OIDs that the session's `TypeMap` does not know.

It is a state of preparing.  A description has come whose types are not all known; before anything is run
with it, one query asks for them and for what they are made of, in a segment of its own.  What is learned is
in the map, which all connections of a pool share.  What cannot be learned (no rights, a type that is gone)
travels as text on this connection.

Sessions that share a map ask once: the map notes who asks for a type.  Another session that needs it waits
for the answer, and sees by the clock whether it has come: nobody has to wake it, so nobody can forget to.
It asks itself as soon as that query has failed, or has taken PATIENCE.  So whatever becomes of the session
that asks (it is cancelled, its loop has ended, the process has forked), the others go on.

In a transaction block the query is between SAVEPOINT and RELEASE, so that its failure does not end the block.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..errors import DataError, PostgresError, RemoteProtocolError
from ..protocol import DataRows
from ..types import BUILT_IN, RowDecoder
from ..types.catalog import LOOK_UP, LOOK_UP_COLUMNS, LOOK_UP_PARAMETER, missing
from ..wire import (
    Bind,
    CommandComplete,
    CopyInResponse,
    ErrorResponse,
    Execute,
    FieldDescription,
    Message,
    Parse,
)
from .alarm import Alarm
from .answers import refuse_copy, refuse_to_feed
from .channel import Channel
from .operation import Operation
from .segment import Segment
from .turns import Turns

__all__ = ["PATIENCE", "LookUp", "Resolver"]

PATIENCE: Final = 1.0
"""Seconds that a session waits for the answer to another session's look-up."""

_FIRST_LOOK: Final = 0.002
# How often a look-up is repeated that was cancelled or hit by another passing trouble.
_REPEATS: Final = 3
# SQLSTATE classes of errors that say nothing about the catalog: a transaction that has failed, resources,
# cancelled, a limit, the system.
_PASSING: Final = ("25", "40", "53", "55", "57", "58", "XX")

_BINARY: Final = (1,)
_DECODER: Final = RowDecoder([FieldDescription("", 0, 0, oid, -1, -1, 1) for oid in LOOK_UP_COLUMNS])


class LookUp(Operation):
    """The query, in a segment of its own.  It has no caller, and its error is nobody's.

    Args:
        oids: the types.
        resolver: gets the answer.
        deadline: of the operation that waits first.
    """

    __slots__ = ("_resolver", "_rows", "_savepoint", "_set", "oids")

    def __init__(self, oids: list[int], resolver: Resolver, deadline: float | None) -> None:
        super().__init__()
        self.deadline = deadline
        self.finished = True
        self.oids = oids
        self._resolver = resolver
        self._rows: list[Any] | None = []  # None: whatever answers here is no catalog
        self._savepoint = ""
        self._set = False

    @property
    def unwanted(self) -> bool:
        """True if nobody waits for it any more: it can wait for a lock."""
        return self._resolver.unwanted

    def send(self, channel: Channel) -> None:
        """Write it."""
        segment = channel.open(self)
        segment.preparing = True  # it reads, and decides nothing
        channel.preamble(segment)
        if channel.connection.transaction_status == "T":
            self._savepoint = f"pgproto_{channel.next_savepoint()}"
            segment.prologue = 1  # until it is answered, nothing is sent that its failure would concern
            _execute(channel, f"SAVEPOINT {self._savepoint}")
        oids = BUILT_IN.codec(LOOK_UP_PARAMETER).encode(self.oids)
        channel.write(Parse("", LOOK_UP, (LOOK_UP_PARAMETER,)))
        channel.write(Bind("", "", _BINARY, (oids,), _BINARY))
        channel.write(Execute())
        if self._savepoint:
            _execute(channel, f"RELEASE SAVEPOINT {self._savepoint}")
        channel.sync(segment)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the rows; with an error, nothing is learned."""
        if isinstance(event, DataRows):
            try:
                if self._rows is not None:
                    self._rows += _DECODER.decode(event.buffer, event.start, event.end)
            except (DataError, RemoteProtocolError):
                self._rows = None
        elif isinstance(event, ErrorResponse):
            segment.fail(event.error)
        elif isinstance(event, CommandComplete):
            self._set = self._set or event.command_tag == "SAVEPOINT"
        elif isinstance(event, CopyInResponse):
            self._rows = None
            refuse_copy(channel, segment, event)
        else:
            refuse_to_feed(event)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """Learn, and go on with the statements that waited."""
        if not segment.preparing:
            return  # the savepoint was rolled back
        if segment.error is not None and self._set:
            name = self._savepoint
            undo = channel.open(self)
            channel.simple_query(undo, f"ROLLBACK TO SAVEPOINT {name}; RELEASE SAVEPOINT {name}")
        self._resolver.answered(self.oids, self._rows, segment.error)


def _execute(channel: Channel, sql: str) -> None:
    channel.write(Parse("", sql))
    channel.write(Bind("", "", (), (), ()))
    channel.write(Execute())


class Resolver:
    """Finds the types that the statements of one session wait for.

    Args:
        turns: the session's operations.
        alarm: when to look again whether another session has had an answer.
        clock: tells monotonic time in seconds.
    """

    __slots__ = (
        "_alarm",
        "_asked",
        "_awaited",
        "_clock",
        "_deeper",
        "_failures",
        "_rows",
        "_since",
        "_turns",
    )

    def __init__(self, turns: Turns, alarm: Alarm, clock: Callable[[], float]) -> None:
        self._turns = turns
        self._alarm = alarm
        self._clock = clock
        self._since: float | None = None  # when this session began to wait for another one
        self._awaited: object = None  # the other one
        self._failures = 0
        self._rows: list[Any] = []  # what was found so far
        self._asked: set[int] = set()  # what it has asked for, or is about to
        self._deeper: list[int] = []  # what it refers to

    def go_on(self) -> None:
        """Ask for the types that statements wait for, unless they must not be asked for now.

        Not while the request could run in, or end, somebody's transaction; then it is called again when
        everything is answered.
        """
        turns = self._turns
        channel = turns.channel
        statements = channel.statements
        if not channel.may_open or (channel.segments and not channel.between):
            return
        if any(isinstance(each.operation, LookUp) for each in channel.segments):
            return
        if channel.connection.transaction_status == "E":
            statements.stop_waiting()  # the server refuses everything
            return
        oids = self._deeper or self._oids()
        if oids:
            LookUp(oids, self, turns.queue[0].deadline).send(channel)

    @property
    def unwanted(self) -> bool:
        """True if no operation waits for a type."""
        return not any(statement.users for statement, _ in self._turns.channel.statements.unresolved)

    def _oids(self) -> list[int]:
        """The types to ask for now; none while another session asks for them."""
        statements = self._turns.channel.statements
        types = statements.types
        mark = statements.mark
        unknown = statements.unknown()
        mine = types.claim(unknown, mark)
        if mine:
            self._asked.update(mine)
            return mine
        unknown = statements.unknown()
        if not unknown:
            self._settle()  # another session has learned them
            return mine
        now = self._clock()
        asker = types.asker(unknown[0])
        if self._since is None:
            self._since = now
            self._awaited = asker
        waited = now - self._since
        if asker is self._awaited and waited < PATIENCE:
            self._alarm.set(now + (_FIRST_LOOK + waited) / 2)
            return mine
        types.take_over(unknown, mark)
        self._asked.update(unknown)
        return unknown

    def answered(self, oids: list[int], rows: list[Any] | None, error: PostgresError | None) -> None:
        """The server has answered.

        Args:
            oids: what was asked for.
            rows: what was found; None if it was nonsense.
            error: the server's error.
        """
        statements = self._turns.channel.statements
        types = statements.types
        passing = error is not None and rows is not None and error.sqlstate.startswith(_PASSING)
        unwanted = self.unwanted
        if passing and self._failures < _REPEATS and not unwanted:
            self._failures += 1
            return
        self._asked.update(oids)
        found: list[int] = []
        if rows and error is None:
            try:
                self._rows += rows
                deeper = [oid for oid in missing(self._rows) if oid not in self._asked]
                self._deeper = [oid for oid in deeper if types.known(oid) is None]
                if self._deeper:
                    return
                types.learn(self._rows)
                found = [row[0] for row in self._rows]
            except Exception:  # noqa: BLE001 - whatever answers here is no catalog
                self._deeper = []
        statements.unknowable.update(self._asked.difference(found))
        self.end()
        self._settle()
        statements.passing = passing
        if unwanted:
            statements.trim()

    def end(self) -> None:
        """Ask no more: another session may."""
        statements = self._turns.channel.statements
        statements.types.release(self._asked, statements.mark)

    def _settle(self) -> None:
        """Go on with the statements whose types are known by now."""
        self._turns.channel.statements.settle()
        self._since = self._awaited = None
        self._failures = 0
        self._rows = []
        self._asked = set()
        self._deeper = []
