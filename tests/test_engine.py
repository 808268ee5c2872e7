"""The engine: order, back-pressure, and what is heard besides answers."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import (
    Batch,
    ConnectionLost,
    LocalProtocolError,
    Outcome,
    PostgresError,
    RemoteProtocolError,
)
from pgproto.session import (
    HIGH_WATER,
    CopyIn,
    Execution,
    QueuedQuery,
    Script,
    Startup,
    Stream,
)
from pgproto.session.news import CHANGE, HOLD, OUTPUT, READY, TIME
from pgproto.wire import (
    Bind,
    BindComplete,
    CommandComplete,
    CopyInResponse,
    ErrorResponse,
    Execute,
    NoticeResponse,
    NotificationResponse,
    ParameterStatus,
    ReadyForQuery,
)
from tests.support.backend import Answer, fails, rows_of
from tests.support.pair import Pair, authenticator, byte_by_byte, whole
from tests.support.queries import SCRIPT, error_of, query


@pytest.fixture(params=[whole, byte_by_byte], ids=["whole", "bytes"])
def pair(request: pytest.FixtureRequest) -> Pair:
    chop: Callable[[bytes], list[bytes]] = request.param
    return Pair(SCRIPT, chop=chop)


def test_golden_cold_and_warm() -> None:
    pair = Pair(SCRIPT)
    assert pair.run(query("select 1")).items[0].rows[0][0] == 1
    assert pair.trace() == [
        'F\t18\tParse\t "s1" "select 1" 0',
        'F\t8\tDescribe\t S "s1"',
        "F\t4\tSync",
        "B\t4\tParseComplete",
        "B\t6\tParameterDescription\t 0",
        'B\t26\tRowDescription\t 1 "n" 0 0 23 -1 -1 0',
        "B\t5\tReadyForQuery\t I",
        'F\t16\tBind\t "" "s1" 0 0 1 1',
        'F\t9\tExecute\t "" 0',
        "F\t4\tSync",
        "B\t4\tBindComplete",
        "B\t14\tDataRow\t 1 4 '\\x00\\x00\\x00\\x01'",
        'B\t13\tCommandComplete\t "SELECT 1"',
        "B\t5\tReadyForQuery\t I",
    ]
    pair.log.clear()
    pair.run(query("select 1"))
    assert [line.split("\t")[2] for line in pair.trace()] == [
        *("Bind", "Execute", "Sync"),
        *("BindComplete", "DataRow", "CommandComplete", "ReadyForQuery"),
    ]


def test_a_hundred_cold_callers_share_two_round_trips() -> None:
    script = {f"select {number}": rows_of(number) for number in range(100)}
    script["select 50"] = fails("22012")
    pair = Pair(script)
    operations = [query(f"select {number}") for number in range(100)]
    for operation in operations:
        pair.engine.submit(operation)
    trips = 0
    while pair.send():
        trips += 1
        pair.deliver()
    assert trips == 2
    for number, operation in enumerate(operations):
        if number == 50:
            assert isinstance(error_of(operation), PostgresError)
        else:
            assert operation.error is None
            assert operation.items[0].rows[0][0] == number
    assert pair.engine.idle
    assert pair.engine.reusable


def test_callers_are_answered_in_order_and_failures_are_their_own(pair: Pair) -> None:
    operations = [query("select 1"), query("bad"), query("select 2"), Script("insert"), query("unknown")]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    assert [operation for operation in pair.ready if operation in operations] == operations
    codes = [each.error.sqlstate if isinstance(each.error, PostgresError) else None for each in operations]
    assert codes == [None, "22012", None, None, "42601"]
    assert pair.backend.committed == ["select 1", "select 2", "insert"]


def test_nothing_is_queued_behind_a_copy_or_a_stream(pair: Pair) -> None:
    copy = pair.run(CopyIn("copy t from stdin"))
    for _ in range(2):
        late = query("select 1")
        with pytest.raises(LocalProtocolError, match="busy with a COPY, a stream"):
            pair.engine.submit(late)
        assert not late.items[0].rows
    copy.end()
    pair.engine.resume()
    pair.pump()
    assert copy.tag == "COPY 1"
    stream = pair.run(Stream(QueuedQuery("select 1", ())))
    assert stream.finished
    assert pair.run(query("select 1")).error is None


def test_a_copy_that_has_failed_lets_others_in_while_its_data_are_not_taken() -> None:
    pair = Pair(SCRIPT)
    engine = pair.engine
    copy = pair.run(CopyIn("copy t from stdin"))
    copy.feed(bytes(3 * HIGH_WATER))
    engine.resume()
    data = engine.data_to_send()
    assert len(data) >= HIGH_WATER
    failed = ErrorResponse({"S": "ERROR", "C": "22P02", "M": "no number"})
    engine.receive_data(failed.encode() + ReadyForQuery("I").encode())
    assert copy.finished
    # The transport has not taken the data: the server had stopped to read.
    engine.submit(query("select 1"))
    engine.data_sent(len(data))
    assert b"select 1" in engine.data_to_send()


def test_exclusive_operations_queue_behind_others(pair: Pair) -> None:
    first, copy = query("select 1"), CopyIn("copy t from stdin")
    copy.feed(b"x")
    copy.end()
    pair.engine.submit(first)
    pair.engine.submit(copy)
    pair.pump()
    assert first.error is None
    assert copy.error is None
    assert pair.backend.copied == [b"x"]


def test_a_copy_that_was_not_expected_hurts_nobody_else(pair: Pair) -> None:
    operation = pair.run(query("copy t from stdin"))
    error = error_of(operation)
    assert isinstance(error, LocalProtocolError)
    assert str(error) == "COPY FROM STDIN has no data here: use copy_in"
    assert operation.items[0].outcome is error.outcome is Outcome.NOT_SENT
    assert pair.run(query("select 1")).error is None
    assert pair.engine.reusable
    script = pair.run(Script("hidden copy"))
    assert isinstance(script.error, PostgresError)
    assert pair.engine.reusable


def test_a_copy_that_was_not_expected_with_others_behind_it_ends_the_session(pair: Pair) -> None:
    assert pair.run(query("select 1")).error is None
    operations = [Script("hidden copy"), query("select 1")]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    assert pair.engine.finished
    for operation in operations:
        assert isinstance(operation.error, ConnectionLost)


@pytest.mark.slow
@pytest.mark.parametrize("atomic", [True, False])
def test_output_is_bounded(atomic: bool) -> None:
    pair = Pair({"insert": Answer("INSERT 0 1", types=[23])})
    pair.run(query("insert", 1))
    count = 20_000  # a dozen times the high-water mark
    batch = Batch(atomic=atomic)
    for number in range(count):
        batch.queue("insert", number)
    operation = Execution(batch.take(), atomic=atomic)
    engine = pair.engine
    engine.submit(operation)
    item = len(Bind("", "s1", (1,), (bytes(4),), ()).encode() + Execute().encode()) + (0 if atomic else 5)
    ready = ReadyForQuery("I").encode()
    answer = BindComplete().encode() + CommandComplete("INSERT 0 1").encode() + (b"" if atomic else ready)
    sent = answered = most = 0
    while not operation.finished:
        data = engine.data_to_send()
        most = max(most, len(data))
        taken = min(len(data), 20_000)
        engine.data_sent(taken)
        sent += taken
        done = min(sent // item, count)
        engine.receive_data(
            answer * (done - answered) + (ready if atomic and sent == count * item + 5 else b"")
        )
        answered = done
    assert operation.error is None
    assert most < HIGH_WATER + 100
    assert {each.outcome for each in operation.items} == {Outcome.COMMITTED}
    assert engine.idle


def test_what_is_submitted_while_the_session_starts_waits_for_it() -> None:
    pair = Pair(SCRIPT, started=False)
    pair.backend.silent = True
    startup = Startup({"user": "app"}, authenticator)
    pair.engine.submit(startup)
    behind = query("select 1")
    pair.engine.submit(behind)
    pair.send()
    pair.backend.go_on()
    pair.pump()
    assert [startup.error, behind.error] == [None, None]
    assert behind.items[0].rows[0][0] == 1


def test_news_says_what_there_is_to_do() -> None:
    pair = Pair({**SCRIPT, "rows": Answer("SELECT 9", columns=[("t", 25)], rows=[[b"x" * 60_000]] * 9)})
    engine = pair.engine
    seen = [engine.take_news()]
    engine.submit(query("select 1", timeout=pair.now + 5))
    seen.append(engine.take_news())
    pair.send()
    seen.append(engine.take_news())
    engine.receive_data(bytes(pair.backend.out))
    pair.backend.out.clear()
    pair.pump()
    pair.pass_time(6)
    seen.append(engine.take_news())
    engine.submit(query("select 1"))
    pair.send()
    engine.receive_data(bytes(pair.backend.out) + NoticeResponse({"M": "x"}).encode())
    seen.append(engine.take_news())
    engine.take_ready()
    engine.take_notices()
    pair.backend.out.clear()
    pair.limit = 500_000
    stream = pair.run(Stream(QueuedQuery("rows", ())))
    seen.append(engine.take_news())
    stream.take()
    engine.close()
    engine.take_ready()
    seen.append(engine.take_news())
    assert seen == [0, OUTPUT | TIME, TIME, 0, READY | CHANGE, HOLD, OUTPUT | CHANGE]


def test_reading_stops_while_a_consumer_has_to_catch_up() -> None:
    pair = Pair({"rows": Answer("SELECT 9", columns=[("t", 25)], rows=[[b"x" * 60_000]] * 9)})
    stream = Stream(QueuedQuery("rows", ()))
    pair.limit = 500_000
    pair.engine.submit(stream)
    wanted = [pair.engine.wants_read]
    pair.pump()
    wanted.append(pair.engine.wants_read)
    assert len(stream.take()) == 8
    wanted.append(pair.engine.wants_read)
    assert wanted == [True, False, True]


def test_notices_and_notifications_are_kept_in_order_and_bounded() -> None:
    pair = Pair(SCRIPT)
    notices = [NoticeResponse({"M": str(number)}) for number in range(10_005)]
    pair.deliver(b"".join([notice.encode() for notice in notices]))
    pair.deliver(
        NotificationResponse(1, "jobs", "a").encode() + NotificationResponse(1, "jobs", "b").encode()
    )
    assert pair.engine.take_notices() == notices[5:]
    assert pair.engine.take_notices() == []
    assert [each.payload for each in pair.engine.take_notifications()] == ["a", "b"]
    assert pair.engine.dropped_messages == 5
    assert pair.engine.reusable


def test_signs_of_decay_retire_the_session() -> None:
    pair = Pair(SCRIPT)
    assert pair.run(query("moved")).error is not None
    assert pair.engine.retiring
    assert pair.engine.idle
    assert not pair.engine.reusable
    pair = Pair(SCRIPT)
    pair.deliver(ParameterStatus("in_hot_standby", "on").encode())
    assert pair.engine.retiring
    assert pair.engine.dirty
    pair = Pair(SCRIPT)
    pair.deliver(ParameterStatus("TimeZone", "UTC").encode())
    assert not pair.engine.retiring


def test_half_a_message_is_not_idle() -> None:
    pair = Pair(SCRIPT)
    pair.deliver(b"N\0")
    assert not pair.engine.idle
    assert not pair.engine.reusable


def test_a_message_out_of_place(pair: Pair) -> None:
    pair.deliver(CopyInResponse(0, ()).encode())
    assert pair.engine.finished
    assert isinstance(pair.engine.cause, RemoteProtocolError)
