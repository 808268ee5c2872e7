"""The look-up of types: what the catalog says of OIDs that the session's `TypeMap` does not know.

It is a state of preparing.  A description has come whose types are not all known; before anything is run
with it, one query asks for them and for what they are made of, in a segment of its own.  What is learned is
in the map, which all connections of a pool share.  What cannot be learned (no rights, a type that is gone)
travels as text.
"""

from __future__ import annotations

from typing import Any, Final

from ..errors import DataError
from ..protocol import DataRows
from ..types import BUILT_IN, RowDecoder
from ..types.catalog import LOOK_UP
from ..wire import Bind, ErrorResponse, Execute, FieldDescription, Message, Parse
from .channel import Channel
from .operation import Operation
from .segment import Segment

__all__ = ["LookUp", "look_up"]

_OID_ARRAY: Final = 1028
_BINARY: Final = (1,)
_COLUMNS: Final = (26, 25, 19, 25, 26, 26, 1009, 1028, 25, 19, 25)  # see `types.catalog.TypeRow`
_DECODER: Final = RowDecoder([FieldDescription("", 0, 0, oid, -1, -1, 1) for oid in _COLUMNS])


class LookUp(Operation):
    """The query, in a segment of its own.  It has no caller, and its error is nobody's.

    Args:
        oids: the types.
        deadline: of the operation for which it is sent.  If the server has not answered by then, and no other
            operation waits, the session ends.
    """

    __slots__ = ("_oids", "_rows")

    def __init__(self, oids: list[int], deadline: float | None) -> None:
        super().__init__()
        self.deadline = deadline
        self.finished = self.abandoned = True
        self._oids = oids
        self._rows: list[Any] = []

    def send(self, channel: Channel) -> None:
        """Write it."""
        segment = channel.open(self)
        segment.preparing = True  # it reads, and decides nothing
        channel.preamble(segment)
        oids = BUILT_IN.codec(_OID_ARRAY).encode(self._oids)
        channel.write(Parse("", LOOK_UP, (_OID_ARRAY,)))
        channel.write(Bind("", "", _BINARY, (oids,), _BINARY))
        channel.write(Execute())
        channel.sync(segment)

    def handle(self, channel: Channel, segment: Segment, event: Message) -> None:
        """Take the rows; with an error, nothing is learned."""
        if isinstance(event, DataRows):
            try:
                self._rows += _DECODER.decode(event.buffer, event.start, event.end)
            except DataError:  # whatever answers here is no catalog
                self._oids.clear()
        elif isinstance(event, ErrorResponse):
            segment.fail(event.error)

    def segment_done(self, channel: Channel, segment: Segment) -> None:
        """Learn, and go on with the statements that waited."""
        statements = channel.statements
        if segment.error is None:
            statements.types.learn(self._rows)
        statements.looked_up(self._oids)


def look_up(channel: Channel, deadline: float | None) -> None:
    """Send the query for the statements that wait for it, unless it is under way, or must not be sent now.

    Args:
        channel: of the session.
        deadline: of the operation that waits first.
    """
    if channel.may_open and not any(isinstance(each.operation, LookUp) for each in channel.segments):
        statements = channel.statements
        waiting = [statements.unknown_types(statement) for statement, _ in statements.unresolved]
        LookUp([oid for oids in waiting for oid in oids], deadline).send(channel)
