"""Transaction blocks: BEGIN that travels with the first statement, savepoints, and how a block ends."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Generator

import pytest

from pgproto import LocalProtocolError, Outcome, QueryTimeout, TransactionAborted
from pgproto.session import (
    Execution,
    Operation,
    QueuedQuery,
    Script,
    Transaction,
)
from pgproto.wire import Query
from tests.support.backend import fails, ok
from tests.support.pair import Pair
from tests.support.queries import query, sql_error

SCRIPT = {"insert": ok(), "bad": fails("22012")}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def run_flow(pair: Pair, flow: Generator[Operation, None, None]) -> None:
    """As an adapter does: run each operation, throw its error into the flow."""
    try:
        operation = next(flow)
        while True:
            try:
                pair.run(operation)
                if operation.error is not None:
                    raise operation.error
            except Exception as error:
                operation = flow.throw(error)
            else:
                operation = flow.send(None)
    except StopIteration:
        return


def test_golden_begin_travels_with_the_first_statement() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("insert"))
    pair.log.clear()
    block = Transaction(pair.engine, isolation="serializable", readonly=False, deferrable=True)
    block.enter()
    assert pair.run(query("insert")).items[0].outcome is Outcome.OK_IN_TX
    run_flow(pair, block.commit())
    assert [line for line in pair.trace() if line.startswith("F")] == [
        'F\t64\tParse\t "" "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE DEFERRABLE" 0',
        'F\t12\tBind\t "" "" 0 0 0',
        'F\t9\tExecute\t "" 0',
        'F\t14\tBind\t "" "s1" 0 0 0',
        'F\t9\tExecute\t "" 0',
        "F\t4\tSync",
        'F\t11\tQuery\t "COMMIT"',
    ]
    assert pair.backend.committed == ["insert", "insert"]
    assert pair.engine.reusable


def test_a_block_in_which_nothing_was_sent_costs_nothing(pair: Pair) -> None:
    for leave in (Transaction.commit, Transaction.rollback):
        block = Transaction(pair.engine)
        block.enter()
        run_flow(pair, leave(block))
        assert pair.engine.reusable
        with pytest.raises(LocalProtocolError, match="not open"):
            run_flow(pair, leave(block))
    assert pair.log == []


def test_savepoints(pair: Pair) -> None:
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    with pytest.raises(LocalProtocolError, match="open already"):
        outer.enter()
    inner.enter()
    assert [outer.nested, inner.nested] == [False, True]
    assert pair.run(Script("bad")).error is not None
    run_flow(pair, inner.rollback())
    second = Transaction(pair.engine)
    second.enter()
    assert pair.run(query("insert")).error is None
    run_flow(pair, second.commit())
    run_flow(pair, outer.commit())
    assert pair.backend.committed == ["insert"]
    queries = [each.query for each in pair.backend.heard if isinstance(each, Query)]
    assert queries == [
        "BEGIN; SAVEPOINT pgproto_1; bad",
        "ROLLBACK TO SAVEPOINT pgproto_1; RELEASE SAVEPOINT pgproto_1",
        "RELEASE SAVEPOINT pgproto_2",
        "COMMIT",
    ]
    assert pair.engine.reusable


def test_options(pair: Pair) -> None:
    with pytest.raises(LocalProtocolError, match="unknown isolation level"):
        Transaction(pair.engine, isolation="snapshot")
    outer = Transaction(pair.engine, readonly=True)
    outer.enter()
    with pytest.raises(LocalProtocolError, match="no isolation level"):
        Transaction(pair.engine, isolation="REPEATABLE_READ").enter()


def test_a_failed_transaction(pair: Pair) -> None:
    block = Transaction(pair.engine)
    block.enter()
    assert sql_error(pair.run(query("bad"))) == "22012"
    with pytest.raises(LocalProtocolError, match="surrounding transaction has failed"):
        Transaction(pair.engine).enter()
    with pytest.raises(TransactionAborted):
        run_flow(pair, block.commit())
    assert pair.engine.reusable


def test_somebody_else_may_not_run_inside(pair: Pair) -> None:
    outside = contextvars.copy_context()
    block = Transaction(pair.engine)
    block.enter()
    foreign = query("insert")
    with pytest.raises(LocalProtocolError, match="another task's transaction"):
        outside.run(pair.engine.submit, foreign)
    with pytest.raises(LocalProtocolError, match="another task's transaction"):
        outside.run(Transaction(pair.engine).enter)
    run_flow(pair, block.rollback())
    assert pair.run(query("insert")).error is None


@pytest.mark.parametrize("caught", [False, True])
def test_nothing_of_a_transaction_runs_without_its_begin(caught: bool) -> None:
    pair = Pair({**SCRIPT, "BEGIN": fails("57014")})
    pair.run(query("insert"))
    pair.backend.committed.clear()
    block = Transaction(pair.engine)
    block.enter()
    first = Execution([QueuedQuery("insert", ()) for _ in range(3)], atomic=False)
    second, third = query("insert"), Script("insert")
    for operation in (first, second, third):
        pair.engine.submit(operation)
    pair.pump()
    assert first.items[0].outcome is Outcome.SKIPPED
    assert {item.outcome for item in first.items[1:]} == {Outcome.NOT_SENT}
    for operation in (second, third):
        assert isinstance(operation.error, TransactionAborted)
        assert operation.error.outcome is Outcome.NOT_SENT
    with pytest.raises(LocalProtocolError, match="BEGIN failed"):
        pair.engine.submit(query("insert"))
    if caught:
        with pytest.raises(TransactionAborted, match="BEGIN failed"):
            run_flow(pair, block.commit())
    else:
        run_flow(pair, block.rollback())
    assert pair.backend.committed == []
    assert pair.run(query("insert")).error is None
    assert pair.engine.reusable


def test_begin_that_fails_in_front_of_a_parse_and_of_a_script() -> None:
    pair = Pair({**SCRIPT, "BEGIN": fails("57014")})
    block = Transaction(pair.engine)
    block.enter()
    operation = pair.run(query("insert"))
    assert sql_error(operation) == "57014"
    assert operation.items[0].outcome is Outcome.SKIPPED
    run_flow(pair, block.rollback())
    block = Transaction(pair.engine)
    block.enter()
    assert sql_error(pair.run(Script("insert"))) == "57014"
    run_flow(pair, block.rollback())
    assert pair.backend.committed == []


@pytest.mark.parametrize("savepoint", [False, True], ids=["block", "savepoint"])
@pytest.mark.parametrize("leave", [Transaction.commit, Transaction.rollback])
@pytest.mark.parametrize("why", ["out of time", "abandoned"])
def test_a_block_whose_end_was_never_sent_ends_the_session(
    pair: Pair, why: str, leave: Callable[[Transaction], Generator[Operation, None, None]], savepoint: bool
) -> None:
    """The next block would be a savepoint in this one: committed, its caller is told, and then lost."""
    block = Transaction(pair.engine)
    block.enter()
    assert pair.run(query("insert")).error is None
    if savepoint:
        block = Transaction(pair.engine)
        block.enter()
        assert pair.run(query("insert")).error is None
    pair.backend.silent = True
    slow = query("insert")
    pair.engine.submit(slow)
    pair.send()
    pair.engine.abandon(slow)  # nothing is sent until its cancel request is done
    flow = leave(block)
    last = next(flow)
    last.deadline = pair.now + 1
    pair.engine.submit(last)
    if why == "abandoned":
        pair.engine.abandon(last)
    else:
        pair.pass_time(1)
    assert last.finished
    with pytest.raises(QueryTimeout):
        flow.throw(last.error or QueryTimeout("abandoned"))
    assert pair.engine.finished


def test_rollback_of_what_is_gone(pair: Pair) -> None:
    block = Transaction(pair.engine)
    block.enter()
    pair.run(query("insert"))
    pair.eof()
    run_flow(pair, block.rollback())
    assert pair.engine.channel.transaction is None
