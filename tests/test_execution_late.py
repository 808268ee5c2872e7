"""FETCH and EXECUTE are described before each run, in a segment that waits for the answer."""

from __future__ import annotations

import pytest

from pgproto import Outcome, PostgresError, QueryTimeout, TransactionAborted
from pgproto.session import GRACE, Execution, Transaction
from pgproto.wire import Bind, Describe, Execute, Flush, Parse, Sync
from tests.support.backend import INT4, TEXT, Answer, fails, int4, ok, rows_of
from tests.support.pair import Pair, byte_by_byte
from tests.support.queries import batch, query

pytestmark = pytest.mark.holds("L12")

FETCH = Answer("FETCH 1", columns=[("n", INT4)], rows=[[int4(7)]], late=True)
SCRIPT = {
    "fetch c": FETCH,
    "fetch d": FETCH,
    "fetch gone": fails("34000", "describe"),
    "execute nothing": Answer("INSERT 0 1", late=True),
    "insert": ok(),
    "bad": fails("22012"),
    "select 1": rows_of(1),
}
C, F, S, R, N = (
    Outcome.COMMITTED,
    Outcome.FAILED,
    Outcome.SKIPPED,
    Outcome.ROLLED_BACK,
    Outcome.NOT_SENT,
)


def labels(operation: Execution) -> list[Outcome | None]:
    return [item.outcome for item in operation.items]


def known() -> Pair:
    """A pair whose statements are prepared."""
    pair = Pair(SCRIPT)
    pair.run(batch("insert", "fetch c", "fetch d", "select 1", "execute nothing"))
    return pair


def stopped_while_describing(pair: Pair, operation: Execution) -> None:
    """The operation waits for the description that the server does not send."""
    pair.backend.silent = True
    operation.deadline = pair.now + 1
    pair.engine.submit(operation)
    pair.send()


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_each_run_has_its_own_shape(atomic: bool, named: bool, whole: bool) -> None:
    pair = Pair(SCRIPT, named=named)
    if not whole:
        pair.chop = byte_by_byte
    first = pair.run(batch("insert", "fetch c", "fetch c", "insert", "execute nothing", atomic=atomic))
    assert labels(first) == [C] * 5
    assert [[tuple(row) for row in item.rows] for item in first.items] == [[], [(7,)], [(7,)], [], []]
    answer = Answer("FETCH 2", columns=[("a", TEXT), ("b", INT4)], rows=[[b"x", int4(1)], [b"y", int4(2)]])
    pair.backend.script["fetch c"] = answer
    second = pair.run(batch("fetch c", atomic=atomic))
    assert [tuple(row) for row in second.items[0].rows] == [("x", 1), ("y", 2)]
    assert second.items[0].columns == ("a", "b")
    assert pair.engine.idle


def test_golden_describe_bind_execute_in_one_segment() -> None:
    pair = known()
    mark = len(pair.backend.heard)
    pair.run(batch("insert", "fetch c"))
    assert [type(each) for each in pair.backend.heard[mark:]] == [
        *(Bind, Execute, Parse, Describe, Flush),
        *(Bind, Execute, Sync),
    ]


@pytest.mark.parametrize(
    ("texts", "expected", "code"),
    [
        (["bad", "fetch c", "insert"], [F, S, S], "22012"),
        (["insert", "fetch c", "bad", "fetch c", "fetch d", "insert"], [R, R, F, S, S, S], "22012"),
        (["insert", "fetch gone"], [N, F], "34000"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_an_error_before_the_description(
    texts: list[str], expected: list[Outcome], code: str, named: bool
) -> None:
    pair = Pair(SCRIPT, named=named)
    operation = pair.run(batch(*texts))
    assert labels(operation) == expected
    assert isinstance(operation.error, PostgresError)
    assert operation.error.sqlstate == code
    assert pair.engine.idle
    assert labels(pair.run(batch("fetch c"))) == [C]


def test_an_error_instead_of_the_description() -> None:
    pair = known()
    pair.backend.script["fetch c"] = fails("34000", "describe")
    operation = pair.run(batch("insert", "fetch c", "insert", "fetch d"))
    assert labels(operation) == [R, F, S, S]
    alone = pair.run(batch("fetch d", "fetch c", atomic=False))
    assert labels(alone) == [C, F]
    assert pair.engine.idle


def test_a_begin_that_fails() -> None:
    pair = known()
    pair.backend.script["BEGIN"] = fails("25001")
    block = Transaction(pair.engine)
    block.enter()
    operation = pair.run(batch("fetch c", "insert"))
    assert labels(operation) == [S, S]
    assert list(block.rollback()) == []
    del pair.backend.script["BEGIN"]
    block = Transaction(pair.engine)
    block.enter()
    operation = pair.run(batch("fetch c"))
    assert labels(operation) == [Outcome.OK_IN_TX]


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("abandon", [True, False])
def test_stopped_before_anything_was_executed(atomic: bool, abandon: bool) -> None:
    """A plain Sync ends it: the session and those behind it go on."""
    pair = known()
    operation = batch("fetch c", "insert", atomic=atomic)
    stopped_while_describing(pair, operation)
    other = query("select 1")
    pair.engine.submit(other)
    if abandon:
        pair.engine.abandon(operation)
    else:
        pair.pass_time(1)
    pair.backend.go_on()
    pair.pump()
    assert labels(operation) == [N, N]
    assert isinstance(operation.error, QueryTimeout) is not abandon
    assert other.items[0].rows[0][0] == 1
    assert pair.backend.committed.count("insert") == 1
    assert pair.engine.idle


def test_stopped_before_anything_was_executed_and_then_refused() -> None:
    pair = known()
    operation = batch("fetch c")
    stopped_while_describing(pair, operation)
    pair.backend.script["fetch c"] = fails("34000", "describe")
    pair.pass_time(1)
    pair.backend.go_on()
    pair.pump()
    assert labels(operation) == [N]
    assert isinstance(operation.error, QueryTimeout)
    assert pair.engine.idle


def test_stopped_after_something_was_executed_closes_the_session() -> None:
    """Its Sync would commit the half."""
    pair = known()
    operation = batch("insert", "fetch c")
    stopped_while_describing(pair, operation)
    pair.pass_time(1 + GRACE)
    assert pair.engine.finished
    assert labels(operation) == [Outcome.NOT_COMMITTED] * 2


def test_lost_while_describing() -> None:
    pair = known()
    operation = batch("insert", "fetch c", "insert")
    stopped_while_describing(pair, operation)
    pair.eof()
    assert labels(operation) == [Outcome.NOT_COMMITTED, Outcome.NOT_COMMITTED, N]


def test_lost_in_a_failed_begin() -> None:
    pair = known()
    block = Transaction(pair.engine)
    block.enter()
    operation = batch("fetch c")
    stopped_while_describing(pair, operation)
    pair.eof()
    assert labels(operation) == [Outcome.NOT_COMMITTED]
    assert not isinstance(operation.error, TransactionAborted)


def test_two_callers_of_one_statement() -> None:
    pair = known()
    operations = [batch("fetch c") for _ in range(3)]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    assert [operation.items[0].rows[0][0] for operation in operations] == [7, 7, 7]
