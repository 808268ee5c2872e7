"""The channel between operations and the transport: output in pieces, and what became of a segment."""

from __future__ import annotations

import contextvars

import pytest

from pgproto import Outcome, QueryTimeout
from pgproto.protocol import CLIENT, PGConnection
from pgproto.session import GRACE, Operation, Prepare, Script, Statement, Transaction
from pgproto.session.channel import Channel
from pgproto.session.statements import StatementCache
from pgproto.wire import CopyData, CopyInResponse, ParameterStatus, Query, StartupMessage
from tests.support.pair import Pair
from tests.support.queries import SCRIPT, error_of, query

PIECE = 262_144


def copying() -> Channel:
    """A channel on which CopyData may be written."""
    channel = Channel(Pair().engine.connection, StatementCache(10, "s"))
    channel.connection.send(Query("copy t from stdin"))
    channel.connection.receive_data(CopyInResponse(0, ()).encode())
    channel.connection.next_event()
    return channel


@pytest.mark.parametrize("sizes", [[10] * 3, [100_000] * 9, [700_000], [10, 700_000, 10], [PIECE - 5] * 3])
@pytest.mark.parametrize("taken", [1_000_000, 65_536, 99_999])
def test_output_comes_in_pieces_in_order_and_the_same_until_taken(sizes: list[int], taken: int) -> None:
    channel = copying()
    expected = b""
    for number, size in enumerate(sizes):
        message = CopyData(bytes([number + 1]) * size)
        channel.write(message)
        expected += message.encode()
    seen = b""
    while channel.pending:
        piece = channel.output()
        assert channel.output() == piece
        assert 0 < len(piece) <= PIECE
        count = min(taken, len(piece))
        channel.taken(count)
        seen += piece[:count]
        assert channel.pending == len(expected) - len(seen)
    assert channel.output() == b""
    assert seen == expected


def test_an_operation_with_nothing_to_say() -> None:
    pair = Pair(SCRIPT)
    operation = Operation()
    pair.engine.submit(operation)
    assert operation.finished
    assert operation.error is None
    assert operation.has_room()
    assert operation.needs_cancel()
    assert not operation.half_written()
    assert pair.send() == b""


@pytest.mark.parametrize(
    ("last", "outcome"), [("select 2", Outcome.ROLLED_BACK), ("commit", Outcome.UNKNOWN)]
)
def test_what_is_in_flight_in_a_transaction_died_with_it_unless_a_commit_was_sent(
    last: str, outcome: Outcome
) -> None:
    pair = Pair(SCRIPT)

    def inside() -> None:
        Transaction(pair.engine).enter()
        pair.run(query("select 1"))
        pair.run(query("select 2"))
        pair.backend.silent = True
        one, two = query("select 1"), query("select 2")
        for each in (one, two, query(last) if last == "select 2" else Script(last)):
            pair.engine.submit(each)
        pair.send()
        pair.eof()
        assert [one.items[0].outcome, two.items[0].outcome] == [outcome] * 2

    contextvars.copy_context().run(inside)


def test_a_parameter_of_the_start_is_no_trace() -> None:
    pair = Pair(SCRIPT)
    assert not pair.engine.dirty
    pair.deliver(ParameterStatus("TimeZone", "UTC").encode())
    assert pair.engine.dirty


def test_an_abandoned_operation_that_timed_out_already_is_left_alone() -> None:
    pair = Pair(SCRIPT)
    pair.run(query("select 1"))
    pair.backend.silent = True
    slow = query("select 1", timeout=pair.now + 1)
    pair.run(slow)
    pair.pass_time(1)
    assert slow.stopped is not None
    assert not slow.finished
    key = pair.engine.take_cancel()
    pair.engine.abandon(slow)
    assert key is not None
    assert not pair.engine.wants_cancel
    pair.engine.cancel_done()
    pair.pass_time(GRACE)
    assert isinstance(error_of(slow), QueryTimeout)


@pytest.mark.parametrize("kind", ["query", "script", "prepare"])
def test_a_deadline_that_is_over_before_it_begins_sends_nothing(kind: str) -> None:
    pair = Pair(SCRIPT)
    operation: Operation = query("select 1")
    if kind == "script":
        operation = Script("select 1")
    elif kind == "prepare":
        operation = Prepare(Statement("select 1", "mine", kept=True))
    operation.deadline = pair.now
    pair.engine.submit(operation)
    error = error_of(operation)
    assert isinstance(error, QueryTimeout)
    assert error.outcome is Outcome.NOT_SENT
    assert pair.send() == b""
    assert pair.engine.reusable


def test_nothing_is_produced_once_it_is_over() -> None:
    pair = Pair(SCRIPT)
    pair.engine.close()
    pair.engine.resume()
    pair.engine.cancel_done()
    assert pair.engine.data_to_send() == b"X\0\0\0\4"
    connection = PGConnection(CLIENT)
    connection.send(StartupMessage({"user": "app"}))
    assert connection.in_flight == 0
