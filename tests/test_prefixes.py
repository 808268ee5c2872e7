"""Every prefix of what a server says, then its end in every way: one sound outcome per query, and no hang.

The model server goes on with what it has got, so that at the moment of the cut it knows what it has really
committed; the outcomes are held against that.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import Batch, ConnectionLost, Outcome, PostgresError, QueryTimeout, RemoteProtocolError
from pgproto.errors import Error
from pgproto.session import CopyIn, CopyOut, Execution, Operation, QueuedQuery, Script, Stream
from tests.support.backend import FATAL, POOLER_ERROR, POOLER_FATAL, Answer, error_fields, fails, ok, rows_of
from tests.support.pair import Pair

SCRIPT: dict[str, Answer] = {
    "copy t from stdin": Answer("COPY 3", copy="in"),
    "copy t to stdout": Answer("COPY 2", copy="out", rows=[[b"1\n"], [b"2\n"]]),
    "select": rows_of(1, 2, 3),
    "bad parse": fails("42601", "parse"),
    "bad": fails("22012"),
    "bad bind": fails("0A000", "bind"),
    "deferred": Answer("INSERT 0 1", error=error_fields("23503"), fails="sync"),
    "select 1; bad": ok(),
    **{f"insert {number}": ok() for number in range(9)},
}

EFFECTS = ("insert", "select", "copy", "deferred")
SAFE = {Outcome.NOT_SENT, Outcome.NOT_COMMITTED, Outcome.SKIPPED, Outcome.ROLLED_BACK, Outcome.FAILED}
DONE = {Outcome.COMMITTED, Outcome.OK_IN_TX}
Scenario = Callable[[], list[Operation]]


def batch(*texts: str, atomic: bool = True) -> Operation:
    queue = Batch(atomic=atomic)
    for text in texts:
        queue.queue(text)
    return Execution(queue.take(), atomic=atomic)


def copy_in() -> Operation:
    operation = CopyIn("copy t from stdin")
    operation.feed(b"data")
    operation.end()
    return operation


SCENARIOS: dict[str, Scenario] = {
    "one": lambda: [batch("insert 1")],
    "rows": lambda: [batch("select")],
    "batch": lambda: [batch("insert 1", "select", "insert 2")],
    "batch fails": lambda: [batch("insert 1", "bad", "insert 2")],
    "batch bind fails": lambda: [batch("insert 1", "bad bind", "insert 2")],
    "batch parse fails": lambda: [batch("insert 1", "bad parse", "insert 2")],
    "deferred": lambda: [batch("insert 1", "deferred"), batch("insert 2")],
    "isolated": lambda: [batch("insert 1", "bad", "bad parse", "insert 2", atomic=False)],
    "control": lambda: [batch("insert 1", "commit", "insert 2", "bad", "insert 3")],
    "control rolls back": lambda: [batch("begin", "insert 1", "rollback", "insert 2", "commit", "bad")],
    "pipelined": lambda: [batch("insert 1"), batch("bad"), batch("insert 2", "insert 3"), Script("insert 4")],
    "script": lambda: [Script("insert 1"), Script("insert 2; insert 3"), Script("insert 4; bad; insert 5")],
    "by hand": lambda: [batch("begin"), batch("insert 1"), batch("commit"), batch("insert 2")],
    "copy in": lambda: [batch("insert 1"), copy_in()],
    "copy out": lambda: [batch("insert 1"), CopyOut("copy t to stdout")],
    "stream": lambda: [batch("insert 1"), Stream(QueuedQuery("select", ()))],
}
each_scenario = pytest.mark.parametrize("name", SCENARIOS)


def play(
    name: str, limit: int = -1, *, messages: int = -1, last_words: bytes = b""
) -> tuple[Pair, list[Operation]]:
    """Run a scenario until the server's bytes (or messages) up to the limit have arrived."""
    pair = Pair(SCRIPT)
    pair.limit = limit
    pair.backend.messages_left = messages
    pair.backend.last_words = last_words
    operations = SCENARIOS[name]()
    for operation in operations:
        operation.deadline = pair.now + 60
        pair.engine.submit(operation)
    pair.pump()
    return pair, operations


def outcomes(operation: Operation) -> list[tuple[str, Outcome | None, Exception | None, bool]]:
    """Each query of the operation: its text, outcome and error, and whether it is one of several."""
    if isinstance(operation, Execution):
        return [(item.sql, item.outcome, item.error, True) for item in operation.items]
    error = operation.error
    assert isinstance(operation, Script | CopyIn | CopyOut)
    if error is None:
        return [(operation.sql, Outcome.COMMITTED, None, False)]
    assert isinstance(error, Error)
    return [(operation.sql, error.outcome, error, False)]


def check(pair: Pair, operations: list[Operation], what: object) -> list[Outcome]:
    """Everything has ended, once, with an outcome that the truth allows."""
    engine = pair.engine
    assert engine.finished, what
    assert engine.next_deadline() is None
    pair.ready += engine.take_ready()
    committed = pair.backend.committed
    labels: list[Outcome] = []
    for operation in operations:
        assert operation.finished, what
        assert operation.error is None or isinstance(operation.error, Error), what
        for sql, outcome, error, _ in outcomes(operation):
            parts = [
                part for part in sql.split("; ") if part.startswith(("insert", "select", "copy", "deferred"))
            ]
            assert outcome is not None, (what, sql)
            labels.append(outcome)
            if any(part in committed for part in parts):
                assert outcome not in SAFE, (what, sql, outcome, committed)
            elif parts and outcome is Outcome.COMMITTED:
                # What a statement of the batch undid was asked for; else the label means that it is there.
                assert name_of(what) == "control rolls back", (what, sql, committed)
            if outcome in DONE:
                assert error is None, (what, sql, error)
            elif error is not None and outcome is not Outcome.SKIPPED:
                assert isinstance(error, Error)
                assert error.outcome is outcome, (what, sql, error)
    return labels


def name_of(what: object) -> str:
    assert isinstance(what, tuple)
    return str(what[0])


def total(name: str) -> int:
    """How many bytes the server says in a scenario."""
    pair = Pair(SCRIPT)
    operations = SCENARIOS[name]()
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    assert all(operation.finished for operation in operations)
    return sum(len(data) for direction, data in pair.log if direction == "B")


def message_count(name: str) -> int:
    count = 0
    while play(name, messages=count)[0].backend.dead:
        count += 1
        assert count < 1000
    return count


ENDINGS: dict[str, bytes] = {
    "eof": b"",
    "pooler": POOLER_FATAL,
    "old pooler": POOLER_ERROR,
    "pooler behind junk": b"\0" + POOLER_FATAL,
}


@pytest.mark.slow
@each_scenario
@pytest.mark.parametrize("ending", [*ENDINGS, "silence", "reset", "abandoned"])
def test_every_prefix(name: str, ending: str) -> None:
    for limit in range(total(name)):
        pair, operations = play(name, limit)
        what = (name, ending, limit)
        if ending == "silence":
            pair.pass_time(62)
            if not pair.engine.finished:
                # The scenario had answered everybody before the cut.
                assert all(operation.finished for operation in operations), what
                pair.engine.close()
        elif ending == "reset":
            pair.engine.transport_failed(ConnectionResetError("reset"))
        elif ending == "abandoned":
            for operation in operations:
                pair.engine.abandon(operation)
            pair.pass_time(2)
            assert pair.engine.finished or all(operation.finished for operation in operations), what
            pair.engine.close()
        else:
            if ENDINGS[ending]:
                pair.engine.receive_data(ENDINGS[ending])
            pair.eof()
        check(pair, operations, what)


@each_scenario
@pytest.mark.parametrize("second", [b"", POOLER_FATAL, FATAL])
def test_the_servers_own_fatal_after_every_message(name: str, second: bytes) -> None:
    """The server dies of its own FATAL: nothing that it had not committed then is ever committed."""
    for messages in range(message_count(name)):
        pair, operations = play(name, messages=messages, last_words=FATAL + second)
        what = (name, messages)
        if not pair.engine.finished:
            pair.pass_time(1)
        if not pair.engine.finished:
            pair.eof()
        check(pair, operations, what)
        closed = pair.engine.connection.closed
        assert closed is not None
        assert isinstance(closed.error, PostgresError)
        assert closed.error.sqlstate == "57P01"
        assert len(closed.also) == bool(second)
        for operation in operations:
            for sql, outcome, error, _ in outcomes(operation):
                if outcome is Outcome.UNKNOWN:
                    assert isinstance(error, ConnectionLost), (what, sql, error)
                    assert error.sqlstate == "57P01"


@each_scenario
def test_where_the_server_itself_says_where_it_was_little_is_unknown(name: str) -> None:
    """Precision: of one atomic batch alone, nothing is unknown but at the commit."""
    if name not in ("batch", "batch fails", "rows", "one"):
        return
    unknown = 0
    count = message_count(name)
    for messages in range(count):
        pair, operations = play(name, messages=messages, last_words=FATAL)
        pair.eof()
        unknown += Outcome.UNKNOWN in check(pair, operations, (name, messages))
    assert unknown == (name != "batch fails")  # the one place: behind the last CommandComplete


def test_deadline_of_a_silent_server() -> None:
    pair, operations = play("one", 0)
    pair.pass_time(59.9)
    pair.ready.clear()
    pair.pass_time(1)
    assert pair.ready == operations
    assert isinstance(operations[0].error, QueryTimeout)
    assert pair.engine.finished


@each_scenario
def test_nonsense_after_every_byte(name: str) -> None:
    for limit in range(0, total(name), 3):
        pair, operations = play(name, limit)
        pair.engine.receive_data(b"\xff" * 5)
        pair.pass_time(61)
        if not pair.engine.finished:
            pair.eof()
        check(pair, operations, (name, limit))
        closed = pair.engine.connection.closed
        assert closed is not None
        assert isinstance(closed.error, RemoteProtocolError | ConnectionLost | QueryTimeout | PostgresError)
