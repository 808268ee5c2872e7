"""Scripts and COPY with an unexpected statement, or without a waiting caller."""

from __future__ import annotations

import pytest

from pgproto import ConnectionLost, DataError, Error, LocalProtocolError, Outcome, PostgresError, Retry
from pgproto.session import CopyIn, CopyOut, ExecuteMany, Execution, QueuedQuery, Reset, Script, Transaction
from pgproto.session.sources import ExecutionBuffer
from pgproto.wire import ReadyForQuery
from tests.support.backend import Answer, fails, ok, rows_of
from tests.support.pair import Pair
from tests.support.queries import error_of, query

SCRIPT = {
    "copy t to stdout": Answer("COPY 2", copy="out", rows=[[b"1\n"], [b"2\n"]]),
    "copy t from stdin": Answer("COPY 2", copy="in"),
    "hidden copy": Answer("COPY 2", copy="in"),
    "insert": ok(),
    "select": rows_of(1, 2, 3),
}


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


def test_a_script_says_that_it_drops_what_it_copies_out(pair: Pair) -> None:
    script = pair.run(Script("insert; copy t to stdout"))
    error = error_of(script)
    assert isinstance(error, LocalProtocolError)
    assert str(error) == "the data of COPY TO STDOUT were dropped: use copy_out"
    assert error.outcome is Outcome.COMMITTED
    assert [(result.tag, list(result.rows)) for result in script.results] == [
        ("INSERT 0 1", []),
        ("COPY 2", []),
    ]
    assert pair.engine.reusable


def test_a_script_has_no_data_to_copy_in(pair: Pair) -> None:
    """One that was not seen in the text; the server is told, and says so."""
    script = pair.run(Script("hidden copy"))
    assert "COPY FROM STDIN has no data here" in str(error_of(script))
    assert pair.backend.committed == []
    assert pair.engine.reusable


@pytest.mark.parametrize("make", [Script, Reset])
def test_a_script_that_copies_in_is_not_sent(make: type[Script]) -> None:
    with pytest.raises(LocalProtocolError, match="use copy_in") as caught:
        make("insert; /* all */ COPY t\nFROM stdin; insert")
    assert caught.value.outcome is Outcome.NOT_SENT
    assert caught.value.query is not None
    for sql in ("select 'copy t from stdin'", "create table t (copy int); -- copy t from stdin"):
        make(sql)


def test_rows_of_an_abandoned_script_are_dropped(pair: Pair) -> None:
    pair.backend.silent = True
    script = Script("select; insert")
    pair.engine.submit(script)
    pair.send()
    pair.engine.abandon(script)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert script.finished
    assert [list(result.rows) for result in script.results] == [[], []]
    assert pair.backend.committed == ["select", "insert"]
    assert pair.engine.reusable


def test_an_abandoned_copy_out_is_read_to_its_end_and_dropped(pair: Pair) -> None:
    copy = CopyOut("copy t to stdout")
    pair.backend.silent = True
    pair.engine.submit(copy)
    starting = [copy.starting]
    pair.send()
    pair.engine.abandon(copy)
    pair.engine.take_cancel()
    pair.engine.cancel_done()
    pair.backend.go_on()
    pair.pump()
    assert copy.over
    assert [*starting, copy.starting] == [True, False]
    assert copy.take() == []
    assert pair.run(query("insert")).error is None


@pytest.mark.parametrize(
    ("sql", "text", "outcome"),
    [
        ("copy t from stdin", "the statement is COPY FROM STDIN", Outcome.FAILED),
        ("insert", "the statement is not COPY TO STDOUT", Outcome.COMMITTED),
    ],
)
def test_copy_out_of_something_else(pair: Pair, sql: str, text: str, outcome: Outcome) -> None:
    error = error_of(pair.run(CopyOut(sql)))
    assert isinstance(error, LocalProtocolError)
    assert (str(error), error.outcome) == (text, outcome)
    assert pair.engine.reusable


C, T, U, F = Outcome.COMMITTED, Outcome.OK_IN_TX, Outcome.UNKNOWN, Outcome.FAILED


@pytest.mark.holds("L8")
@pytest.mark.parametrize("make", [CopyIn, CopyOut])
@pytest.mark.parametrize(
    ("sql", "outcome", "rows"),
    [
        ("insert", C, 1),
        ("insert; COMMIT", C, 1),
        ("BEGIN; insert", T, 0),
        ("BEGIN; insert; ROLLBACK", U, 0),
        ("insert; COMMIT; BEGIN; insert", U, 1),
        ("insert; bad", F, 0),
        ("insert; COMMIT; bad", U, 1),
        ("insert; COMMIT; BEGIN; insert; bad", U, 1),
        ("do it", U, 0),
    ],
)
def test_the_label_of_a_copy_that_is_none(
    pair: Pair, make: type[CopyIn | CopyOut], sql: str, outcome: Outcome, rows: int
) -> None:
    pair.backend.script |= {"bad": fails("22012"), "do it": fails("22012")}
    error = error_of(pair.run(make(sql)))
    assert isinstance(error, Error)
    assert (error.outcome, len(pair.backend.committed)) == (outcome, rows)
    pair.run(Script("ROLLBACK"))
    assert pair.engine.reusable


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("sql", "outcome", "rows"),
    [
        ("copy t from stdin; COMMIT; bad", U, 1),
        ("copy t from stdin; bad", F, 0),
        ("copy t from stdin; copy t from stdin", F, 0),
        ("copy t from stdin; COMMIT; copy t from stdin", U, 1),
        ("copy t to stdout", C, 1),
        ("insert; COMMIT; copy t to stdout", C, 2),
    ],
)
def test_the_label_of_a_copy_in_that_is_more(pair: Pair, sql: str, outcome: Outcome, rows: int) -> None:
    pair.backend.script |= {"bad": fails("22012")}
    copy = pair.run(CopyIn(sql))
    copy.end()
    pair.engine.resume()
    pair.pump()
    error = error_of(copy)
    assert isinstance(error, Error)
    assert (error.outcome, len(pair.backend.committed)) == (outcome, rows)
    assert pair.engine.reusable


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("copy t from stdin; COMMIT", 1),
        ("insert; COMMIT; copy t from stdin", 2),
        ("copy t from stdin; insert", 2),
    ],
)
def test_a_copy_with_other_statements(pair: Pair, sql: str, rows: int) -> None:
    copy = pair.run(CopyIn(sql))
    copy.end()
    pair.engine.resume()
    pair.pump()
    assert copy.error is None
    assert (copy.rowcount, len(pair.backend.committed)) == (2, rows)


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("sql", "outcome"),
    [
        ("copy t from stdin", Outcome.NOT_COMMITTED),
        ("insert; copy t from stdin", Outcome.NOT_COMMITTED),
        ("insert; COMMIT; copy t from stdin", U),
    ],
)
def test_what_a_source_that_fails_is_told(pair: Pair, sql: str, outcome: Outcome) -> None:
    copy = pair.run(CopyIn(sql))
    assert copy.copying
    reason = DataError("no number")
    copy.stop(reason)
    assert reason.outcome is outcome
    early = CopyIn(sql)
    early.stop(reason := DataError("no number"))
    assert reason.outcome is Outcome.NOT_COMMITTED


def test_the_second_answer_to_a_copy_that_was_given_up(pair: Pair) -> None:
    pair.backend.silent = True
    copy = CopyOut("copy t from stdin")
    pair.engine.submit(copy)
    pair.send()
    copy.give_up(pair.engine.channel)
    told = error_of(copy)
    pair.backend.go_on()
    pair.pump()
    assert copy.error is told
    assert pair.backend.committed == []
    assert pair.engine.idle


def test_what_became_of_a_lost_script_matters_more_than_a_value_of_it(pair: Pair) -> None:
    pair.backend.script["select"] = Answer("SELECT 1", columns=[("s", 25)], rows=[[b"\xff"]])
    script = Script("select")
    pair.engine.submit(script)
    pair.send()
    pair.deliver(bytes(pair.backend.out).removesuffix(ReadyForQuery("I").encode()))
    assert isinstance(script.error, DataError)
    pair.eof()
    error = error_of(script)
    assert isinstance(error, ConnectionLost)
    assert error.outcome is Outcome.UNKNOWN


FAILING = {
    "clash": fails("40001"),
    "call p()": fails("40001"),
    "do it": fails("40001"),
    ";do it": fails("40001"),
}


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("sql", "outcome"),
    [
        ("clash", F),
        ("insert; clash", F),
        ("begin; insert; clash", F),
        ("begin; insert; rollback; clash", F),
        ("insert; commit; clash", U),
        ("begin; insert; commit; begin; insert; clash", U),
        ("begin; insert; commit and chain; clash", U),
        ("begin; insert; prepare transaction 'x'; clash", U),
        ("call p()", U),
        ("do it", U),
        (";do it", U),
        ("insert; call p()", F),  # in the one block of several statements it cannot commit
    ],
)
def test_a_script_of_which_a_part_may_be_committed_is_not_repeated(
    pair: Pair, sql: str, outcome: Outcome
) -> None:
    pair.backend.script |= FAILING | {"prepare transaction 'x'": ok("PREPARE TRANSACTION")}
    error = error_of(pair.run(Script(sql)))
    assert isinstance(error, PostgresError)
    assert (error.sqlstate, error.outcome) == ("40001", outcome)
    assert Retry().should_retry(error, 1) is (outcome is F)
    assert outcome is U or pair.backend.committed == []


@pytest.mark.holds("L8")
@pytest.mark.parametrize(
    ("texts", "outcome", "labels"),
    [
        (["insert", "clash"], F, "RF"),
        (["insert", "commit", "clash"], U, "CCF"),
        (["insert", "commit", "begin", "insert", "clash"], U, "CCRRF"),
        (["begin", "insert", "prepare transaction 'x'", "insert", "clash"], U, "PPPRF"),
        (["call p()"], U, "U"),
        (["insert", "do it"], U, "UU"),
        (["insert", ";do it", "insert"], U, "UUS"),
        (["begin", "savepoint s", "insert", "clash"], F, "TTRF"),
        (["begin", "call p()"], F, "RF"),
    ],
)
def test_a_batch_of_which_a_part_may_be_committed_is_not_repeated(
    pair: Pair, texts: list[str], outcome: Outcome, labels: str
) -> None:
    pair.backend.script |= FAILING | {"prepare transaction 'x'": ok("PREPARE TRANSACTION")}
    operation = pair.run(Execution([QueuedQuery(text, ()) for text in texts]))
    letters = {Outcome.OK_IN_TX: "T"}
    found = [letters.get(label, label.name[0]) for item in operation.items if (label := item.outcome)]
    assert "".join(found) == labels
    error = error_of(operation)
    assert isinstance(error, PostgresError)
    assert (error.sqlstate, error.outcome) == ("40001", outcome)
    assert Retry().should_retry(error, 1) is (outcome is F)
    for item in operation.items:
        assert item.error is None or getattr(item.error, "outcome", None) is item.outcome


@pytest.mark.holds("L8")
def test_a_batch_that_was_lost_in_the_middle_is_not_repeated(pair: Pair) -> None:
    """In a batch that isolates its errors, the first items are stored when the last ones were not sent."""
    operation = Execution([QueuedQuery("insert", ()) for _ in range(2)], atomic=False)
    pair.run(Execution([QueuedQuery("insert", ())]))
    pair.engine.submit(operation)
    half = len(pair.engine.data_to_send()) // 2
    pair.send(half)
    pair.deliver()
    pair.eof()
    assert [item.outcome for item in operation.items] == [Outcome.COMMITTED, Outcome.NOT_SENT]
    error = error_of(operation)
    assert isinstance(error, ConnectionLost)
    assert error.outcome is U
    assert not Retry().should_retry(error, 1)
    assert getattr(operation.items[1].error, "outcome", None) is Outcome.NOT_SENT


@pytest.mark.holds("L8")
@pytest.mark.parametrize("in_block", [False, True])
@pytest.mark.parametrize("first", [True, False])
def test_executemany_of_a_procedure(pair: Pair, in_block: bool, first: bool) -> None:
    pair.backend.script["call p()"] = fails("40001")
    pair.backend.script["call p()"].spares = 0 if first else 1
    if in_block:
        Transaction(pair.engine).enter()
    operation = pair.run(ExecuteMany("call p()"))
    buffer = ExecutionBuffer(operation)
    for _ in range(2):
        assert buffer.add(()) is None
    run = buffer.end()
    assert run is not None
    operation.feed(run)
    operation.end()
    pair.engine.resume()
    pair.pump()
    error = error_of(operation)
    assert isinstance(error, PostgresError)
    assert error.outcome is (F if in_block else U)


@pytest.mark.parametrize("answered", [False, True])
def test_what_is_lost_in_a_block_that_a_statement_has_begun(pair: Pair, answered: bool) -> None:
    """Until its BEGIN is answered it may have failed, and the INSERT was committed by its own Sync."""
    texts = ["begin", "insert", "insert"]
    pair.run(Execution([QueuedQuery(text, ()) for text in (*texts, "rollback")]))
    operation = Execution([QueuedQuery(text, ()) for text in texts], atomic=False)
    pair.engine.submit(operation)
    pair.send()
    said = bytes(pair.backend.out)
    ready = ReadyForQuery("T").encode()
    pair.deliver(said[: said.index(ready) + (len(ready) if answered else 0)])
    pair.eof()
    lost = Outcome.ROLLED_BACK if answered else U
    assert [item.outcome for item in operation.items] == [lost] * 3
    assert pair.backend.committed == []


def test_what_is_lost_behind_a_commit_that_a_statement_has_sent(pair: Pair) -> None:
    texts = ["begin", "insert", "commit", "insert"]
    pair.run(Execution([QueuedQuery(text, ()) for text in texts]))
    operation = Execution([QueuedQuery(text, ()) for text in texts], atomic=False)
    pair.engine.submit(operation)
    pair.send()
    said = bytes(pair.backend.out)
    ready = ReadyForQuery("T").encode()
    pair.deliver(said[: said.index(ready) + len(ready)])
    pair.eof()
    assert [item.outcome for item in operation.items] == [U] * 4
