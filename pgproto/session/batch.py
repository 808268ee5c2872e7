"""Batches: statements that are sent together, each with its own result and outcome.

A batch does no I/O and belongs to no connection: build it anywhere, send it with `send_batch`.

By default a batch is one segment, which the server runs as one transaction, all or nothing.  With
`atomic=False` every statement has a Sync of its own, so that an error concerns that statement alone; it is
still one round trip.

All statements are prepared before any is executed.  So a statement cannot use a table that an earlier
statement of the same batch creates; send the DDL first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import copy
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, overload

from ..errors import DataError, Error, LocalProtocolError, Outcome, not_sent
from ..types import Column, Into, RowDecoder
from ..types.hints import R
from ..types.makers import check_into, make_all
from .advice import annotate
from .placeholders import NamedQuery
from .sql import as_text
from .statements import NO_ROWS, Statement

__all__ = [
    "Batch",
    "QueuedQuery",
    "Refusing",
    "as_item",
    "as_statement",
    "error_of_all",
    "make_items",
    "refuse",
]

T = TypeVar("T")

# Manual: "Message Formats", Bind: the number of parameters is an Int16.
_MAX_PARAMETERS: Final = 65535

# If an item has one of these outcomes, the whole must not be run again.
_STORED: Final = (Outcome.COMMITTED, Outcome.PREPARED, Outcome.UNKNOWN)


class QueuedQuery(Generic[R]):
    """One statement of a batch, with its result and outcome.

    Attributes:
        sql: the statement's text.
        args: the values of its parameters ($1, $2, ...).
        rows: its rows, in order; [] if it returned none.  With `into`, an engine leaves tuples of values
            here, and `made` makes the objects.
        into: what its rows become: a RowMaker, a class or a function; None for `Row`.
        tag: the server's command tag, such as "INSERT 0 1"; "" for an empty statement, or one that did
            not complete.
        decoder: the decoder of its rows.
        error: its error; None if it succeeded or was never tried (see `outcome`).
        outcome: what became of it; None until that is known.
        holder: the prepared statement that was passed, if any; this reference keeps it open.
    """

    __slots__ = (
        "args",
        "decoder",
        "error",
        "executed",
        "holder",
        "into",
        "outcome",
        "parameters",
        "rows",
        "sql",
        "statement",
        "tag",
    )

    def __init__(
        self,
        sql: str,
        args: Sequence[object],
        statement: Statement | None = None,
        into: Into[R] | None = None,
    ) -> None:
        if len(args) > _MAX_PARAMETERS:
            # It must not be sent: the count would be taken modulo 65536.
            text = f"a statement is limited to {_MAX_PARAMETERS} parameters, not {len(args)}"
            raise not_sent(text)
        self.sql = sql
        self.args: Sequence[object] = args
        self.rows: list[R] = []
        self.into: object = into
        self.tag = ""
        self.decoder = NO_ROWS
        self.error: Exception | None = None
        self.outcome: Outcome | None = None
        self.executed = False
        self.statement = statement
        self.holder: object = None
        self.parameters: bytes | None = None

    @property
    def rowcount(self) -> int:
        """The number of rows in the command tag; 0 if it has none."""
        return rowcount(self.tag)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns; () before its statement is prepared, or if it returns no rows."""
        return self.decoder.columns

    @property
    def description(self) -> tuple[Column, ...]:
        """The columns, with their types; () before its statement is prepared, or if it returns no rows."""
        return self.decoder.description

    def value(self, column: int | str = 0) -> Any:
        """A column of its first row; None if there is no row.

        Args:
            column: its position, or its name.

        Raises:
            DataError: its rows have no such column; the statement was run nevertheless.
        """
        if not self.rows:
            return None
        row: Any = self.rows[0]
        try:
            return row[column]
        except (IndexError, KeyError):
            columns = self.decoder.columns
        what = f"the result has no column {column!r}" if columns else "the result has no columns"
        raise self._after(DataError(what))

    def prepared(self, statement: Statement) -> None:
        """Its statement is described: can `into` use the columns?  If they depend on the run, ask then.

        Raises:
            DataError: it cannot; nothing was sent.
        """
        self.decoder = statement.decoder
        if self.into is not None and not statement.late:
            self.decoder.making(self.into)

    def reading(self, statement: Statement) -> RowDecoder:
        """What decodes its rows: those of `into` are decoded to values."""
        self.decoder = decoder = statement.decoder
        return decoder if self.into is None else decoder.values_only()

    def made(self, rows: list[Any], before: int = 0) -> tuple[list[R], DataError | None]:
        """Make the objects of `into`.  Call it in the caller's own task, because it runs the caller's code.

        Args:
            rows: tuples of values, from `rows` or from a stream; the list is used up.
            before: the number of earlier rows of the result, for errors.

        Returns:
            The objects, and the error for the row that ended them.  The statement was run nevertheless.

        Raises:
            BaseException: what the caller's code has raised, if it is no Exception.
        """
        if self.into is None or self.into is tuple:
            return rows, None
        try:
            error = make_all(rows, self.decoder.making(self.into), self.into, before)
        except DataError as unfit:
            rows = []
            error = unfit
        return rows, None if error is None else self._after(error)

    def take(self, rows: list[Any]) -> list[R]:
        """`made`, all or nothing.

        Raises:
            DataError: see `made`.
        """
        self.rows = []
        made, error = self.made(rows)
        if error is not None:
            self.error = error
            raise error
        self.rows = made
        return made

    def _after(self, error: DataError) -> DataError:
        """An error after the run."""
        error.outcome = self.outcome
        annotate(error, self.sql)
        return error

    def __repr__(self) -> str:
        state = self.outcome.name if self.outcome is not None else "queued"
        return f"<QueuedQuery {self.sql!r} {state} {self.tag!r}>"


class Batch:
    """A list of statements to send in one round trip.

    Args:
        atomic: True for one transaction, all or nothing (the default); False for a Sync after each
            statement, so that an error concerns that statement alone.
    """

    __slots__ = ("atomic", "items", "sent")

    def __init__(self, *, atomic: bool = True) -> None:
        self.atomic = atomic
        self.items: list[QueuedQuery[Any]] = []
        self.sent = False

    @overload
    def queue(self, query: object, *args: object, into: None = None) -> QueuedQuery: ...

    @overload
    def queue(self, query: object, *args: object, into: Into[T]) -> QueuedQuery[T]: ...

    def queue(self, query: object, *args: object, into: Into[Any] | None = None) -> QueuedQuery[Any]:
        """Add a statement.

        Args:
            query: one SQL statement with parameters $1, $2, ..., or what `named` has returned, or a statement
                that `prepare` has returned, if the batch is sent on the same connection.
            args: the values of the parameters.
            into: what each row becomes, as in `fetch`.

        Raises:
            TypeError: the query is none of these, or `into` is nothing that makes objects.
            LocalProtocolError: there are more parameters than a message can carry, or the batch was already
                sent.

        Returns:
            The item, which has `rows`, `tag`, `error` and `outcome` once the batch was sent.
        """
        item = as_item(query, args, into)
        if self.sent:
            raise LocalProtocolError("the batch was sent before: what is queued now would never be")
        self.items.append(item)
        return item

    def take(self) -> list[QueuedQuery[Any]]:
        """The items, to be sent.  A batch can be sent once; if it was refused as a whole, it was not sent.

        Raises:
            LocalProtocolError: it was sent before.
        """
        if self.sent:
            raise not_sent("the batch was sent before: build a new one")
        self.sent = True
        for item in self.items:
            item.outcome = item.error = item.parameters = None
            if item.statement is not None and not item.statement.kept:
                item.statement = None  # it belongs to the session that refused the batch
        return list(self.items)  # a copy: items that are queued later are not sent

    def __len__(self) -> int:
        return len(self.items)

    def __repr__(self) -> str:
        kind = "atomic" if self.atomic else "not atomic"
        return f"<Batch of {len(self.items)}, {kind}>"


class Refusing:
    """`with Refusing(batch):` labels the items NOT_SENT if an error keeps the whole batch from being sent.

    For example, no connection was free, the deadline had passed, or the caller was cancelled.  Such a batch
    can be sent again.  After `Batch.take` the operation with the items labels them.  After `Refusing.take`
    this object still does, because the call may be interrupted before the operation is submitted.
    """

    __slots__ = ("_batch", "_watched")

    def __init__(self, batch: object) -> None:
        if not isinstance(batch, Batch):
            raise TypeError(f"pass a Batch, not {type(batch).__name__}")
        self._batch = batch
        self._watched = False

    def __enter__(self) -> Refusing:
        return self

    def take(self) -> list[QueuedQuery[Any]]:
        """`Batch.take`, for an operation that will have ended by the end of this block.

        Raises:
            LocalProtocolError: it was sent before.
        """
        self._watched = not self._batch.sent
        return self._batch.take()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and (self._watched or not self._batch.sent):
            batch = self._batch
            refuse(batch.items, error)
            if all(item.outcome is Outcome.NOT_SENT for item in batch.items):
                batch.sent = False


def refuse(items: Iterable[QueuedQuery], error: BaseException) -> None:
    """Label items of which no byte was sent.

    Args:
        items: the items; those with an outcome keep it.
        error: the exception; for a cancellation or an interrupt the items get an `Error` caused by it.
    """
    if isinstance(error, Exception):
        reason: Exception = error
    else:
        reason = cancelled = Error("the call was cancelled before anything was sent")
        cancelled.outcome = Outcome.NOT_SENT
        cancelled.__cause__ = error
    for item in items:
        if item.outcome is None:
            item.outcome = Outcome.NOT_SENT
            item.error = reason


def error_of_all(error: BaseException, items: Iterable[QueuedQuery]) -> BaseException:
    """The error of a call that ran several statements, with an outcome that is true for all of them.

    If a part of them may be committed the outcome is UNKNOWN, so that the whole is not repeated.  It is set
    on a copy, because the original is the error of one item and has that item's outcome.

    Args:
        error: the error of one of the items; returned unchanged if its outcome is not safe to retry anyway.
        items: all items of the call.
    """
    if not isinstance(error, Error) or error.outcome is None:
        return error
    if not (error.outcome.safe_to_retry or error.outcome is Outcome.FAILED):
        return error
    if all(item.outcome not in _STORED for item in items):
        return error
    for item in items:
        if item.error is error:
            annotate(error, item.sql)
    whole = copy(error)
    whole.__cause__ = error.__cause__
    whole.outcome = Outcome.UNKNOWN
    return whole


def make_items(items: Iterable[QueuedQuery[Any]]) -> DataError | None:
    """Make the objects of the items with `into`, after the end of their operation.

    Returns:
        The first error; each item has its own.
    """
    first: DataError | None = None
    for item in items:
        if item.into is not None and item.error is None:
            try:
                item.take(item.rows)
            except DataError as error:
                first = first or error
    return first


def as_item(query: object, args: Sequence[object], into: Into[Any] | None = None) -> QueuedQuery[Any]:
    """The item for a statement's text, a named query, or a prepared statement.

    Raises:
        TypeError: it is none of these, or `into` is nothing that makes objects.
    """
    if into is not None and into is not tuple:
        check_into(into)
    if type(query) is str:
        return QueuedQuery(query, args, None, into)
    if isinstance(query, NamedQuery):
        if args:
            raise TypeError("the values of a named query are in named(), and none after it")
        return QueuedQuery(query.sql, query.args, None, into)
    statement = as_statement(query)
    if statement is not None:
        item: QueuedQuery[Any] = QueuedQuery(statement.sql, args, statement, into)
        item.holder = query
        return item
    return QueuedQuery(as_text(query, "the query"), args, None, into)


def as_statement(query: object) -> Statement | None:
    """The prepared statement that was passed as a query; None if it is a text.

    An adapter's `PreparedStatement` is recognised by its attribute, because the core cannot import its class.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(query, str):
        return None
    if isinstance(query, Statement):
        return query
    statement = None if isinstance(query, QueuedQuery) else getattr(query, "statement", None)
    if isinstance(statement, Statement):
        return statement
    raise TypeError(f"the query must be a str or a prepared statement, not {type(query).__name__}")


def rowcount(tag: str) -> int:
    """The number of rows in a command tag: its last word, if that is a number; else 0.

    Manual: "Message Formats", CommandComplete.
    """
    last = tag.rpartition(" ")[2]
    return int(last) if last.isascii() and last.isdigit() else 0
