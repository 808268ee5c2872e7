"""A query whose result comes as columns: at once, or batch by batch as a stream.

It is an execution whose Bind asks for other formats than that of rows, and whose rows no object is made of.
As a stream it is exclusive, and the engine stops reading while the consumer has batches that it has not
taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Final

from ..columns import ColumnBatch, ColumnDecoder, Numeric, Unfit
from ..columns.encode import ColumnsEncoder
from ..columns.policy import check_policies
from ..errors import DataError, Error, Outcome, RemoteProtocolError
from ..protocol import DataRows
from ..types import COPY_HEADER, COPY_TRAILER, TypeMap
from ..wire import FieldDescription
from ..wire.binding import BindTemplate
from .batch import QueuedQuery
from .channel import Channel
from .copy import CopyRecords
from .copytarget import CopyTarget
from .execution import OTHER_COLUMNS, Execution
from .segment import Segment
from .statements import Statement

__all__ = ["ColumnQuery", "ColumnsCopy", "check_size"]

# A batch of a stream ends after so many bytes of DataRow messages, if not after so many rows.
_MOST_BYTES: Final = 1 << 24
# Reading stops while there are so many batches that the consumer has not taken.
_MOST_BATCHES: Final = 2


def check_size(size: int) -> int:
    """The number of rows in each batch of a stream; ValueError if it is not positive."""
    if size < 1:
        raise ValueError(f"a batch must have at least one row, not {size}")
    return size


class ColumnQuery(Execution):
    """An execution of one item with its result as columns.

    Args:
        item: the statement.
        numeric: see `pgproto.columns.Numeric`.
        unfit: see `pgproto.columns.Unfit`.
        size: the number of rows in each batch of a stream; 0 for one batch with all rows.
        watched: the caller asks for `counts` while the rows of the one batch arrive.

    Raises:
        TypeError, ValueError: an argument is not what it may be.
    """

    __slots__ = (
        "_batches",
        "_bytes",
        "_counted",
        "_decoder",
        "_given",
        "_numeric",
        "_size",
        "_unfit",
        "_watched",
    )

    def __init__(
        self,
        item: QueuedQuery,
        numeric: Numeric = "str",
        unfit: Unfit = "error",
        size: int = 0,
        *,
        watched: bool = False,
    ) -> None:
        super().__init__([item])
        check_policies(numeric, unfit)
        self._numeric: Numeric = numeric
        self._unfit: Unfit = unfit
        self._size = size
        self._watched = watched
        self._counted = 0
        self._decoder = ColumnDecoder(())
        self._batches: list[ColumnBatch] = []
        self._bytes = 0
        self._given = False

    @property
    def exclusive(self) -> bool:
        """The caller drains a stream, or watches the rows arrive."""
        return self._size > 0 or self._watched

    @property
    def rows(self) -> int:
        """The number of rows that have arrived."""
        return self._decoder.before + self._decoder.rows

    def template(self, statement: Statement) -> BindTemplate:
        """The constant parts of the Bind, with formats of its own."""
        self._decoder = statement.column_decoder(self._numeric, self._unfit)
        self._batches = []
        return BindTemplate(statement.name, statement.encoder.formats, self._decoder.result_formats)

    def described_anew(
        self, channel: Channel, segment: Segment, fields: tuple[FieldDescription, ...]
    ) -> None:
        """As for every execution; other columns are read if they come in the formats that were asked for."""
        super().described_anew(channel, segment, fields)
        item = self.items[0]
        if item.statement is None or item.error is not None:
            return
        asked = self._decoder.result_formats
        self._decoder = item.statement.column_decoder(self._numeric, self._unfit)
        if self._decoder.result_formats != asked:
            item.error = DataError(OTHER_COLUMNS)

    def take_rows(self, channel: Channel, item: QueuedQuery, event: DataRows) -> None:
        """Cut a run of rows into columns."""
        statement = item.statement
        if statement is None or item.error is not None:
            return
        if self.abandoned:  # a caller that reads the batch nevertheless must not take a part for all
            item.error = self.cut_short()
            return
        decoder = self._decoder
        try:
            decoder.decode(event.buffer, event.start, event.end)
            if self._size:
                self._bytes += event.end - event.start
                if decoder.rows >= self._size or self._bytes >= _MOST_BYTES:
                    self._give()
                    self.progress(channel)
            elif self._watched:
                self.progress(channel)
        except RemoteProtocolError:
            raise
        except Exception as error:  # noqa: BLE001 - as for every execution
            item.error = channel.statements.undecodable(statement, error)

    def _give(self) -> None:
        self._batches.append(self._decoder.finish())
        self._bytes = 0
        self._given = True

    def completed(self, channel: Channel, segment: Segment, tag: str, count: int) -> None:
        """The statement has ended: the last batch, which is also the first of an empty result."""
        item = self.items[0]
        if not self.finished and item.error is None:
            try:
                if self._decoder.rows or not (self._size and self._given):
                    self._give()
            except DataError as error:
                item.error = error
        super().completed(channel, segment, tag, count)

    def take(self) -> list[ColumnBatch]:
        """The batches that have arrived since the last call; of a stream, call `Engine.resume` then."""
        batches = self._batches
        self._batches = []
        return batches

    def counts(self) -> list[int]:
        """The number of rows that have arrived, if it is not what the last call returned."""
        rows = self.rows
        if rows == self._counted:
            return []
        self._counted = rows
        return [rows]

    def repeatable(self) -> bool:
        """False once the consumer may have seen a batch."""
        return not (self._size and self._given)

    def has_room(self) -> bool:
        """False while the consumer has to catch up."""
        return len(self._batches) < _MOST_BATCHES or self.abandoned


class ColumnsCopy:
    """A COPY of Arrow data into a table; leave it with `with`, which releases the data.

    Args:
        table: the table's name.
        data: an object with `__arrow_c_stream__`.
        columns: the table's columns; None for those with the names of the data's.
        schema: the table's schema; "" to use the search path.

    Attributes:
        target: the table and the columns, whose types are needed before.

    Raises:
        TypeError: the data cannot be read.
        DataError: it cannot be read, or has no columns; NOT_SENT.
        LocalProtocolError: the columns are none, or one is named twice.
    """

    __slots__ = ("_names", "_source", "target")

    def __init__(self, table: str, data: object, columns: Sequence[str] | None, schema: str) -> None:
        from ..columns.consume import ArrowSource  # which imports ctypes

        self.target = CopyTarget(table, columns, schema)
        try:
            self._source: Any = ArrowSource(data)
            try:
                if not self._source.kinds:
                    raise DataError("the data has no columns")
                if columns is None:
                    self.target.choose([kind.name for kind in self._source.kinds])
            except Error:
                self._source.close()
                raise
        except DataError as error:
            error.outcome = Outcome.NOT_SENT
            raise
        self._names = self.target.columns or ()

    def operation(self, type_oids: Sequence[int], types: TypeMap) -> CopyRecords:
        """The operation, for columns of these types: in binary if they allow it, else in text.

        Raises:
            DataError: a column of the data does not fit; the text names it.  NOT_SENT.
        """
        try:
            encoder = ColumnsEncoder(self._names, type_oids, self._source.kinds, types)
        except DataError as error:
            error.outcome = Outcome.NOT_SENT
            raise
        return self.target.operation(in_text=encoder.in_text)

    def chunks(self, operation: CopyRecords, types: TypeMap) -> Iterator[bytes]:
        """The data for the operation, once it takes some.

        Raises:
            DataError: a value does not fit, or the data's reader fails; or a column's type was altered since
                it was looked up, and the data does not fit it.
        """
        in_text = operation.in_text(self._names, types) is not None  # refuses types that are not known yet
        encoder = ColumnsEncoder(self._names, operation.types, self._source.kinds, types, in_text=in_text)
        if not in_text:
            yield COPY_HEADER
        for chunk in self._source.chunks():
            yield encoder.encode(chunk)
        if not in_text:
            yield COPY_TRAILER

    def __enter__(self) -> ColumnsCopy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._source.close()
