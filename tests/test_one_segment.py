"""Without pipelining: nothing of a second segment is written before the first one is answered.

That is what a pooler needs that gives the server away at each ReadyForQuery, whatever has followed by then.
"""

from __future__ import annotations

import contextvars
from collections.abc import Generator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgproto import ConnectionClosed, LocalProtocolError, Outcome
from pgproto.session import (
    HIGH_WATER,
    CopyIn,
    CopyOut,
    ExecuteMany,
    Execution,
    Operation,
    Prepare,
    QueuedQuery,
    Script,
    Stream,
    Transaction,
)
from pgproto.session.sources import ExecutionBuffer, encoded
from pgproto.wire import BindComplete, CommandComplete, Parse, ReadyForQuery
from tests.support.backend import INT4, TEXT, Answer, fails, ok, rows_of
from tests.support.pair import Pair
from tests.support.queries import query

pytestmark = pytest.mark.holds("L1")

SELECTS = {f"select {number}": rows_of(number) for number in range(6)}
SCRIPT = {
    **SELECTS,
    "insert": ok(types=(INT4,)),
    "bad": fails("22012"),
    "bad parse": fails("42601", "parse"),
    "bad sync": fails("23505", "sync"),
    "copy t from stdin": Answer("COPY 1", copy="in"),
    "copy t to stdout": Answer("COPY 1", copy="out", rows=[(b"x",)]),
}


class Watched(Pair):
    """A pair whose wire is watched, message by message.

    Attributes:
        closed: the client has written the end of a segment (Sync or Query), and not been answered yet.
    """

    def __init__(self, *, named: bool = True) -> None:
        self.closed = False
        self._rest = b""
        self._watching = False
        super().__init__(SCRIPT, pipelining=False, named=named)
        self._watching = True

    def send(self, count: int = -1) -> bytes:
        sent = super().send(count)
        self._rest += sent if self._watching else b""
        while len(self._rest) >= 5:
            size = 1 + int.from_bytes(self._rest[1:5], "big")
            tag = self._rest[:1]
            if len(self._rest) < size:
                break
            self._rest = self._rest[size:]
            assert tag in b"dcfX" or not self.closed, f"{tag!r} before ReadyForQuery"
            self.closed = self.closed or tag in b"SQ"
        return sent

    def deliver(self, data: bytes | None = None) -> bool:
        if data is None:
            data = bytes(self.backend.out)
            self.backend.out.clear()
        there = bool(data)
        while data:  # one message after the other
            size = 1 + int.from_bytes(data[1:5], "big")
            if data[:1] == b"Z":
                self.closed = False
            super().deliver(data[:size])
            data = data[size:]
            assert len(self.engine.channel.segments) <= 1
        return there


def batch(*texts: str, atomic: bool = False) -> Execution:
    return Execution([QueuedQuery(sql, (1,) if sql == "insert" else ()) for sql in texts], atomic=atomic)


def records(pair: Pair, operation: ExecuteMany) -> None:
    if not operation.starting and not operation.over:
        for run in encoded(ExecutionBuffer(operation), [(1,), (2,)]):
            operation.feed(run)
        operation.end()
        pair.engine.resume()


@pytest.mark.parametrize("named", [True, False])
def test_golden_a_batch_that_isolates_its_errors(named: bool) -> None:
    pair = Watched(named=named)
    first, second = batch("select 1", "bad", "select 2"), query("select 3")
    pair.engine.submit(first)
    pair.engine.submit(second)
    pair.pump()
    assert [item.outcome for item in first.items] == [
        Outcome.COMMITTED,
        Outcome.FAILED,
        Outcome.COMMITTED,
    ]
    assert [row[0] for item in (*first.items, *second.items) for row in item.rows] == [1, 2, 3]
    assert pair.engine.reusable


texts = st.sampled_from([*SELECTS, "insert", "bad", "bad parse", "bad sync", "nonsense"])
moves = st.one_of(
    st.tuples(st.just("query"), texts),
    st.tuples(st.just("batch"), st.lists(texts, max_size=4), st.booleans()),
    st.tuples(st.sampled_from(["script", "stream", "prepare", "copy in", "copy out", "many"]), texts),
    st.tuples(st.sampled_from(["begin", "commit", "rollback"])),
    st.tuples(st.just("send"), st.integers(1, 60)),
    st.tuples(st.just("deliver")),
    st.tuples(st.just("abandon"), st.integers(0, 3)),
)


@pytest.mark.slow
@settings(max_examples=400)
@given(st.lists(moves, max_size=30), st.booleans())
def test_whatever_is_submitted(actions: list[tuple[object, ...]], named: bool) -> None:
    contextvars.copy_context().run(submit_whatever, actions, named)


def make(kind: str, argument: object, atomic: bool, pair: Pair) -> Operation:
    if kind == "batch":
        assert isinstance(argument, list)
        return batch(*argument, atomic=atomic)
    text = str(argument)
    if kind == "prepare":
        return Prepare(pair.engine.prepare(text))
    if kind == "stream":
        return Stream(QueuedQuery(text, (1,) if text == "insert" else ()))
    if kind == "copy in":
        copy = CopyIn("copy t from stdin")
        copy.feed(b"1\n")
        copy.end()
        return copy
    if kind == "copy out":
        return CopyOut("copy t to stdout")
    if kind == "many":
        return ExecuteMany("insert")
    return Script(text) if kind == "script" else batch(text, atomic=True)


def submit_whatever(actions: list[tuple[object, ...]], named: bool) -> None:
    pair = Watched(named=named)
    engine = pair.engine
    submitted: list[Operation] = []
    block: Transaction | None = None
    flows: list[Generator[Operation, None, None]] = []

    def begin(flow: Generator[Operation, None, None]) -> None:
        """The flow's one operation is submitted, and stays in flight."""
        try:
            operation = next(flow)
        except StopIteration:
            return
        flows.append(flow)  # or it would end here
        engine.submit(operation)
        submitted.append(operation)

    for action in actions:
        if engine.closed:
            break
        kind, argument, atomic = (*action, None, True)[:3]
        try:
            if kind == "send":
                assert isinstance(argument, int)
                pair.send(argument)
            elif kind == "deliver":
                pair.deliver()
            elif kind == "abandon":
                assert isinstance(argument, int)
                for operation in submitted[argument : argument + 1]:
                    engine.abandon(operation)
            elif kind == "begin":
                if block is None:
                    block = Transaction(engine)
                    block.enter()
            elif kind in ("commit", "rollback"):
                if block is not None:
                    begin(block.commit() if kind == "commit" else block.rollback())
                    block = None
            else:
                operation = make(str(kind), argument, bool(atomic), pair)
                engine.submit(operation)
                submitted.append(operation)
        except (LocalProtocolError, ConnectionClosed):
            pass  # not now
        assert len(engine.channel.segments) <= 1
    for _ in range(1000):
        for operation in submitted:
            if isinstance(operation, ExecuteMany):
                records(pair, operation)
        if engine.take_cancel() is not None:
            engine.cancel_done()
        if not pair.send() and not pair.backend.out:
            break
        pair.deliver()
    assert all(operation.finished for operation in submitted), "nothing moves any more"
    for operation in submitted:
        if isinstance(operation, Execution):
            for item in operation.items:
                done = item.outcome is Outcome.COMMITTED and not isinstance(operation, Stream)
                if item.sql in SELECTS and done:
                    assert [row[0] for row in item.rows] == [int(item.sql[-1])]


@pytest.mark.parametrize("pipelining", [True, False])
def test_what_was_answered_before_it_was_sent_can_be_stopped(pipelining: bool) -> None:
    """A hostile server, and a transport that takes nothing: there is nothing to wait for."""
    pair = Pair({"store": ok(types=(TEXT,))}, pipelining=pipelining)
    pair.run(Execution([QueuedQuery("store", ("x",))]))
    long = "x" * 2 * HIGH_WATER
    operation = Execution([QueuedQuery("store", (long,)) for _ in range(2)], atomic=False)
    pair.engine.submit(operation)
    answer = (BindComplete(), CommandComplete("INSERT 0 1"), ReadyForQuery("I"))
    pair.deliver(b"".join(message.encode() for message in answer))
    assert pair.engine.exclusive is None
    pair.engine.abandon(operation)
    assert operation.finished
    assert [item.outcome for item in operation.items] == [Outcome.COMMITTED, Outcome.NOT_SENT]


def test_what_waits_to_be_prepared_is_forgotten_with_its_operation() -> None:
    pair = Watched()
    first = batch("select 1", "select 2", "select 3")
    pair.engine.submit(first)
    pair.send()
    pair.engine.abandon(first)
    assert {item.outcome for item in first.items} == {Outcome.NOT_SENT}
    again = batch("select 3", "select 2")
    pair.engine.submit(again)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.pump()
    assert first.finished
    assert [row[0] for item in again.items for row in item.rows] == [3, 2]
    assert pair.engine.reusable


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("bad", ["bad parse", "nonsense"])
def test_a_batch_whose_last_statement_is_refused_ends_with_the_one_before(bad: str, named: bool) -> None:
    pair = Watched(named=named)
    operation = batch("select 1", "select 2", bad)
    pair.engine.submit(operation)
    pair.pump()
    assert operation.finished
    outcomes = [item.outcome for item in operation.items]
    assert outcomes == [Outcome.COMMITTED, Outcome.COMMITTED, Outcome.FAILED]


def test_the_second_text_of_a_block_that_never_began_is_not_prepared() -> None:
    pair = Watched()
    pair.backend.script["BEGIN"] = fails("25006")
    block = Transaction(pair.engine)
    block.enter()
    operation = batch("select 1", "select 2")
    pair.engine.submit(operation)
    pair.pump()
    assert [item.outcome for item in operation.items] == [Outcome.SKIPPED, Outcome.SKIPPED]
    assert not [each for each in pair.backend.heard if isinstance(each, Parse) and each.query == "select 2"]


def test_records_wait_for_the_end_of_the_preparing() -> None:
    pair = Watched()
    operation = ExecuteMany("insert")
    pair.engine.submit(operation)
    pair.send()
    answer = bytes(pair.backend.out)
    pair.backend.out.clear()
    pair.deliver(answer[:-6])  # all but ReadyForQuery
    records(pair, operation)
    assert not pair.send()
    pair.deliver(answer[-6:])
    pair.pump()
    assert operation.rowcount == 2
