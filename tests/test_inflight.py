"""The queue of requests in flight: attribution, skipping, COPY, and the end."""

from __future__ import annotations

from pgproto.protocol import Executes, states
from pgproto.protocol.inflight import InFlight
from pgproto.wire import (
    Bind,
    Close,
    Describe,
    Execute,
    FunctionCall,
    Message,
    Parse,
    Query,
    Sync,
    tags,
)

PARSE = Parse("s", "select 1")
BIND = Bind("", "s", (), (), ())
EXECUTE = Execute()
SYNC = Sync()


def flight(*requests: Parse | Bind | Describe | Execute | Close | Sync | Query | FunctionCall) -> InFlight:
    queue = InFlight()
    for request in requests:
        assert queue.add(request)
    return queue


def answered(queue: InFlight, tag: int) -> bool:
    """An answer of this type has come; False if it is not legal now."""
    after = queue.after(tag)
    if after == states.NEVER:
        return False
    queue.advance(after)
    return True


def head(queue: InFlight) -> Message | None:
    return queue.head


def skipping(queue: InFlight) -> bool:
    return queue.skipping


def test_answers_belong_to_the_oldest_request() -> None:
    queue = flight(PARSE, BIND, EXECUTE, SYNC)
    assert len(queue) == 4
    assert head(queue) is PARSE
    assert not answered(queue, tags.BIND_COMPLETE)
    assert head(queue) is PARSE
    assert queue.state == states.PARSE
    for request, tag in (
        (PARSE, tags.PARSE_COMPLETE),
        (BIND, tags.BIND_COMPLETE),
        (EXECUTE, tags.COMMAND_COMPLETE),
        (SYNC, tags.READY_FOR_QUERY),
    ):
        assert head(queue) is request
        assert answered(queue, tag)
    assert head(queue) is None
    assert queue.state == states.IDLE
    assert not answered(queue, tags.READY_FOR_QUERY)


def test_describe_begins_by_what_it_describes() -> None:
    assert flight(Describe("S", "s")).state == states.DESCRIBE_STATEMENT
    assert flight(Describe("P", "")).state == states.DESCRIBE_ROWS


def test_an_error_takes_out_what_is_in_front_of_the_next_sync() -> None:
    second = Parse("t", "select 2")
    queue = flight(PARSE, BIND, EXECUTE, SYNC, second)
    assert queue.fail() == [BIND, EXECUTE]
    assert head(queue) is SYNC
    assert queue.state == states.SYNC
    assert not queue.skipping
    assert answered(queue, tags.READY_FOR_QUERY)
    assert head(queue) is second


def test_without_a_sync_the_server_skips_what_is_yet_to_come() -> None:
    queue = flight(PARSE, BIND)
    assert queue.fail() == [BIND]
    assert skipping(queue)
    assert head(queue) is None
    for request in (PARSE, Query("select 1"), FunctionCall(1, (), (), 0), EXECUTE):
        assert not queue.add(request)
    assert queue.add(SYNC)
    assert not skipping(queue)
    assert queue.state == states.SYNC
    assert queue.add(PARSE)
    assert len(queue) == 2


def test_a_query_and_a_sync_fail_for_themselves_alone() -> None:
    for request in (Query("select 1"), SYNC, FunctionCall(1, (), (), 0)):
        queue = flight(request, PARSE)
        skipped = queue.fail()
        assert skipped == []
        assert head(queue) is request
        assert queue.state == states.END_OF_QUERY
        again = queue.fail()
        assert again is None  # a second error is a protocol error
        assert answered(queue, tags.READY_FOR_QUERY)
        assert head(queue) is PARSE


def test_nothing_fails_when_nothing_is_in_flight() -> None:
    assert InFlight().fail() is None


def test_copy_messages_move_the_head_and_nothing_else_does() -> None:
    queue = flight(Query("copy t from stdin"))
    assert not queue.copy_message(tags.COPY_DATA)
    assert answered(queue, tags.COPY_IN_RESPONSE)
    assert queue.copy_message(tags.COPY_DATA)
    assert queue.state == states.QUERY_COPY_IN
    assert queue.copy_message(tags.COPY_DONE)
    assert not queue.copy_message(tags.COPY_DATA)
    assert answered(queue, tags.COMMAND_COMPLETE)
    assert answered(queue, tags.READY_FOR_QUERY)


def test_copy_in_voids_the_syncs_behind_it() -> None:
    queue = flight(EXECUTE, SYNC, SYNC)
    assert answered(queue, tags.COPY_IN_RESPONSE)
    assert queue.begin_copy_in()
    assert len(queue) == 1
    queue = flight(EXECUTE, SYNC, PARSE)
    assert answered(queue, tags.COPY_IN_RESPONSE)
    assert not queue.begin_copy_in()


def test_settling_gives_back_everything_once() -> None:
    queue = flight(PARSE, BIND)
    assert queue.fail() == [BIND]
    queue = flight(EXECUTE, SYNC)
    assert queue.settle() == (EXECUTE, SYNC)
    assert queue.settle() == ()
    assert queue.state == states.IDLE
    assert len(queue) == 0
    assert not queue.skipping


def test_a_run_is_as_many_binds_and_executes() -> None:
    run = Executes("s", b"...", 3)
    queue = InFlight()
    assert queue.add(run)
    assert queue.add(SYNC)
    for left in (3, 2, 1):
        assert queue.executions == left
        assert queue.head is run
        assert not answered(queue, tags.COMMAND_COMPLETE)
        assert answered(queue, tags.BIND_COMPLETE)
        assert not answered(queue, tags.BIND_COMPLETE)
        assert answered(queue, tags.DATA_ROW)
        assert answered(queue, tags.COMMAND_COMPLETE)
    assert queue.executions == 0
    assert queue.head is SYNC


def test_a_run_fails_and_is_settled_as_one() -> None:
    run, behind = Executes("s", b"...", 3), Executes("s", b"...", 2)
    for begun in (False, True):
        queue = InFlight()
        assert queue.add(run)
        assert queue.add(behind)
        assert not begun or answered(queue, tags.BIND_COMPLETE)
        assert queue.fail() == [behind]
        assert [queue.executions, queue.skipping] == [0, True]
        assert not queue.add(behind)
        assert queue.add(SYNC)
        assert answered(queue, tags.READY_FOR_QUERY)
        assert queue.add(run)
        assert queue.settle() == (run,)
        assert queue.executions == 0


def test_copy_in_out_of_a_run_needs_to_be_its_last() -> None:
    for count in (1, 2):
        queue = InFlight()
        assert queue.add(Executes("s", b"...", count))
        assert answered(queue, tags.BIND_COMPLETE)
        assert answered(queue, tags.COPY_IN_RESPONSE)
        assert queue.begin_copy_in() == (count == 1)


def test_what_is_answered_is_let_go_of_while_others_are_in_flight() -> None:
    queue = InFlight()
    for number in range(3000):
        assert queue.add(Query(f"select {number}"))
    for number in range(2999):
        assert head(queue) == Query(f"select {number}")
        assert answered(queue, tags.COMMAND_COMPLETE)
        assert answered(queue, tags.READY_FOR_QUERY)
        assert len(queue) == len(queue.requests) == 2999 - number
    assert queue.requests == [Query("select 2999")]
