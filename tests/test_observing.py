"""The seam for observers in the engine: what they are told, when, and that they change nothing."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import ConnectionClosed, ConnectionLost, LocalProtocolError, Outcome, PostgresError
from pgproto.config import Host
from pgproto.session import (
    CopyIn,
    CopyOut,
    Exchange,
    ExecuteMany,
    Execution,
    Observer,
    Operation,
    Portal,
    Prepare,
    QueuedQuery,
    Script,
    SessionInfo,
    Transaction,
)
from tests.support.backend import FATAL, Answer, fails, ok, rows_of
from tests.support.flows import run_flow
from tests.support.many import execute_many, ones
from tests.support.pair import Pair, byte_by_byte, whole
from tests.support.queries import batch, query

SCRIPT = {
    "select 1": rows_of(1),
    "select two": rows_of(1, 2),
    "insert": ok("INSERT 0 3"),
    "insert $1": Answer("INSERT 0 1", types=[23]),
    "bad": fails("22012"),
    "copy in": Answer("COPY 2", copy="in"),
    "copy out": Answer("COPY 1", copy="out", rows=[[b"x\n"]]),
}


class Seen(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.exchanges: list[Exchange] = []

    def submitted(self, exchange: Exchange) -> None:
        self.told.append(("submitted", exchange.sql))

    def sent(self, exchange: Exchange) -> None:
        self.told.append(("sent", exchange.sql))

    def answered(self, exchange: Exchange) -> None:
        self.told.append(("answered", exchange.sql))

    def ended(self, exchange: Exchange) -> None:
        self.told.append(("ended", exchange.sql))
        self.exchanges.append(exchange)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def pair(seen: Seen) -> Pair:
    return Pair(SCRIPT, observers=[seen])


def times(exchange: Exchange) -> list[float | None]:
    return [exchange.submitted_at, exchange.sent_at, exchange.answered_at, exchange.ended_at]


def test_without_observers_there_is_nothing_to_tell() -> None:
    assert Pair(SCRIPT).engine.channel.watch is None


def test_one_query_from_its_submission_to_its_end(pair: Pair, seen: Seen) -> None:
    operation = query("select 1")
    pair.engine.submit(operation)
    assert seen.told == [("submitted", "select 1")]  # before the caller goes on to do anything else
    pair.now = 1001.0
    pair.send()  # Parse, Describe, Sync
    assert seen.told[1:] == [("sent", "select 1")]
    pair.now = 1002.0
    pair.deliver()
    assert seen.told[2:] == [("answered", "select 1")]
    pair.now = 1003.0
    pair.pump()
    assert seen.told[3:] == [("ended", "select 1")]
    (exchange,) = seen.exchanges
    assert times(exchange) == [1000.0, 1001.0, 1002.0, 1003.0]
    assert exchange.seconds == 3.0
    assert (exchange.kind, exchange.statements, exchange.tag, exchange.rows, exchange.outcome) == (
        *("Execution", ["select 1"], "SELECT 1", 1),
        Outcome.COMMITTED,
    )
    assert exchange.operation is operation
    assert exchange.error is None
    assert repr(exchange) == f"<Exchange Execution in session {pair.engine.session}, ended>"


@pytest.mark.parametrize("chop", [whole, byte_by_byte])
def test_every_byte_belongs_to_one_exchange(chop: Callable[[bytes], list[bytes]], seen: Seen) -> None:
    pair = Pair(SCRIPT, observers=[seen], chop=chop)
    for operation in (query("select 1"), query("select two"), batch("insert", "bad", "insert", atomic=False)):
        pair.engine.submit(operation)  # pipelined
    pair.pump()
    pair.run(Script("select 1"))
    pair.run(query("select 1"))
    assert len(seen.exchanges) == 5
    out = sum(len(data) for sender, data in pair.log if sender == "F")
    into = sum(len(data) for sender, data in pair.log if sender == "B")
    assert sum(exchange.bytes_out for exchange in seen.exchanges) == out
    assert sum(exchange.bytes_in for exchange in seen.exchanges) == into
    assert all(exchange.bytes_out and exchange.bytes_in for exchange in seen.exchanges)
    again = seen.exchanges[-1]  # Bind, Execute, Sync and their answers, and nothing else
    assert again.bytes_out == len(pair.log[-2][1])
    assert again.bytes_in == len(pair.log[-1][1])


def test_the_end_of_what_fails(pair: Pair, seen: Seen) -> None:
    operation = pair.run(query("bad"))
    (exchange,) = seen.exchanges
    assert exchange.error is operation.error
    assert isinstance(exchange.error, PostgresError)
    assert exchange.outcome is Outcome.FAILED
    assert exchange.tag == ""


@pytest.mark.holds("O2")
def test_the_end_of_a_session_ends_all(pair: Pair, seen: Seen) -> None:
    pair.run(query("select 1"))
    sent, unsent = query("select 1"), query("select two")
    pair.engine.submit(sent)
    pair.engine.data_sent(len(pair.engine.data_to_send()))
    pair.engine.submit(unsent)
    pair.deliver(FATAL)
    pair.eof()
    assert [type(exchange.error) for exchange in seen.exchanges[1:]] == [ConnectionLost] * 2
    assert [exchange.outcome for exchange in seen.exchanges[1:]] == [Outcome.FAILED, Outcome.NOT_SENT]
    assert [exchange.sent_at is None for exchange in seen.exchanges[1:]] == [False, True]
    assert seen.exchanges[1].bytes_out > 0
    with pytest.raises(ConnectionClosed):
        pair.engine.submit(query("insert"))
    refused = seen.exchanges[3]
    assert (refused.sql, refused.outcome, refused.sent_at) == ("insert", Outcome.NOT_SENT, None)
    assert isinstance(refused.error, ConnectionClosed)
    assert sorted(text for what, text in seen.told if what == "ended") == sorted(
        text for what, text in seen.told if what == "submitted"
    )


def test_a_deadline_that_has_passed(pair: Pair, seen: Seen) -> None:
    late = query("select 1")
    late.deadline = pair.now - 1
    pair.engine.submit(late)
    assert late.finished
    pair.pump()
    assert [what for what, _ in seen.told] == ["submitted", "ended"]
    assert seen.exchanges[0].outcome is Outcome.NOT_SENT


@pytest.mark.holds("O2")
def test_a_call_that_is_refused(pair: Pair, seen: Seen) -> None:
    pair.engine.submit(CopyIn("copy in"))
    with pytest.raises(LocalProtocolError):
        pair.engine.submit(query("select 1"))
    assert seen.told == [
        ("submitted", "copy in"),
        ("submitted", "select 1"),
        ("ended", "select 1"),
    ]


def test_what_is_abandoned_ends_when_it_has_ended(pair: Pair, seen: Seen) -> None:
    operation = query("select 1")
    pair.engine.submit(operation)
    pair.send()
    pair.engine.abandon(operation)
    pair.pump()
    (exchange,) = seen.exchanges
    assert exchange.error is not None
    assert str(exchange.error) == "the call was cancelled"


def test_every_kind_of_operation_says_what_it_has_done(pair: Pair, seen: Seen) -> None:
    pair.run(batch("insert", "select two"))
    pair.run(batch())
    pair.run(Script("insert"))
    pair.run(Prepare(pair.engine.prepare("select 1")))
    found = [(each.kind, each.statements, each.tag, each.rows) for each in seen.exchanges]
    assert found == [
        ("Execution", ["insert", "select two"], "SELECT 2", 5),
        ("Execution", [], "", 0),
        ("Script", ["insert"], "INSERT 0 3", 3),
        ("Prepare", ["select 1"], "", 0),
    ]
    assert seen.exchanges[0].sql == "insert;\nselect two"
    assert seen.exchanges[1].sql == ""


def test_copy_out_counts_its_rows(pair: Pair, seen: Seen) -> None:
    operation = CopyOut("copy out")
    pair.engine.submit(operation)
    pair.pump()
    operation.take()
    pair.engine.resume()
    pair.pump()
    (exchange,) = seen.exchanges
    assert (exchange.kind, exchange.tag, exchange.rows) == ("CopyOut", "COPY 1", 1)


def test_a_transaction_and_its_cursor(pair: Pair, seen: Seen) -> None:
    block = Transaction(pair.engine)
    block.enter()
    portal = Portal(QueuedQuery("select two", ()))
    pair.run(portal.fetch(pair.engine, 1))
    pair.run(query("insert"))
    run_flow(pair, block.commit())
    found = [(each.kind, each.statements, each.tag, each.rows, each.outcome) for each in seen.exchanges]
    assert found == [
        ("Fetch", ["select two"], "", 1, Outcome.OK_IN_TX),
        ("Execution", ["insert"], "INSERT 0 3", 3, Outcome.OK_IN_TX),
        ("LastWord", ["COMMIT"], "COMMIT", 0, Outcome.COMMITTED),
    ]


def test_what_the_engine_does_for_itself_is_not_told(seen: Seen) -> None:
    pair = Pair(SCRIPT, observers=[seen], started=False)
    pair.start()
    assert seen.told == []


def test_an_operation_without_a_text(pair: Pair, seen: Seen) -> None:
    pair.run(Operation())
    (exchange,) = seen.exchanges
    assert (exchange.kind, exchange.statements, exchange.outcome) == ("Operation", [], Outcome.COMMITTED)


def test_output_that_is_discarded_is_not_counted_twice(pair: Pair, seen: Seen) -> None:
    pair.run(query("select 1"))
    operation = query("select 1")
    pair.engine.submit(operation)
    pair.engine.close()
    pair.engine.take_ready()
    assert seen.exchanges[1].bytes_out == 0
    assert seen.exchanges[1].outcome is Outcome.NOT_SENT


# ---- Observers that misbehave


class Raising(Observer):
    """Raises wherever it can."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def submitted(self, exchange: Exchange) -> None:
        raise self.error

    sent = answered = ended = submitted


@pytest.mark.holds("O1")
@pytest.mark.parametrize("error", [ZeroDivisionError("x"), KeyboardInterrupt()])
def test_what_an_observer_raises_is_reported_and_changes_nothing(seen: Seen, error: BaseException) -> None:
    reported: list[tuple[str, BaseException]] = []
    pair = Pair(
        SCRIPT,
        observers=[Raising(error), seen],
        report=lambda name, error: reported.append((name, error)),
    )
    operation = pair.run(query("select 1"))
    assert operation.error is None
    assert operation.items[0].rows == [(1,)]
    assert reported == [("an observer", error)] * 4
    assert [what for what, _ in seen.told] == ["submitted", "sent", "answered", "ended"]


@pytest.mark.holds("O1")
def test_an_observer_that_ends_the_session_before_the_operation_is_queued(seen: Seen) -> None:
    class Hostile(Observer):
        def submitted(self, exchange: Exchange) -> None:
            own.engine.close()

    own = Pair(SCRIPT, observers=[Hostile(), seen])
    operation = query("select 1")
    with pytest.raises(ConnectionClosed):
        own.engine.submit(operation)
    assert operation.items[0].outcome is Outcome.NOT_SENT
    assert [what for what, _ in seen.told] == ["submitted", "ended"]


@pytest.mark.holds("O1")
def test_without_a_report_it_is_dropped() -> None:
    pair = Pair(SCRIPT, observers=[Raising(ZeroDivisionError())])
    assert pair.run(query("select 1")).error is None


@pytest.mark.holds("O1")
def test_a_report_may_let_an_interrupt_through(seen: Seen) -> None:
    def report(name: str, error: BaseException) -> None:
        raise error

    pair = Pair(SCRIPT, observers=[Raising(KeyboardInterrupt()), seen], report=report)
    with pytest.raises(KeyboardInterrupt):
        pair.engine.submit(query("select 1"))
    assert pair.engine.idle  # nothing was queued


@pytest.mark.holds("O2")
def test_an_observer_that_calls_back_is_told_the_rest_later() -> None:
    class Nosy(Observer):
        def __init__(self) -> None:
            self.ended_ones: list[str] = []

        def ended(self, exchange: Exchange) -> None:
            self.ended_ones.append(exchange.sql)
            if exchange.sql == "select 1":
                own.run(query("select two"))
                assert self.ended_ones == ["select 1"]

    nosy = Nosy()
    own = Pair(SCRIPT, observers=[nosy])
    own.run(query("select 1"))
    assert nosy.ended_ones == ["select 1", "select two"]


@pytest.mark.holds("O2")
def test_an_observer_that_ends_the_session(seen: Seen) -> None:
    class Hostile(Observer):
        def answered(self, exchange: Exchange) -> None:
            own.engine.close()

    own = Pair(SCRIPT, observers=[Hostile(), seen])
    operation = own.run(query("select 1"))
    assert operation.finished
    assert isinstance(operation.error, ConnectionLost)
    assert [what for what, _ in seen.told] == ["submitted", "sent", "answered", "ended"]


def test_the_methods_of_the_base_do_nothing() -> None:
    assert Pair(SCRIPT, observers=[Observer()]).run(query("select 1")).error is None


def test_notes_are_kept_from_call_to_call() -> None:
    found: list[object] = []

    class Keeper(Observer):
        def submitted(self, exchange: Exchange) -> None:
            exchange.notes[self] = "mine"
            assert repr(exchange).endswith("under way>")
            assert exchange.seconds is None

        def ended(self, exchange: Exchange) -> None:
            found.append(exchange.notes[self])

    pair = Pair(SCRIPT, observers=[Keeper()])
    pair.run(query("select 1"))
    assert found == ["mine"]


def test_what_is_known_of_a_session() -> None:
    session = SessionInfo(7)
    assert repr(session) == "<session 7 with None, pid 0>"
    session.host, session.pid = Host("db", port=5433), 4711
    assert repr(session) == "<session 7 with db:5433, pid 4711>"


def test_a_run_of_an_operation_that_is_healed_is_one_exchange(seen: Seen) -> None:
    script = {"select 1": rows_of(1)}
    pair = Pair(script, observers=[seen])
    pair.run(query("select 1"))
    pair.backend.forget_statements()
    operation = pair.run(Execution([QueuedQuery("select 1", ())]))
    assert operation.error is None
    assert len(seen.exchanges) == 2
    assert seen.exchanges[1].rows == 1


def test_many_records_are_one_operation(seen: Seen, pair: Pair) -> None:
    execute_many(pair, "insert $1", ones(3))
    (exchange,) = seen.exchanges
    assert (exchange.kind, exchange.statements) == ("ExecuteMany", ["insert $1"])
    assert (exchange.tag, exchange.rows) == ("", 3)
    assert isinstance(exchange.operation, ExecuteMany)
    assert exchange.operation.records == 3
