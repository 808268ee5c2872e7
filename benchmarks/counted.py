"""The hot paths of the core, each as one operation: what `budget.py` has counted for the instruction budget.

Bytes in memory, no socket and no server: an Engine is given the answers that PostgreSQL would send.  A case
is a function that makes ready and returns the operation; an operation ends when a caller would have its rows.
Every case is run a few times first, so that caches are full, and its result is looked at.

Contract with `budget.py`: as a program this runs every case as often as the table says and calls `os.getppid`
before and after it.  Nothing else calls that, so a profiler can tell the cases apart by it.  It prints the
build of pgproto that it has imported.
"""

from __future__ import annotations

import datetime
import gc
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import pgproto
from pgproto.protocol import Authenticator
from pgproto.session import (
    Engine,
    ExecuteMany,
    Execution,
    Observer,
    QueuedQuery,
    Startup,
    StatementCache,
)
from pgproto.session.sources import ExecutionBuffer, RecordBuffer, encoded
from pgproto.types import CopyRowEncoder, ParameterEncoder
from pgproto.wire import (
    AuthenticationOk,
    BindComplete,
    CommandComplete,
    DataRow,
    FieldDescription,
    NoData,
    ParameterDescription,
    ParameterStatus,
    ParseComplete,
    ReadyForQuery,
    RowDescription,
)

from .workloads import RECORD

__all__ = ["CASES", "Case", "prepared"]

Operation = Callable[[], Any]

RECORD_TYPES: Final = (23, 23, 23, 25, 701, 23, 25)
PG_TYPE: Final = ("bool", 11, 10, 1, True, "B", True, True, ",", 0, 0, 1000)
PG_TYPE_TYPES: Final = (19, 26, 26, 21, 16, 18, 16, 16, 18, 26, 26, 26)
MIXED: Final = (
    7,
    70_000_000_000,
    3.5,
    "row 7",
    True,
    datetime.datetime(2026, 1, 1, 0, 7, tzinfo=datetime.UTC),
)
MIXED_TYPES: Final = (23, 20, 701, 25, 16, 1184)
_WARM: Final = 3


class Server:
    """An Engine, and the answers that it is given.

    Args:
        parameters: the types of the statement's parameters.
        results: the types of its columns.
        observers: who is told what the engine does.
    """

    def __init__(
        self, parameters: Sequence[int], results: Sequence[int], observers: Sequence[Observer] = ()
    ) -> None:
        statements = StatementCache(prefix="s")
        self._engine = Engine(clock=lambda: 0.0, statements=statements, observers=observers)
        self._results = results
        columns = [
            FieldDescription(f"c{number}", 0, 0, type_oid=oid, type_size=-1, type_modifier=-1)
            for number, oid in enumerate(results)
        ]
        described = RowDescription(columns) if columns else NoData()
        self._prepared = b"".join(
            message.encode()
            for message in (ParseComplete(), ParameterDescription(list(parameters)), described, _READY)
        )
        startup = Startup({"user": "u"}, _authenticator)
        self._engine.start(startup)
        hello = AuthenticationOk().encode() + ParameterStatus("client_encoding", "UTF8").encode()
        self._converse(hello + _READY.encode())

    def answer(self, rows: Sequence[Sequence[object]], tag: str) -> bytes:
        """What one statement is answered."""
        encoder = ParameterEncoder(self._results)
        data = [DataRow(encoder.encode(row)).encode() for row in rows]
        return b"".join([BindComplete().encode(), *data, CommandComplete(tag).encode()])

    def operation(self, arguments: Sequence[object], answer: bytes, count: int = 1) -> Operation:
        """Run the statement so often as a batch: its items."""
        sql = "the statement"
        answers = answer * count + _READY.encode()
        self._run([QueuedQuery(sql, arguments)], self._prepared, answer + _READY.encode())

        def operation() -> list[QueuedQuery]:
            return self._run([QueuedQuery(sql, arguments) for _ in range(count)], answers)

        return operation

    def many(self, records: Sequence[Sequence[object]], answer: bytes) -> Operation:
        """Run the statement with these records by executemany: how many rows it affected."""
        self._run([QueuedQuery("the statement", records[0])], self._prepared, answer + _READY.encode())
        answers = answer * len(records) + _READY.encode()

        def operation() -> int:
            many = ExecuteMany("the statement")
            self._engine.submit(many)
            for run in encoded(ExecutionBuffer(many), records):
                many.feed(run)
                self._engine.resume()
                self._drain()
            many.end()
            self._engine.resume()
            self._converse(answers)
            return many.rowcount

        return operation

    def _run(self, items: list[QueuedQuery], *answers: bytes) -> list[QueuedQuery]:
        execution = Execution(items)
        self._engine.submit(execution)
        for answer in answers:
            self._converse(answer)
        if not execution.finished or execution.error is not None:
            raise RuntimeError(f"the engine did not take the answer: {execution.error}")
        return items

    def _converse(self, answer: bytes) -> None:
        """Take what the engine writes, as a transport does, and give it the answer."""
        engine = self._engine
        self._drain()
        engine.receive_data(answer)
        self._drain()
        engine.take_ready()

    def _drain(self) -> None:
        engine = self._engine
        while data := engine.data_to_send():
            engine.data_sent(len(data))


def _authenticator(encrypted: bool, binding: bytes | None) -> Authenticator:
    return Authenticator(user="u", password=None, nonce="x" * 24, require_auth="none")


_READY: Final = ReadyForQuery("I")


def selects(count: int, observers: Sequence[Observer] = ()) -> Operation:
    """So many cached selects of one int4, one Sync."""
    server = Server([23], [23], observers)
    return _checked(server.operation((7,), server.answer([(7,)], "SELECT 1"), count), count, [(7,)])


def inserts(count: int) -> Operation:
    """So many inserts of a record in a batch, one Sync."""
    server = Server(RECORD_TYPES, [])
    return _checked(server.operation(RECORD, server.answer([], "INSERT 0 1"), count), count, [])


def many(count: int) -> Operation:
    """An insert with so many records by executemany."""
    server = Server(RECORD_TYPES, [])
    operation = server.many([RECORD] * count, server.answer([], "INSERT 0 1"))
    if operation() != count:
        raise RuntimeError("the executions were not counted")
    return operation


def rows(types: Sequence[int], row: Sequence[object], count: int) -> Operation:
    """A cached select of so many rows."""
    server = Server([], types)
    answer = server.answer([row] * count, f"SELECT {count}")
    return _checked(server.operation((), answer), 1, [tuple(row)] * count)


def records(count: int) -> Operation:
    """So many records, encoded for a binary COPY."""
    encoder = CopyRowEncoder(list("abcdefg"), RECORD_TYPES)
    source = [RECORD] * count

    def operation() -> int:
        return sum(len(chunk) for chunk in encoded(RecordBuffer(encoder), source))

    if operation() <= count * 50:
        raise RuntimeError("the records were not encoded")
    return operation


def _checked(operation: Operation, count: int, expected: list[tuple[object, ...]]) -> Operation:
    items = operation()
    found = [[tuple(row) for row in item.rows] for item in items]
    if found != [expected] * count:
        raise RuntimeError(f"wrong rows: {found!r:.200}")
    return operation


class Case(NamedTuple):
    """One hot path.

    Attributes:
        prepare: makes ready; returns the operation.
        arguments: for `prepare`.
        repeat: how many operations are counted.
    """

    prepare: Callable[..., Operation]
    arguments: tuple[Any, ...]
    repeat: int


CASES: Final[dict[str, Case]] = {
    "one cached select": Case(selects, (1,), 50),
    "batch of 100 cached selects": Case(selects, (100,), 3),
    "1,000 inserts of 7 columns": Case(inserts, (1000,), 1),
    "executemany of 1,000 records": Case(many, (1000,), 1),
    "1,000 rows of one int4": Case(rows, ((23,), (7,), 1000), 3),
    "100 rows of pg_type": Case(rows, (PG_TYPE_TYPES, PG_TYPE, 100), 3),
    "1,000 mixed rows": Case(rows, (MIXED_TYPES, MIXED, 1000), 1),
    "100 rows of int4[100]": Case(rows, ((1007,), ([*range(100)],), 100), 1),
    "100 rows of 1 kB bytea": Case(rows, ((17,), (bytes(1000),), 100), 3),
    "1,000 records for COPY": Case(records, (1000,), 1),
}


def prepared() -> dict[str, Operation]:
    """Every case's operation, warm."""
    operations = {name: case.prepare(*case.arguments) for name, case in CASES.items()}
    for operation in operations.values():
        for _ in range(_WARM):
            operation()
    return operations


def main() -> None:
    """Run every case between two marks."""
    operations = prepared()
    gc.collect()
    gc.disable()
    for name, operation in operations.items():
        turns = range(CASES[name].repeat)
        os.getppid()
        for _ in turns:
            operation()
        os.getppid()
    sys.stdout.write(f"{pgproto.build}\n")


if __name__ == "__main__":
    main()
