"""Notifications, COPY sources, and the corners of operations and their channel."""

from __future__ import annotations

import io
from typing import Any

import pytest

from pgproto import ConnectionLost, DataError, Error, LocalProtocolError, Outcome, RemoteProtocolError
from pgproto.protocol.server_authentication import ServerAuthenticator
from pgproto.protocol.verifier import ScramVerifier
from pgproto.session import HIGH_WATER, Execution, Operation, QueuedQuery, Script
from pgproto.session.channel import Channel
from pgproto.session.inbox import Inbox
from pgproto.session.listen import listen
from pgproto.session.listening import Listener, Listeners, Notification
from pgproto.session.news import CHANGE
from pgproto.session.sources import Buffer, RecordBuffer, chunks, encoded
from pgproto.session.sql import unlistened
from pgproto.types import COPY_HEADER, COPY_TRAILER, CopyRowEncoder
from pgproto.wire import ErrorResponse, NotificationResponse, Query
from tests.support.backend import POOLER_ERROR, Answer, error_fields, ok
from tests.support.builds import pure_only
from tests.support.pair import Pair
from tests.support.queries import query

NAMES = "SELECT name FROM pg_catalog.pg_prepared_statements"
LISTENS = {
    'LISTEN "jobs"': Answer("LISTEN"),
    "SELECT pg_catalog.pg_backend_pid()": Answer("SELECT 1", columns=[("pid", 25)], rows=[[b"4711"]]),
    NAMES: Answer("SELECT 1", columns=[("name", 19)], rows=[[b"PGBOUNCER_1"]]),
    'UNLISTEN "jobs"': Answer("UNLISTEN"),
    'UNLISTEN "a b"': Answer("UNLISTEN"),
    "UNLISTEN other": Answer("UNLISTEN"),
    "UNLISTEN *": Answer("UNLISTEN"),
    "select": ok(),
}


def test_listeners_share_an_unlisten() -> None:
    listeners = Listeners()
    one, two = Listener(("jobs", "a b", "jobs")), Listener(("jobs",))
    assert listeners.add(one) == 'LISTEN "jobs"; LISTEN "a b"'
    assert listeners.add(two) == 'LISTEN "jobs"'
    with pytest.raises(LocalProtocolError, match="listened to already"):
        listeners.add(two)
    messages = [NotificationResponse(7, name, "x") for name in ("jobs", "other", "a b")]
    assert listeners.dispatch(messages) == [one, two]
    assert one.take() == Notification("jobs", "x", 7)
    assert one.take() == Notification("a b", "x", 7)
    assert one.take() is None
    assert listeners.everyone() == [one, two]
    assert listeners.remove(one) == 'UNLISTEN "a b"'
    assert listeners.remove(one) == ""
    with pytest.raises(LocalProtocolError, match="was left"):
        one.take()
    assert listeners.remove(two) == 'UNLISTEN "jobs"'


@pytest.mark.holds("T7")
def test_a_listener_that_was_never_registered_says_so() -> None:
    listener = Listener(("jobs",))
    with pytest.raises(LocalProtocolError, match="nothing listens yet"):
        listener.take()
    Listeners().add(listener)
    assert listener.take() is None


@pytest.mark.holds("T7")
@pytest.mark.parametrize(
    ("names", "kind", "text"),
    [
        ((), LocalProtocolError, "needs the name of a channel"),
        (("jobs", ""), LocalProtocolError, "cannot be called ''"),
        (("a\0b",), LocalProtocolError, "cannot be called"),
        (("\ud800",), LocalProtocolError, "no message can carry"),
        (("x" * 64,), LocalProtocolError, "63 bytes at most, not 64"),
        (("é" * 32,), LocalProtocolError, "63 bytes at most, not 64"),
        ((None,), TypeError, "must be a str, not NoneType|str object expected"),
    ],
)
def test_a_channel_that_cannot_be(names: Any, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text) as caught:
        Listener(names)
    assert kind is TypeError or getattr(caught.value, "outcome", None) is Outcome.NOT_SENT
    Listener(("x" * 63,))


def test_what_nobody_takes_is_bounded() -> None:
    inbox = Inbox(2)
    for number in range(5):
        inbox.put(number, 1)
    assert inbox.dropped == 3
    assert inbox.next() == 3
    assert inbox.take() == [4]
    assert inbox.next() is None
    assert Listener(("jobs",)).dropped == 0


def test_what_nobody_takes_is_bounded_in_size_too() -> None:
    """Ten thousand notices of a megabyte each would be ten gigabytes."""
    inbox = Inbox(max_size=10)
    for number in range(5):
        inbox.put(number, 4)
    assert inbox.dropped == 3
    inbox.put("large", 11)
    assert inbox.dropped == 5
    assert inbox.take() == ["large"]
    inbox.put("small", 10)
    assert inbox.dropped == 5
    assert inbox.next() == "small"


def test_notifications_compare_and_show() -> None:
    notification = Notification("jobs", "x", 7)
    assert repr(notification) == "Notification(channel='jobs', payload='x', pid=7)"
    assert len({notification, Notification("jobs", "x", 7), Notification("jobs", "y", 7)}) == 2
    assert notification != "jobs"


def test_stop_iteration_is_no_end_of_the_data() -> None:
    class Source:
        def read(self, size: int) -> bytes:
            raise StopIteration

    class Record:
        def __getattribute__(self, name: str) -> object:
            raise StopIteration  # when it is asked for its __class__

    with pytest.raises(RuntimeError, match="StopIteration"):
        list(chunks(Source()))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="StopIteration"):
        list(encoded(RecordBuffer(CopyRowEncoder(("a",), (23,))), [Record()]))


def test_chunks() -> None:
    assert list(chunks(b"ab")) == [b"ab"]
    assert list(chunks(io.BytesIO(b"x" * 70_000))) == [b"x" * 65_536, b"x" * 4_464]
    pieces: list[Any] = [b"a", bytearray(b"b")]
    assert list(chunks(pieces)) == [b"a", b"b"]
    wrong: Any
    for wrong in ([1], ["text"], 5):
        with pytest.raises(TypeError, match="COPY data"):
            list(chunks(wrong))


def test_a_buffer_says_what_it_makes() -> None:
    buffer: Buffer[bytes] = Buffer()
    with pytest.raises(NotImplementedError):
        buffer.add((1,))
    with pytest.raises(NotImplementedError):
        buffer.end()


def test_records() -> None:
    encoder = CopyRowEncoder(("n",), (23,))
    data = b"".join([*encoded(RecordBuffer(encoder), [(1,), (None,)])])
    assert data.startswith(COPY_HEADER)
    assert data.endswith(COPY_TRAILER)
    assert data[len(COPY_HEADER) : -2] == b"\0\1\0\0\0\4\0\0\0\1" + b"\0\1\xff\xff\xff\xff"
    assert len(list(encoded(RecordBuffer(encoder), [(1,)] * 20_000))) > 2
    buffer = RecordBuffer(encoder)
    with pytest.raises(DataError):
        buffer.add(("x",))


def test_a_large_message_goes_out_in_pieces() -> None:
    pair = Pair({"insert": Answer("INSERT 0 1", types=[25])})
    operation = Execution([QueuedQuery("insert", ("x" * (10 * HIGH_WATER),)) for _ in range(3)])
    pair.engine.submit(operation)
    most = 0
    while data := pair.engine.data_to_send():
        most = max(most, len(data))
        assert pair.engine.data_to_send() is data
        pair.send(len(data) - 1 if len(data) > 1 else 1)
        pair.deliver()
    pair.pump()
    assert [item.outcome for item in operation.items] == [Outcome.COMMITTED] * 3
    assert most < 20 * HIGH_WATER


class Broken(Operation):
    """Writes a message that does not fit, first or in the middle of its segment."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        self.first = first

    def prepare(self, channel: Channel) -> None:
        if self.first:
            channel.write(Query("a\0b"))

    def produce(self, channel: Channel) -> int:
        if not self.first:
            channel.open(self)
        channel.write(Query("a\0b"))
        return 2


@pure_only("an operation of the test's own")
@pytest.mark.parametrize("queued", [True, False])
def test_a_message_that_does_not_fit_before_anything_was_written(queued: bool) -> None:
    pair = Pair({"insert": ok()})
    other = Script("insert")
    if queued:
        pair.backend.silent = True
        pair.engine.submit(other)
    broken = pair.run(Broken(first=True))
    assert isinstance(broken.error, LocalProtocolError)
    assert broken.error.outcome is Outcome.NOT_SENT
    pair.backend.go_on()
    pair.pump()
    assert pair.run(Script("insert")).error is None
    assert pair.engine.reusable


@pure_only("an operation of the test's own")
def test_a_message_that_does_not_fit_in_the_middle_of_a_segment() -> None:
    pair = Pair({"insert": ok()})
    broken = pair.run(Broken(first=False))
    assert isinstance(broken.error, ConnectionLost)
    assert pair.engine.finished


def test_the_plainest_operation_ends_at_once() -> None:
    pair = Pair()
    operation = pair.run(Operation())
    assert operation.finished
    assert operation.error is None
    assert operation.needs_cancel()
    assert not operation.half_written()


@pytest.mark.parametrize(
    ("words", "outcome"),
    [(POOLER_ERROR, Outcome.UNKNOWN), (None, Outcome.FAILED)],
)
def test_a_script_that_failed_before_the_session_ended(words: bytes | None, outcome: Outcome) -> None:
    pair = Pair({"insert": ok()})
    pair.backend.silent = True
    script = pair.run(Script("insert"))
    pair.deliver(words or ErrorResponse(error_fields("22012")).encode())
    pair.eof()
    assert getattr(script.error, "outcome", None) is outcome


def test_a_long_computation_is_left_to_the_adapter() -> None:
    pair = Pair(started=False)
    secret = ScramVerifier.from_password("secret", b"0123456789abcdef", 100_001).format()
    pair.backend.authenticator = ServerAuthenticator(
        "scram-sha-256", user="app", secret=secret, random=bytes(18), mock_secret=b"m"
    )
    startup = pair.start()
    assert startup.take_progress()
    work = startup.take_work()
    assert work is not None
    assert startup.take_work() is None
    pair.pump()
    work()
    pair.engine.resume()
    pair.pump()
    assert startup.finished
    assert startup.error is None
    assert pair.engine.reusable


def flow_of(pair: Pair, flow: Any) -> None:
    """Run a flow as an adapter does."""
    try:
        operation = next(flow)
        while True:
            pair.run(operation)
            operation = flow.send(None) if operation.error is None else flow.throw(operation.error)
    except StopIteration:
        return


def listening(*channels: str, owner: object = None) -> tuple[Pair, Listener]:
    """A session that listens."""
    pair = Pair(LISTENS)
    listener = Listener(channels, owner)
    flow_of(pair, listen(pair.engine, listener))
    assert listener.heard
    assert listener.take() is None
    return pair, listener


def end_of(pair: Pair, listener: Listener) -> str:
    """Why the listener has ended; the adapter is told to wake its taker."""
    assert pair.engine.take_news() & CHANGE
    assert pair.engine.listeners.dispatch([]) == [listener]
    assert not pair.engine.take_news() & CHANGE
    with pytest.raises(Error) as caught:
        listener.take()
    return str(caught.value)


@pytest.mark.holds("L7")
def test_listeners_end_with_their_lease() -> None:
    lease = object()
    pair, listener = listening("jobs", owner=lease)
    other = Listener(("jobs",), object())
    flow_of(pair, listen(pair.engine, other))
    pair.engine.listeners.dispatch([NotificationResponse(7, "jobs", "x")])
    pair.engine.listeners.end_lease(lease)
    assert listener.take() == Notification("jobs", "x", 7)
    assert "the lease is over" in end_of(pair, listener)
    assert pair.engine.listeners.everyone() == [other]


@pytest.mark.holds("L7")
@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (Script("DISCARD ALL"), "DISCARD ALL was run"),
        (Script('UNLISTEN "jobs"'), "UNLISTEN was run"),
        (Script("UNLISTEN *"), "UNLISTEN was run"),
        (query("UNLISTEN *"), "UNLISTEN was run"),
        (query("DISCARD ALL"), "DISCARD ALL was run"),
    ],
)
def test_what_the_caller_runs_ends_a_listener(operation: Any, text: str) -> None:
    pair, listener = listening("jobs")
    assert pair.run(operation).error is None
    assert text in end_of(pair, listener)
    flow_of(pair, listen(pair.engine, listener))
    assert listener.take() is None


def test_what_concerns_others_does_not_end_a_listener() -> None:
    pair, listener = listening("jobs")
    early = Listener(("jobs",))
    pair.engine.listeners.add(early)  # its LISTEN is not sent yet
    for sql in ("UNLISTEN other", 'UNLISTEN "a b"', "DEALLOCATE ALL", "ROLLBACK"):
        assert pair.run(Script(sql)).error is None
    pair.engine.listeners.transaction_ended(committed=False)
    assert listener.take() is None
    pair.run(Script("UNLISTEN *"))
    assert early.take() is None
    assert listener.ended is not None


@pytest.mark.holds("L7")
@pytest.mark.parametrize(
    ("last", "goes_on"),
    [("COMMIT", True), ("ROLLBACK", False), ("ROLLBACK TO s", False), ("bad COMMIT", False)],
)
def test_a_listen_in_a_transaction(last: str, goes_on: bool) -> None:
    pair = Pair({**LISTENS, "bad COMMIT": Answer("COMMIT", error=error_fields("23505"))})
    pair.run(Script("BEGIN"))
    listener = Listener(("jobs",))
    flow_of(pair, listen(pair.engine, listener))
    unsure = [listener.unsure]
    pair.run(Script("select"))
    unsure.append(listener.unsure)
    pair.run(Script(last))
    unsure.append(listener.unsure)
    assert unsure == [True, True, False]
    assert pair.engine.listeners.unsettled is (last == "ROLLBACK TO s")  # it is open still
    if goes_on:
        assert listener.take() is None
    else:
        assert "rolled back" in end_of(pair, listener)


@pytest.mark.holds("T7")
def test_listen_through_a_pooler() -> None:
    listener = Listener(("jobs",))
    with pytest.raises(LocalProtocolError, match="pooler in transaction mode") as refused:
        flow_of(Pair(LISTENS, named=False), listen(Pair(LISTENS, named=False).engine, listener))
    assert refused.value.outcome is Outcome.NOT_SENT
    pid = "SELECT pg_catalog.pg_backend_pid()"
    other = Answer("SELECT 1", columns=[("pid", 25)], rows=[[b"4712"]])
    pair = Pair({**LISTENS, pid: other})
    with pytest.raises(LocalProtocolError, match="pooler in transaction mode"):
        flow_of(pair, listen(pair.engine, listener))
    assert listener.ended is not None
    assert pair.engine.listeners.everyone() == []
    names = Answer("SELECT 1", columns=[("name", 19)], rows=[[b"PGBOUNCER_1"], [b"s1"]])
    pair = Pair({**LISTENS, pid: other, NAMES: names})
    flow_of(pair, listen(pair.engine, listener))
    assert listener.take() is None


def test_a_listen_that_fails() -> None:
    pair = Pair({**LISTENS, 'LISTEN "jobs"': Answer(error=error_fields("42501"))})
    listener = Listener(("jobs",))
    with pytest.raises(Error):
        flow_of(pair, listen(pair.engine, listener))
    assert listener.ended is not None
    assert not listener.heard


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("unlisten Jobs", ["jobs"]),
        ('UNLISTEN "Jobs a""b"', ['Jobs a"b']),
        ("unlisten a; unlisten*", ["a", "*"]),
        ("unlisten/* */a", ["*"]),
        ("select unlistened", ["*"]),
    ],
)
def test_which_channels_an_unlisten_names(sql: str, names: list[str]) -> None:
    assert unlistened(sql) == names


@pytest.mark.holds("T7")
def test_a_server_that_does_not_say_who_listens() -> None:
    pair = Pair(LISTENS | {"SELECT pg_catalog.pg_backend_pid()": Answer("SELECT 0", columns=[("pid", 25)])})
    listener = Listener(("jobs",), None)
    with pytest.raises(RemoteProtocolError, match="which of its processes"):
        flow_of(pair, listen(pair.engine, listener))
    assert pair.engine.listeners.everyone() == []
