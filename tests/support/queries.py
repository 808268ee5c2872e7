"""Small helpers of the engine's tests: a script, and operations to run on it."""

from __future__ import annotations

from pgproto import PostgresError
from pgproto.session import Execution, Operation, QueuedQuery
from tests.support.backend import Answer, fails, ok, rows_of

SCRIPT = {
    "select 1": rows_of(1),
    "select 2": rows_of(2),
    "insert": ok(),
    "bad": fails("22012"),
    "copy t from stdin": Answer("COPY 1", copy="in"),
    "hidden copy": Answer("COPY 1", copy="in"),
    "moved": fails("25006"),
}


def query(sql: str, *args: object, timeout: float | None = None) -> Execution:
    """A statement to run; `timeout` is its deadline."""
    operation = Execution([QueuedQuery(sql, args)])
    operation.deadline = timeout
    return operation


def batch(*texts: str, atomic: bool = True) -> Execution:
    """Statements without parameters, to be sent together."""
    return Execution([QueuedQuery(sql, ()) for sql in texts], atomic=atomic)


def rows(operation: Execution) -> list[list[tuple[object, ...]]]:
    """What each item has returned."""
    return [[tuple(row) for row in item.rows] for item in operation.items]


def error_of(operation: Operation) -> BaseException:
    """What it failed with."""
    assert operation.finished
    assert operation.error is not None
    return operation.error


def sql_error(operation: Operation) -> str:
    """The SQLSTATE of what it failed with, or what else that was."""
    assert operation.finished
    return operation.error.sqlstate if isinstance(operation.error, PostgresError) else repr(operation.error)
