"""After a failed `listen()`, or a failed end of it, UNLISTEN is sent for channels without a listener."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress

import pytest

from pgproto import Error, LocalProtocolError
from pgproto.session import Operation, Script, Transaction, unlisten
from pgproto.session.listen import listen
from pgproto.session.listening import Listener
from tests.support.backend import Answer, error_fields
from tests.support.pair import Pair
from tests.support.queries import query

PROCESS = "SELECT pg_catalog.pg_backend_pid()"
LISTEN = f'LISTEN "jobs"; {PROCESS}'
UNLISTEN = 'UNLISTEN "jobs"'
LISTENS = {
    'LISTEN "jobs"': Answer("LISTEN"),
    'LISTEN "a b"': Answer("LISTEN"),
    PROCESS: Answer("SELECT 1", columns=[("pid", 25)], rows=[[b"4711"]]),
    UNLISTEN: Answer("UNLISTEN"),
    "bad": Answer(error=error_fields("42601")),
    "select": Answer("SELECT 0"),
}

Flow = Generator[Operation, None, None]


def asked(pair: Pair) -> list[str]:
    """The simple queries that were sent."""
    lines = [line.split("\t") for line in pair.trace()]
    return [line[3][2:-1] for line in lines if line[2] == "Query"]


def begun(pair: Pair, flow: Flow) -> Operation:
    """The first operation of a flow, submitted and sent."""
    operation = next(flow)
    pair.engine.submit(operation)
    pair.send()
    return operation


def listening(pair: Pair) -> Listener:
    """Who listens to "jobs"."""
    listener = Listener(("jobs",))
    flow = listen(pair.engine, listener)
    pair.run(next(flow))
    with suppress(StopIteration):
        flow.send(None)
    return listener


def given_up(pair: Pair, flow: Flow, operation: Operation) -> None:
    """Its caller is cancelled; the request comes to the server too late."""
    pair.engine.abandon(operation)
    with suppress(KeyboardInterrupt):
        flow.throw(KeyboardInterrupt)
    if pair.engine.take_cancel() is not None:
        pair.engine.cancel_done()


@pytest.mark.holds("L7")
def test_a_listen_that_was_cancelled_is_taken_back() -> None:
    pair = Pair(LISTENS)
    flow = listen(pair.engine, Listener(("jobs",)))
    given_up(pair, flow, begun(pair, flow))
    pair.pump()
    assert asked(pair) == [LISTEN, UNLISTEN]
    assert pair.engine.reusable
    pair.run(query("select"))
    assert asked(pair) == [LISTEN, UNLISTEN]


@pytest.mark.holds("L7")
def test_after_its_listen_was_run() -> None:
    """What fails is the question whether there is a pooler."""
    pooler = Answer("SELECT 1", columns=[("pid", 25)], rows=[[b"4712"]])
    pair = Pair({**LISTENS, PROCESS: pooler})
    flow = listen(pair.engine, Listener(("jobs",)))
    pair.run(next(flow))
    question = flow.send(None)
    pair.engine.submit(question)
    given_up(pair, flow, question)
    pair.pump()
    assert asked(pair) == [LISTEN, UNLISTEN]


@pytest.mark.holds("L7")
def test_not_if_somebody_else_listens() -> None:
    pair = Pair(LISTENS)
    flow = listen(pair.engine, Listener(("jobs", "a b")))
    operation = begun(pair, flow)
    other = Listener(("jobs",))
    others = listen(pair.engine, other)
    begun(pair, others)
    given_up(pair, flow, operation)
    pair.pump()
    assert [each for each in asked(pair) if "UNLISTEN" in each] == ['UNLISTEN "a b"']
    assert other.heard


@pytest.mark.holds("L7")
def test_not_if_it_was_not_run() -> None:
    pair = Pair({**LISTENS, 'LISTEN "jobs"': Answer(error=error_fields("57014"))})
    flow = listen(pair.engine, Listener(("jobs",)))
    given_up(pair, flow, begun(pair, flow))
    pair.pump()
    assert asked(pair) == [LISTEN]


@pytest.mark.holds("L7")
def test_one_that_was_left_while_another_was_not_sent_yet() -> None:
    """The first leaves the server's LISTEN to the second, whose turn never comes."""
    pair = Pair(LISTENS)
    pair.engine.pipelining = False
    first = listening(pair)
    slow = query("select")
    pair.engine.submit(slow)
    second = listen(pair.engine, Listener(("jobs",)))
    waits = next(second)
    pair.engine.submit(waits)
    assert list(unlisten(pair.engine, first)) == []
    given_up(pair, second, waits)
    pair.pump()
    assert slow.error is None
    assert asked(pair) == [LISTEN, UNLISTEN]


@pytest.mark.holds("L7")
@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_in_a_transaction_it_waits_for_its_end(end: str) -> None:
    """There, a rollback would undo the UNLISTEN and not, if it came before, the LISTEN."""
    pair = Pair(LISTENS)
    pair.run(Script("BEGIN"))
    flow = listen(pair.engine, Listener(("jobs",)))
    given_up(pair, flow, begun(pair, flow))
    pair.pump()
    pair.run(Script("select"))
    assert asked(pair)[1:] == [LISTEN, "select"]
    pair.run(Script(end))
    assert asked(pair)[3:] == [end, UNLISTEN]


@pytest.mark.holds("L7")
def test_before_a_block_that_was_entered_meanwhile() -> None:
    pair = Pair(LISTENS)
    pair.engine.pipelining = False
    flow = listen(pair.engine, Listener(("jobs",)))
    operation = begun(pair, flow)
    Transaction(pair.engine).enter()
    given_up(pair, flow, operation)
    inside = query("select")
    pair.engine.submit(inside)
    pair.pump()
    assert inside.error is None
    trace = "\n".join(pair.trace())
    assert 0 < trace.index(UNLISTEN) < trace.index("BEGIN")


@pytest.mark.holds("L7")
def test_an_unlisten_that_could_not_be_sent() -> None:
    pair = Pair(LISTENS)
    listener = listening(pair)
    end = unlisten(pair.engine, listener)
    next(end)
    with pytest.raises(LocalProtocolError, match="busy"):
        end.throw(LocalProtocolError("busy"))
    pair.pump()
    assert asked(pair) == [LISTEN, UNLISTEN]
    pair.run(query("select"))
    assert asked(pair) == [LISTEN, UNLISTEN]


@pytest.mark.holds("L7")
def test_what_the_caller_took_back_is_not_taken_back_again() -> None:
    pair = Pair({**LISTENS, "UNLISTEN *": Answer("UNLISTEN")})
    listening(pair)
    pair.run(Script("UNLISTEN *"))
    flow = listen(pair.engine, Listener(("jobs",)))
    next(flow)
    with pytest.raises(Error):
        flow.throw(Error("it was never sent"))
    pair.pump()
    assert asked(pair) == [LISTEN, "UNLISTEN *"]


@pytest.mark.holds("L7")
def test_nothing_is_sent_in_a_session_that_is_over() -> None:
    pair = Pair(LISTENS)
    listener = listening(pair)
    end = unlisten(pair.engine, listener)
    pair.engine.submit(next(end))
    pair.eof()
    with pytest.raises(Error):
        end.throw(Error("the connection was lost"))
    assert pair.engine.data_to_send() == b""
