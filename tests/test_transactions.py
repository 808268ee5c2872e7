"""Transaction blocks: BEGIN that travels with the first statement, savepoints, and how a block ends."""

from __future__ import annotations

import contextvars
import functools
import gc
from collections.abc import Callable, Generator
from typing import TypeVar

import pytest

from pgproto import Error, LocalProtocolError, Outcome, QueryTimeout, TransactionAborted
from pgproto.session import (
    CopyOut,
    Execution,
    Operation,
    QueuedQuery,
    Script,
    Stream,
    Transaction,
)
from pgproto.session.blocks import INSIDE
from pgproto.wire import Query
from tests.support.backend import Answer, error_fields, fails, ok
from tests.support.flows import copying_in, run_flow
from tests.support.many import execute_many
from tests.support.pair import Pair
from tests.support.queries import query, sql_error

T = TypeVar("T")

SCRIPT = {"insert": ok(), "bad": fails("22012")}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


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
        "bad",
        "ROLLBACK TO SAVEPOINT pgproto_1; RELEASE SAVEPOINT pgproto_1",
        "RELEASE SAVEPOINT pgproto_2",
        "COMMIT",
    ]
    assert pair.engine.reusable


def test_a_transaction_whose_first_script_cannot_be_parsed(pair: Pair) -> None:
    pair.backend.script["typo"] = Answer(error={**error_fields("42601"), "P": "8"}, fails="parse")
    block = Transaction(pair.engine)
    block.enter()
    assert sql_error(pair.run(Script("typo"))) == "42601"
    refused(pair, "its first script or COPY, with which BEGIN was sent, could not be parsed")
    with pytest.raises(TransactionAborted, match="has not begun"):
        run_flow(pair, block.commit())
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
    with pytest.raises(Error) as caught:
        flow.throw(last.error or Error("abandoned"))
    assert isinstance(caught.value, QueryTimeout) is (why != "abandoned")
    assert pair.engine.finished


def test_rollback_of_what_is_gone(pair: Pair) -> None:
    block = Transaction(pair.engine)
    block.enter()
    pair.run(query("insert"))
    pair.eof()
    run_flow(pair, block.rollback())
    assert not pair.engine.blocks.open


Runner = Callable[[Callable[[], object]], object]


class Task:
    """Who runs, as an adapter tells it."""

    def __init__(self) -> None:
        self.over = False


class Tasks:
    """Switches between tasks, each with a context of its own."""

    def __init__(self, pair: Pair) -> None:
        self.running: Task | None = Task()
        blocks = pair.engine.blocks
        blocks.task = lambda: self.running
        blocks.is_over = lambda task: isinstance(task, Task) and task.over

    def another(self) -> Runner:
        """Another task, which begins now and here."""
        task, context = Task(), contextvars.copy_context()
        return lambda work: self.run(work, task, context)

    def forget(self) -> None:
        """The running task is gone for good."""
        self.running = None
        gc.collect()

    def run(self, work: Callable[[], T], task: Task, context: contextvars.Context) -> T:
        before, self.running = self.running, task
        try:
            return context.run(work)
        finally:
            self.running = before


def refused(
    pair: Pair, match: str, run: Callable[[Callable[[], object]], object] = lambda work: work()
) -> None:
    """Neither a statement nor a block is allowed now."""
    foreign = query("insert")
    with pytest.raises(LocalProtocolError, match=match):
        run(lambda: pair.engine.submit(foreign))
    assert foreign.items[0].outcome is Outcome.NOT_SENT
    with pytest.raises(LocalProtocolError, match=match):
        run(Transaction(pair.engine).enter)


@pytest.mark.holds("L9")
def test_a_savepoint_of_another_task_keeps_out_who_shares_the_transaction(pair: Pair) -> None:
    tasks = Tasks(pair)
    outer, a = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    in_b = tasks.another()
    assert pair.run(query("insert")).error is None
    a.enter()
    refused(pair, "another task's savepoint", in_b)
    assert pair.run(query("insert")).error is None
    run_flow(pair, a.rollback())
    in_b(lambda: pair.run(query("insert")))
    run_flow(pair, outer.commit())
    assert pair.backend.committed == ["insert", "insert"]


@pytest.mark.holds("L9")
def test_what_waits_for_its_turn_does_not_get_into_a_savepoint_that_is_entered_after_it(pair: Pair) -> None:
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    assert pair.run(Script("insert")).error is None
    waits = query("insert")  # its statement is prepared first
    pair.engine.submit(waits)
    pair.send()
    inner.enter()
    pair.pump()
    assert waits.items[0].outcome is Outcome.OK_IN_TX
    assert pair.run(query("insert")).error is None
    run_flow(pair, inner.rollback())
    run_flow(pair, outer.commit())
    assert pair.backend.committed == ["insert", "insert"]


@pytest.mark.holds("L10")
def test_a_task_that_outlives_its_block_is_refused(pair: Pair) -> None:
    tasks = Tasks(pair)
    blocks = pair.engine.blocks
    me = tasks.running
    assert me is not None
    for leave in (Transaction.commit, Transaction.rollback):
        block = Transaction(pair.engine)
        block.enter()
        child, context = Task(), contextvars.copy_context()
        in_child = functools.partial(tasks.run, task=child, context=context)
        in_child(lambda: pair.run(query("insert")))
        run_flow(pair, leave(block))
        refused(pair, "has ended", in_child)
        other = Transaction(pair.engine)
        other.enter()  # nor has it a part in the next one
        refused(pair, "has ended", in_child)
        run_flow(pair, other.rollback())
        # Who entered the block knows that it has left it, wherever it was ended.
        assert tasks.run(lambda: pair.run(query("insert")), me, context).error is None
        blocks.lend()
        # A new borrower: whatever was before does not concern it.
        again = contextvars.copy_context()
        assert tasks.run(lambda: pair.run(query("insert")), child, again).error is None
        blocks.take_back()


@pytest.mark.holds("L10")
def test_what_is_submitted_while_the_block_ends_would_run_after_it(pair: Pair) -> None:
    block = Transaction(pair.engine)
    block.enter()
    assert pair.run(query("insert")).error is None
    flow = block.commit()
    pair.engine.submit(next(flow))
    refused(pair, "transaction is being ended")
    assert block.ending
    with pytest.raises(LocalProtocolError, match="not open"):
        next(block.rollback())
    pair.pump()
    with pytest.raises(StopIteration):
        flow.send(None)
    assert pair.backend.committed == ["insert"]


@pytest.mark.holds("L10")
@pytest.mark.parametrize("leave", [Transaction.commit, Transaction.rollback])
def test_what_waits_for_its_turn_in_a_block_is_run_in_it(
    pair: Pair, leave: Callable[[Transaction], Generator[Operation, None, None]]
) -> None:
    """The block is left before the server has heard of it: BEGIN goes out with what waits all the same."""
    pair.run(query("insert"))
    pair.backend.committed.clear()
    pair.backend.silent = True
    front = query("select 1")
    pair.engine.submit(front)
    pair.send()
    pair.engine.abandon(front)  # until its cancel request is done, nothing else is sent
    outer = Transaction(pair.engine)
    outer.enter()
    waits = query("insert")
    pair.engine.submit(waits)
    flow = leave(outer)
    last = next(flow)
    pair.engine.submit(last)
    assert len(pair.engine.channel.segments) == 1
    assert pair.engine.take_cancel() is not None
    pair.backend.go_on()
    pair.engine.cancel_done()
    pair.pump()
    with pytest.raises(StopIteration):
        flow.send(None)
    assert waits.finished
    assert pair.backend.committed == (["insert"] if leave is Transaction.commit else [])


def test_who_may_act_by_handle(pair: Pair) -> None:
    """A connection that a pool has lent is its borrower's, in any task; savepoints still nest."""
    tasks = Tasks(pair)
    blocks = pair.engine.blocks
    elsewhere, context = Task(), contextvars.copy_context()
    blocks.lend()
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    outer.enter()
    assert tasks.run(lambda: pair.run(query("insert")), elsewhere, context).error is None
    tasks.run(inner.enter, elsewhere, context)
    refused(pair, "another task's savepoint")
    elsewhere.over = True
    assert pair.run(query("insert")).error is None
    run_flow(pair, inner.commit())
    tasks.run(lambda: run_flow(pair, outer.commit()), Task(), contextvars.copy_context())
    blocks.take_back()
    assert pair.run(query("insert")).error is None
    forgotten = Transaction(pair.engine)
    forgotten.enter()
    blocks.take_back()
    assert not pair.engine.reusable
    refused(pair, "given back")
    with pytest.raises(LocalProtocolError, match="given back"):
        run_flow(pair, forgotten.commit())


def test_blocks_that_others_have_ended_are_not_kept() -> None:
    """A task that lives long enters them, each on a connection of its own; others end them."""

    def many() -> None:
        task = Task()
        for _ in range(5):
            pair = Pair(SCRIPT)
            tasks = Tasks(pair)
            tasks.running = task
            elsewhere = tasks.another()
            block = Transaction(pair.engine)
            block.enter()
            elsewhere(lambda block=block, pair=pair: run_flow(pair, block.commit()))  # type: ignore[misc]
            assert len(INSIDE.get()) == 1

    contextvars.Context().run(many)


def test_a_block_that_was_inherited_and_has_ended_is_kept(pair: Pair) -> None:
    """Else a task that has outlived it could go on, after a block on another connection."""
    tasks = Tasks(pair)
    block = Transaction(pair.engine)
    block.enter()
    inherits = tasks.another()
    run_flow(pair, block.commit())
    other = Pair(SCRIPT)
    Tasks(other)
    inherits(Transaction(other.engine).enter)
    refused(pair, "the block in which this task began has ended", inherits)
    pair.engine.blocks.caller = "thread"
    refused(pair, "the block in which this thread began has ended", inherits)


def test_who_entered_a_block_is_inside_in_any_context_and_everybody_once_he_is_over(pair: Pair) -> None:
    tasks = Tasks(pair)
    outside = contextvars.copy_context()
    block = Transaction(pair.engine)
    contextvars.copy_context().run(block.enter)
    assert pair.run(query("insert")).error is None
    refused(pair, "another task's transaction", lambda work: tasks.run(work, Task(), outside))
    tasks.forget()
    assert tasks.run(lambda: pair.run(query("insert")), Task(), outside).error is None
    run_flow(pair, block.commit())
    assert pair.engine.reusable


def test_blocks_end_in_the_order_of_a_stack(pair: Pair) -> None:
    outer, inner, innermost = (Transaction(pair.engine) for _ in range(3))
    for block in (outer, inner, innermost):
        block.enter()
        assert pair.run(query("insert")).error is None
    run_flow(pair, inner.rollback())
    run_flow(pair, innermost.rollback())  # it is, with the one around it
    with pytest.raises(LocalProtocolError, match="rolled back with it"):
        run_flow(pair, innermost.commit())
    assert pair.run(query("insert")).error is None
    inner.enter()
    assert pair.run(query("insert")).error is None
    with pytest.raises(LocalProtocolError, match="still open") as refusal:
        run_flow(pair, outer.commit())
    assert refusal.value.outcome is Outcome.ROLLED_BACK
    with pytest.raises(LocalProtocolError, match="rolled back with it"):
        run_flow(pair, inner.commit())
    assert pair.backend.committed == []
    assert pair.engine.reusable
    outer.enter()
    inner.enter()
    with pytest.raises(LocalProtocolError, match="still open"):
        run_flow(pair, outer.commit())
    assert pair.engine.reusable


BY_HAND = {
    "commit": ok("COMMIT"),
    "rollback": ok("ROLLBACK"),
    "prepare transaction 'x'": ok("PREPARE TRANSACTION"),
}


@pytest.mark.holds("L11")
@pytest.mark.parametrize("simple", [False, True])
@pytest.mark.parametrize("sql", BY_HAND)
def test_a_block_that_a_statement_has_ended(sql: str, simple: bool) -> None:
    pair = Pair({**SCRIPT, **BY_HAND})
    block, inner = Transaction(pair.engine), Transaction(pair.engine)
    block.enter()
    inner.enter()
    assert pair.run(query("insert")).error is None
    behind = Script("insert")
    pair.engine.submit(Script(sql) if simple else query(sql))
    pair.engine.submit(behind)
    pair.pump()
    assert isinstance(behind.error, TransactionAborted)
    assert behind.error.outcome is Outcome.NOT_SENT
    refused(pair, "statement in the transaction block has ended")
    assert block.by_hand
    with pytest.raises(LocalProtocolError, match="statement in the transaction block has ended"):
        run_flow(pair, inner.commit())
    with pytest.raises(LocalProtocolError, match="statement in the transaction block has ended"):
        run_flow(pair, block.rollback())
    assert pair.run(query("insert")).error is None
    assert pair.engine.reusable


def many(pair: Pair, sql: str) -> None:
    execute_many(pair, sql, [(), ()])


ONE = ["commit and chain", "rollback and chain", "abort and chain", "rollback and chain -- rollback TO a"]
SEVERAL = ["commit; begin; {}", "rollback; begin; {}", "commit and chain; {}", "commit; begin; bad; {}"]
ALONE: list[Callable[[Pair, str], object]] = [
    lambda pair, sql: pair.run(query(sql)),
    lambda pair, sql: pair.run(Execution([QueuedQuery(sql, ()), QueuedQuery("insert", ())], atomic=False)),
    lambda pair, sql: pair.run(Stream(QueuedQuery(sql, ()))),
    many,
]
SIMPLE: list[tuple[str, Callable[[Pair, str], object]]] = [
    ("insert", lambda pair, sql: pair.run(Script(sql))),
    ("copy t from stdin", copying_in),
    ("copy t to stdout", lambda pair, sql: pair.run(CopyOut(sql))),
]
BY_ANY_HAND: list[tuple[str, Callable[[Pair, str], object]]] = [
    *[(sql, way) for way in ALONE for sql in ONE],
    *[(sql.format(last), way) for last, way in SIMPLE for sql in SEVERAL],
]


@pytest.mark.holds("L11")
@pytest.mark.parametrize("first", [False, True], ids=["", "first"])
@pytest.mark.parametrize(("sql", "way"), BY_ANY_HAND)
def test_a_block_that_a_statement_has_replaced_by_another_transaction(
    sql: str, way: Callable[[Pair, str], object], first: bool
) -> None:
    pair = Pair(
        {
            **SCRIPT,
            "abort and chain": ok("ROLLBACK"),
            "copy t from stdin": Answer("COPY 1", copy="in"),
            "copy t to stdout": Answer("COPY 1", copy="out", rows=[[b"1\n"]]),
        }
    )
    block = Transaction(pair.engine)
    block.enter()
    if not first:
        assert pair.run(query("insert")).error is None
    way(pair, sql)
    refused(pair, "statement in the transaction block has ended")
    assert block.by_hand
    with pytest.raises(LocalProtocolError, match="statement in the transaction block has ended"):
        run_flow(pair, block.commit())
    assert pair.engine.reusable


@pytest.mark.holds("L11")
@pytest.mark.parametrize("way", [copying_in, lambda pair, sql: pair.run(CopyOut(sql))])
def test_a_block_that_ends_with_the_copy_that_begins_it(
    pair: Pair, way: Callable[[Pair, str], Operation]
) -> None:
    block = Transaction(pair.engine)
    block.enter()
    operation = way(pair, "insert; commit; bad")
    assert sql_error(operation) == "22012"
    assert pair.backend.committed == ["insert"]
    assert block.by_hand
    with pytest.raises(LocalProtocolError, match="statement in the transaction block has ended"):
        run_flow(pair, block.commit())
    assert pair.engine.reusable


def test_savepoints_by_hand_end_no_block() -> None:
    pair = Pair(SCRIPT)
    block = Transaction(pair.engine)
    block.enter()
    for sql in ("insert", "SAVEPOINT s", "insert", "ROLLBACK TO s", "RELEASE s"):
        assert pair.run(query(sql)).error is None
    for sql in ("SAVEPOINT t", "insert", "ROLLBACK TO SAVEPOINT t", "insert; ROLLBACK TO SAVEPOINT t"):
        assert pair.run(Script(sql)).error is None
    many(pair, "ROLLBACK TO t")
    run_flow(pair, block.commit())
    assert pair.backend.committed == ["insert"]
    assert not block.by_hand


def test_a_block_that_ends_while_the_one_around_it_is_rolled_back(pair: Pair) -> None:
    outer, inner = Transaction(pair.engine), Transaction(pair.engine)
    for block in (outer, inner):
        block.enter()
        assert pair.run(query("insert")).error is None
    flows = [inner.commit(), outer.rollback()]
    for flow in flows:
        pair.engine.submit(next(flow))
    pair.pump()
    for flow in flows:
        with pytest.raises(StopIteration):
            flow.send(None)
    assert pair.backend.committed == []
    assert pair.engine.reusable


def test_what_waits_from_before_a_block_does_not_keep_it(pair: Pair) -> None:
    pair.backend.silent = True
    cold = query("insert")
    pair.engine.submit(cold)
    pair.send()
    block = Transaction(pair.engine)
    block.enter()
    with pytest.raises(StopIteration):
        next(block.commit())
    pair.backend.go_on()
    pair.pump()
    assert cold.items[0].outcome is Outcome.COMMITTED


def test_a_task_of_which_nobody_can_tell_whether_it_is_over_is_not(pair: Pair) -> None:
    tasks = [Task(), Task()]
    pair.engine.blocks.task = lambda: tasks[0]
    outside = contextvars.copy_context()
    Transaction(pair.engine).enter()
    tasks.reverse()
    refused(pair, "another task's transaction", lambda work: outside.run(work))
