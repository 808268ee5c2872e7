"""The methods for columns, common to connection and pool."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pgproto.columns import ColumnBatch, Numeric, Unfit
from pgproto.session import ColumnQuery, Operation
from pgproto.session.batch import as_item
from pgproto.session.columnar import ColumnsCopy, check_size
from pgproto.session.deadlines import DEFAULT, Timeout

from . import refusals
from .pieces import Pieces
from .queries import Query
from .records import Progress
from .unique import Unique

__all__ = ["ColumnQueries"]

T = TypeVar("T")


class ColumnQueries(Unique):
    """`fetch_columns`, `stream_columns` and `copy_columns`."""

    async def fetch_columns(
        self,
        query: Query,
        *args: object,
        numeric: Numeric = "str",
        unfit: Unfit = "error",
        progress: Progress | None = None,
        timeout: Timeout = DEFAULT,
    ) -> ColumnBatch:
        """Run a statement and return its result as columns, without an object for each row or value.

        numpy, pyarrow, polars, pandas and DuckDB take the columns as they are; `pgproto.columns` says how.
        Classes and codecs of your own are not used: an enum is a dictionary of its labels.

        Args:
            query: one SQL statement with parameters $1, $2, ..., or a prepared statement.
            args: the values of the parameters.
            numeric: what a numeric without precision and scale becomes: its text ("str"), the nearest float
                ("float64"), or a decimal128 with so many digits after the point.
            unfit: what a value does that the column's Arrow type does not have, such as an infinite
                timestamp: "error" or "null".
            progress: a function that is called here, again and again, with the number of rows that have
                arrived so far.  Nothing else can use the connection meanwhile.
            timeout: as for `fetch`; with `progress`, how long the next rows may take.

        Raises:
            DataError: as for `fetch`; or a value is unfit.
            Exception: what `progress` raised; the rest of the query was cancelled.
        """
        operation = ColumnQuery(as_item(query, args), numeric, unfit, watched=progress is not None)
        if progress is None:
            await self._run(operation, timeout)
        else:
            async with self._pieces(operation, operation.counts, timeout) as counts:
                async for count in counts:
                    refusals.check_done(progress(count))
        return operation.take()[0]

    def stream_columns(
        self,
        query: Query,
        *args: object,
        size: int = 65536,
        numeric: Numeric = "str",
        unfit: Unfit = "error",
        progress: Progress | None = None,
        timeout: Timeout = DEFAULT,
    ) -> Pieces[ColumnBatch]:
        """Run a statement and iterate over batches of its columns as they arrive, in bounded memory.

        See `stream`, and `fetch_columns` for the other arguments.  Each batch but the last has at least
        `size` rows, and those that arrived with them; or 16 MiB of rows.  An empty result is one batch
        without rows.  `progress` is called when batches are taken.
        """
        operation = ColumnQuery(as_item(query, args), numeric, unfit, check_size(size))

        def take() -> list[ColumnBatch]:
            batches = operation.take()
            if batches and progress is not None:
                refusals.check_done(progress(operation.rows))
            return batches

        return self._pieces(operation, take, timeout)

    async def copy_columns(
        self,
        table: str,
        data: object,
        *,
        columns: Sequence[str] | None = None,
        schema: str = "",
        timeout: Timeout = DEFAULT,
    ) -> int:
        """Store the rows of a table of Arrow's in a table by COPY, in binary or in text; the number of rows.

        Args:
            table: the table's name; it is quoted, so case counts.
            data: anything with `__arrow_c_stream__`: tables and readers of pyarrow, frames of polars and
                pandas, results of DuckDB, a ColumnBatch.  It is read here, some rows at a time, and its
                reader cannot be interrupted.
            columns: the table's columns, in the order of the data's; by default those of the same names.
            schema: the table's schema; "" to use the search path.
            timeout: the longest time without progress, in seconds.

        Raises:
            DataError: a column's Arrow type does not fit its column, or there are no columns, and nothing
                was sent; or a value does not fit, or the data's reader failed, and no row was stored.
            TypeError: the data has no `__arrow_c_stream__`, or is no stream of record batches.
            Exception: what `__arrow_c_stream__` raised; nothing was sent.
        """
        with ColumnsCopy(table, data, columns, schema) as copy:
            return await self._copy_columns(copy, timeout)

    def _run(self, operation: Operation, timeout: Timeout) -> Awaitable[None]:
        raise NotImplementedError

    def _pieces(self, operation: Operation, take: Callable[[], list[T]], timeout: Timeout) -> Pieces[T]:
        raise NotImplementedError

    def _copy_columns(self, copy: ColumnsCopy, timeout: Timeout) -> Awaitable[int]:
        raise NotImplementedError
