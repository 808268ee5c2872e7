"""What the tests of ExecuteMany share: a script, and an adapter's part of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from pgproto import Error, Outcome
from pgproto.session import ExecuteMany, Operation
from pgproto.session.sources import ExecutionBuffer, encoded
from tests.support.backend import INT4, Answer, error_fields, fails, int4, ok, rows_of
from tests.support.pair import Pair
from tests.support.queries import error_of

INSERT = "insert into t values ($1)"


def script() -> dict[str, Answer]:
    third = Answer("INSERT 0 1", types=[INT4], error=error_fields("23505"), spares=2)
    return {
        INSERT: ok(types=[INT4]),
        "third": third,
        "third dies": Answer("INSERT 0 1", types=[INT4], error=error_fields("57P01", "", "FATAL"), spares=2),
        "third binds": Answer(
            "INSERT 0 1", types=[INT4], error=error_fields("22P02"), fails="bind", spares=2
        ),
        "commit": Answer("COMMIT", error=error_fields("25P01"), spares=1),
        "deferred": Answer("INSERT 0 1", types=[INT4], error=error_fields("23503"), fails="sync"),
        "bad": fails("42601", "parse"),
        "returning": Answer("INSERT 0 1", types=[INT4], columns=[("n", INT4)], rows=[[int4(1)]]),
        "update": ok("UPDATE 2"),
        "": Answer(""),
        "deallocate all": ok("DEALLOCATE ALL"),
        "hidden copy in": Answer("COPY 1", copy="in"),
        "copy t to stdout": Answer("COPY 1", copy="out", rows=[[b"1\n"]]),
        "select 1": rows_of(1),
    }


def ones(count: int) -> list[tuple[int]]:
    return [(n,) for n in range(count)]


def hand_over(pair: Pair, operation: ExecuteMany, records: Iterable[Sequence[Any]]) -> None:
    """What an adapter does: feed while there is room."""
    for run in encoded(ExecutionBuffer(operation), records):
        operation.feed(run)
        pair.engine.resume()
        while operation.full:
            pair.pump()
        if operation.over:
            return


def execute_many(pair: Pair, sql: str, records: Iterable[Sequence[Any]]) -> ExecuteMany:
    operation = pair.run(ExecuteMany(sql))
    assert not operation.starting
    if not operation.over:
        hand_over(pair, operation, records)
        operation.end()
        pair.engine.resume()
        pair.pump()
    assert operation.finished
    return operation


def outcome_of(operation: Operation) -> Outcome | None:
    error = error_of(operation)
    assert isinstance(error, Error)
    return error.outcome
