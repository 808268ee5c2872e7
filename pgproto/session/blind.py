"""Running statements that nobody has described: the modes `exec` and `simple_protocol`.

The types of the values are inferred (see `types.inferred`), and the columns are known only when the rows
come, which are text.  They are decoded to the same values as in the other modes.

    exec    Parse with these types, Describe, Bind, Execute, Sync: one round trip for each statement, and
            nothing is kept.

If a column has a type that the session does not know (an enum), it is looked up as for every statement, but
after the run: until then its rows wait as they are, and so does the caller.  The statement is not repeated.
If the session ends while they wait, the item has its outcome and an error: it was run, and its rows are lost.
"""

from __future__ import annotations

from ..errors import Error
from ..protocol import DataRows
from ..types import InferredEncoder, RowDecoder, TypeMap
from ..wire import Describe, FieldDescription, Parse
from . import statements as st
from .batch import QueuedQuery
from .channel import Channel
from .execution import DESCRIBED, Execution
from .loss import Loss
from .operation import SENT, WAITING
from .placeholders import count_of
from .segment import Segment
from .statements import Statement, StatementCache

__all__ = ["Blind", "OneTrip", "TextStatement"]


class TextStatement(Statement):
    """A statement of one run, without a name, whose values and rows are text.

    Args:
        sql: its text.
        encoder: the encoder of its values.
        types: the types of the session.

    Raises:
        LocalProtocolError: as for `Statement`.
    """

    __slots__ = ("inferred",)

    def __init__(self, sql: str, encoder: InferredEncoder, types: TypeMap) -> None:
        super().__init__(sql, "", types=types)
        self.inferred = self._encoder = encoder
        self.late = True
        self.state = st.READY

    def parameters_described(self, types: tuple[int, ...]) -> None:
        """Its values were encoded already."""

    def rows_described(self, fields: tuple[FieldDescription, ...]) -> None:
        """RowDescription arrived, with the format of each column (or NoData: no fields)."""
        self.fields = fields
        formats = [field.format for field in fields]
        self._decoder = RowDecoder(fields, formats, self._types, typed_text=True)
        self._forgotten = self._types.forgotten
        self._result_types = tuple([field.type_oid for field in fields])


class Blind(Execution):
    """An execution whose columns are not known before its rows.

    Args:
        items, atomic: as for `Execution`.
    """

    __slots__ = ("_raw", "_settling")

    def __init__(self, items: list[QueuedQuery], *, atomic: bool = True) -> None:
        super().__init__(items, atomic=atomic)
        self._own = True
        self._raw: list[tuple[QueuedQuery, bytes]] = []  # rows that wait for a look-up of their types
        self._settling = False  # everything is answered, and they still wait

    def statement_of(self, cache: StatementCache, sql: str) -> Statement:
        """A statement for this run alone."""
        statement = TextStatement(sql, self.encoder_of(sql, cache.types), cache.types)
        statement.home = cache.mark
        return statement

    def encoder_of(self, sql: str, types: TypeMap) -> InferredEncoder:
        """The encoder of a text's parameters."""
        return InferredEncoder(count_of(sql), types)

    def fresh(self, statement: Statement) -> bool:
        """True: no description that it has can be out of date."""
        return isinstance(statement, TextStatement) or super().fresh(statement)

    def produce(self, channel: Channel) -> int:
        """Write the items; at the end wait for types."""
        if self.finished:
            return SENT
        status = SENT if self._settling else super().produce(channel)
        if not self._settling:
            return status
        self.again = False  # it is in the queue
        if self._waits(channel):
            return WAITING
        self._end(channel)
        return SENT

    def _waits(self, channel: Channel) -> bool:
        statements = channel.statements
        return any(item.statement is each for each, _ in statements.unresolved for item, _ in self._raw)

    def described_anew(
        self, channel: Channel, segment: Segment, fields: tuple[FieldDescription, ...]
    ) -> None:
        """The columns of an item."""
        item = self.items[segment.position]
        if not isinstance(item.statement, TextStatement):
            super().described_anew(channel, segment, fields)
            return
        channel.statements.described(item.statement, fields)
        item.decoder = item.statement.decoder

    def take_rows(self, channel: Channel, item: QueuedQuery, event: DataRows) -> None:
        """Decode a run of rows, unless its types are not known yet."""
        raw = self._raw
        statement = item.statement
        waits = bool(raw) and raw[-1][0] is item
        if not waits and statement is not None:
            waits = channel.statements.waits(statement)
        if waits and not self.unwanted and item.error is None:
            raw.append((item, bytes(event.buffer[event.start : event.end])))
        else:
            super().take_rows(channel, item, event)

    def lost(self, channel: Channel, segment: Segment | None, loss: Loss) -> None:
        """Rows that wait cannot be decoded any more."""
        for item, _ in self._raw:
            if item.outcome is not None and item.error is None:
                item.error = loss.error(item.outcome, executed=True)
        self._raw.clear()
        super().lost(channel, segment, loss)

    def _start_over(self, channel: Channel) -> None:
        self._raw.clear()
        super()._start_over(channel)

    def _end(self, channel: Channel) -> None:
        if self._raw and not self.finished:
            if not self.unwanted and self._waits(channel):
                self._settling = self.again = True
                return
            self._decode(channel)
        super()._end(channel)

    def _decode(self, channel: Channel) -> None:
        """Decode the rows that have waited."""
        for item, data in self._raw:
            statement = item.statement
            if item.error is not None or statement is None:
                continue
            error: Error
            if self.unwanted:
                error = self.cut_short()
            else:
                try:
                    before = len(item.rows)
                    item.rows += item.reading(statement).decode(data, 0, len(data), before)
                    continue
                except Exception as raised:  # noqa: BLE001 - as for every execution
                    error = channel.statements.undecodable(statement, raised)
            error.outcome = item.outcome
            item.error = error
            item.rows = []
            self.error = st.error_of_call(self.error, error, self.atomic)
        self._raw.clear()


class OneTrip(Blind):
    """The mode `exec`."""

    __slots__ = ()

    def declare(self, channel: Channel, statement: Statement) -> None:
        """Write the Parse, with the types of the values."""
        if isinstance(statement, TextStatement):
            channel.write(Parse("", statement.sql, statement.inferred.oids))
        else:
            super().declare(channel, statement)

    def _describe(self, channel: Channel, segment: Segment, statement: Statement) -> None:
        """Ask for the columns, and go on without the answer."""
        if not isinstance(statement, TextStatement):
            super()._describe(channel, segment, statement)
            return
        channel.write(Describe("S", ""))
        self._late = DESCRIBED
        self._write_next(channel)
