"""`Cursor`: the results of statements, which are at hand once a statement has run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TypeAlias

from pgproto.errors import Error as PgprotoError
from pgproto.session import ScriptResult
from pgproto.types import Column, quote_identifier

from .styles import Parameters, binder, is_script

if TYPE_CHECKING:
    from .connection import Connection

__all__ = ["Cursor", "Description"]

_NOT_TOLD: Final = (None, None, None, None, None)
_END: Final[Any] = object()

Description: TypeAlias = "list[tuple[str, int, None, None, None, None, None]]"


class Cursor:
    """A cursor of PEP 249; made by `Connection.cursor`.

    Attributes:
        connection: the connection that has made it.
        arraysize: how many rows `fetchmany` returns by default.
        description: the columns of the result: name, OID of the type (compare it with the type objects), and
            five times None; None if there is no result.
        rowcount: how many rows the statement has returned or concerned; -1 if it does not say so.
        lastrowid: None: use RETURNING.
    """

    lastrowid: None = None

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.arraysize = 1
        self.description: Description | None = None
        self.rowcount = -1
        self._closed = False
        self._rows: list[tuple[Any, ...]] = []
        self._next = 0
        self._results: list[ScriptResult] = []

    # ---- Statements

    def execute(self, operation: str, parameters: Parameters | None = None) -> Self:
        """Run a statement; without parameters also several, whose values come as text.

        Args:
            operation: the text, with placeholders of the connection's style.
            parameters: a sequence of values, or a mapping; without them the text is sent as it is.

        Raises:
            Error: see the module; its `outcome` says what became of the statement.
        """
        self.check_open()
        self.reset()
        values: Sequence[Any] = ()
        if type(parameters) is tuple and self.connection.paramstyle == "numeric_dollar":
            values = parameters  # what follows would not change it, and takes its time
        elif parameters is not None:
            operation, bind = self._binder(operation, parameters)
            values = bind(parameters)
        if not values and is_script(operation):
            self._results = self.connection.run_script(operation)[::-1]
            self.nextset()
        else:
            self.run(operation, values)
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Parameters | None]) -> Self:
        """Run a statement once for each set of parameters, in a pipeline, all or nothing.

        Rows that it returns are dropped.

        Args:
            operation: as for `execute`.
            seq_of_parameters: an iterable, which is read as the values are sent; None has no values.
        """
        self.check_open()
        self.reset()
        records = (() if record is None else record for record in seq_of_parameters)
        first: Parameters = next(records, _END)
        if first is _END:
            self.rowcount = 0
            return self
        sql, bind = self._binder(operation, first)

        def values() -> Iterable[Sequence[Any]]:
            yield bind(first)
            for record in records:
                yield bind(record)

        self.rowcount = self.connection.run_many(sql, values())
        return self

    def callproc(self, procname: str, parameters: Parameters = ()) -> Parameters:
        """Call a function: its result is fetched as rows.  (A procedure is called by `execute("call ...")`.)

        Args:
            procname: its name; quoted, so that case counts, and with a point between schema and name.
            parameters: the values of its arguments, or a mapping from their names.

        Returns:
            The parameters.
        """
        self.check_open()
        self.reset()
        name = ".".join(quote_identifier(part) for part in procname.split("."))
        if isinstance(parameters, Mapping):
            arguments = [f"{quote_identifier(key)} => ${n}" for n, key in enumerate(parameters, 1)]
            values: Sequence[Any] = list(parameters.values())
        else:
            arguments = [f"${n}" for n in range(1, len(parameters) + 1)]
            values = parameters
        self.run(f"SELECT * FROM {name}({', '.join(arguments)})", values)  # noqa: S608 - quoted
        return parameters

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Does nothing: the server knows the types of parameters."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing: values have any size."""

    # ---- Rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None at the end."""
        self._check_result()
        if self._next >= len(self._rows) and not self.more(1):
            return None
        self._next += 1
        return self._rows[self._next - 1]

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """The next `size` rows (by default `arraysize`); [] at the end."""
        self._check_result()
        size = self.arraysize if size is None else size
        if size < 0:
            raise self.connection.ProgrammingError("fetchmany: a number of rows is not negative")
        missing = size - (len(self._rows) - self._next)
        while missing > 0 and (come := self.more(missing)):
            missing -= come
        rows = self._rows[self._next : self._next + size]
        self._next += len(rows)
        return rows

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        self._check_result()
        while self.more(0):
            pass
        rows = self._rows[self._next :] if self._next else self._rows[:]
        self._next += len(rows)
        return rows

    def scroll(self, value: int, mode: Literal["relative", "absolute"] = "relative") -> None:
        """Move among the rows.

        Raises:
            IndexError: there is no such row; the cursor stays where it is.
            ProgrammingError: there is no such mode.
        """
        self._check_result()
        if mode not in ("relative", "absolute"):
            raise self.connection.ProgrammingError(f"no mode of scrolling: {mode!r}")
        target = value + (self._next if mode == "relative" else 0)
        if not 0 <= target <= len(self._rows):
            raise IndexError("there is no such row")
        self._next = target

    @property
    def rownumber(self) -> int | None:
        """The position of the next row in the result, from 0; None if there is no result."""
        return None if self.description is None else self._next

    def nextset(self) -> bool | None:
        """Go on to the result of the next statement; None if there is none."""
        self.check_open()
        if not self._results:
            self.clear()
            return None
        result = self._results.pop()
        self.show(result.description, [row.values() for row in result.rows], result.tag)
        return True

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    # ---- Its end

    @property
    def closed(self) -> bool:
        """True after `close`."""
        return self._closed

    def close(self) -> None:
        """Close it.  Idempotent."""
        self._closed = True
        self.clear()

    def __enter__(self) -> Self:
        self.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- For kinds of cursors

    def check_open(self) -> None:
        """Raise InterfaceError if it is closed, or its connection is."""
        if self._closed:
            raise self.connection.InterfaceError("the cursor is closed")
        self.connection.check_open()

    def reset(self) -> None:
        """Forget the last statement."""
        self.clear()
        self._results = []

    def clear(self) -> None:
        """Forget the rows."""
        self.description = None
        self.rowcount = -1
        self._rows = []
        self._next = 0

    def run(self, sql: str, values: Sequence[Any]) -> None:
        """Run one statement."""
        item = self.connection.run(sql, values)
        self.show(item.description, item.rows, item.tag)

    def more(self, wanted: int) -> int:
        """Get more rows, if there are any that are not at hand; how many have come.

        Args:
            wanted: how many; 0 for all.
        """
        return 0

    def show(self, columns: Sequence[Column], rows: list[tuple[Any, ...]], tag: str) -> None:
        """Make this the result."""
        self.description = [(each.name, each.type_oid, *_NOT_TOLD) for each in columns] or None
        self._rows = rows
        self._next = 0
        count = tag.rpartition(" ")[2]
        self.rowcount = int(count) if count.isdecimal() else -1

    def take(self, rows: list[tuple[Any, ...]]) -> int:
        """These rows have come; those that were read are dropped."""
        self._rows = self._rows[self._next :] + rows
        self._next = 0
        return len(rows)

    # ---- Internals

    def _binder(self, operation: str, sample: Parameters) -> Any:
        try:
            return binder(self.connection.paramstyle, operation, sample)
        except PgprotoError as error:
            raise self.connection.ProgrammingError(str(error)) from error

    def _check_result(self) -> None:
        if self.description is None or self._closed or self.connection.closed:
            self.check_open()
            raise self.connection.ProgrammingError("there is no result to fetch from")
