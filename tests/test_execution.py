"""Statements and batches: preparing, encoding, outcomes, and the statement cache on the wire."""

from __future__ import annotations

import pytest

from pgproto import Batch, DataError, LocalProtocolError, Outcome, PostgresError, QueryTimeout
from pgproto.session import Execution, Prepare, QueuedQuery, Statement
from pgproto.wire import Bind, Close, Describe, Execute, ParameterStatus, Parse, Sync
from tests.support.backend import FATAL, POOLER_FATAL, Answer, error_fields, fails, ok, rows_of
from tests.support.pair import Pair
from tests.support.queries import batch

SCRIPT = {
    "select 1": rows_of(1),
    "select 2": rows_of(2),
    "select 3": rows_of(3),
    "insert": ok(),
    "insert $1": Answer("INSERT 0 1", types=[23]),
    "bad": fails("22012"),
    "bad parse": fails("42601", "parse"),
    "bad describe": fails("57014", "describe"),
    "stale": fails("0A000", "bind"),
    "deferred": Answer("INSERT 0 1", error=error_fields("23503"), fails="sync"),
    "": Answer(""),
    "fetch c": Answer("FETCH 1", columns=[("n", 23)], rows=[[b"\0\0\0\7"]], late=True),
    "vacuum": ok("VACUUM"),
    "call p()": ok("CALL"),
    "wrong utf-8": Answer("SELECT 1", columns=[("t", 25)], rows=[[b"\xff"]]),
}
C, F, S, R, U, N = (
    Outcome.COMMITTED,
    Outcome.FAILED,
    Outcome.SKIPPED,
    Outcome.ROLLED_BACK,
    Outcome.UNKNOWN,
    Outcome.NOT_SENT,
)


def labels(operation: Execution) -> list[Outcome | None]:
    return [item.outcome for item in operation.items]


def state(operation: Execution) -> str:
    error = operation.error
    return error.sqlstate if isinstance(error, PostgresError) else type(error).__name__


@pytest.fixture
def pair() -> Pair:
    return Pair(SCRIPT)


@pytest.mark.parametrize(
    ("texts", "expected", "code"),
    [
        ([], [], "NoneType"),
        (["insert", "select 1"], [C, C], "NoneType"),
        (["insert", "bad", "insert"], [R, F, S], "22012"),
        (["bad", "insert"], [F, S], "22012"),
        (["deferred"], [F], "23503"),
        (["insert", "deferred"], [R, R], "23503"),
        (["insert", "stale"], [R, F], "0A000"),
        (["insert", "bad parse", "insert"], [N, F, N], "42601"),
        (["insert", "bad describe"], [N, F], "57014"),
        (["insert", "", "insert"], [C, C, C], "NoneType"),
        (["insert", "commit", "select 1", "bad", "insert"], [C, C, R, F, S], "22012"),
        (["begin", "insert", "rollback", "insert", "commit", "bad"], [R, R, R, C, C, F], "22012"),
        (["begin", "savepoint s", "insert", "rollback to s", "commit", "bad"], [C, C, R, C, C, F], "22012"),
        (["insert", "vacuum", "insert", "bad"], [U, U, R, F], "22012"),
        (["insert", "call p()", "commit", "bad"], [U, C, C, F], "22012"),
    ],
)
def test_outcomes_of_an_atomic_batch(
    pair: Pair, texts: list[str], expected: list[Outcome], code: str
) -> None:
    operation = pair.run(batch(*texts))
    assert labels(operation) == expected
    assert state(operation) == code
    failed = [item.error for item in operation.items if item.error is not None]
    assert failed == [item.error for item in operation.items if item.outcome is F]
    partly = C in expected or U in expected
    for error in failed:
        assert isinstance(error, PostgresError)
        assert isinstance(operation.error, PostgresError)
        assert error.outcome is F
        assert operation.error.outcome is (U if partly else F)
        assert (operation.error is error) is not partly
        assert operation.error.fields == error.fields
        assert operation.error.query == error.query == texts[expected.index(F)]
    assert pair.engine.idle


def test_outcomes_of_a_batch_that_isolates(pair: Pair) -> None:
    operation = pair.run(
        batch("insert", "bad", "bad parse", "insert", "deferred", "a\0b", "wrong utf-8", atomic=False)
    )
    assert labels(operation) == [C, F, F, C, F, N, C]
    assert operation.error is None
    errors = [type(item.error).__name__ for item in operation.items]
    assert errors[5:] == ["LocalProtocolError", "DataError"]
    for item in operation.items:
        assert item.error is None or getattr(item.error, "outcome", None) is item.outcome
    assert pair.backend.committed == ["insert", "insert", "wrong utf-8"]


def test_ok_in_a_transaction(pair: Pair) -> None:
    assert labels(pair.run(batch("begin", "insert"))) == [Outcome.OK_IN_TX] * 2
    assert labels(pair.run(batch("bad", "insert"))) == [F, S]
    assert pair.engine.transaction_status == "E"
    assert labels(pair.run(batch("rollback"))) == [R]


def test_a_value_that_does_not_fit_sends_nothing(pair: Pair) -> None:
    pair.run(Execution([QueuedQuery("insert $1", (1,))]))
    heard = len(pair.backend.heard)
    operation = Execution([QueuedQuery("insert $1", (1,)), QueuedQuery("insert $1", ("x",))])
    pair.run(operation)
    assert isinstance(operation.error, DataError)
    assert operation.error.outcome is N
    assert operation.error.__notes__ == ["in statement 2 of the batch (encode)"]
    assert labels(operation) == [N, N]
    assert operation.items[0].error is None
    assert pair.engine.idle
    # It was asked anew what the parameter's type is: it may have changed.
    pair.run(Execution([QueuedQuery("insert $1", (1,))]))
    names = [type(each).__name__ for each in pair.backend.heard[heard:]]
    assert names == ["Close", "Parse", "Describe", "Sync", "Bind", "Execute", "Sync"]


@pytest.mark.parametrize("queued", [False, True])
@pytest.mark.parametrize("text", ["select '\0'", "select '\ud800'"])
def test_a_text_that_does_not_fit_hurts_nobody_else(pair: Pair, text: str, queued: bool) -> None:
    first = batch("select 1")
    if queued:
        pair.engine.submit(first)
    operation = pair.run(batch("insert", text))
    assert isinstance(operation.error, LocalProtocolError)
    assert operation.error.outcome is N
    assert labels(operation) == [N, N]
    assert labels(pair.run(batch("select 2"))) == [C]
    assert not queued or first.error is None
    assert pair.engine.idle
    with pytest.raises(LocalProtocolError):
        Statement(text, "mine", kept=True)


def test_too_many_parameters_are_refused_here() -> None:
    with pytest.raises(LocalProtocolError, match="limited to 65535 parameters"):
        Batch().queue("many", *(1,) * 65_536)


# ---- The cache


def test_an_error_drops_the_entry_and_closes_the_name_with_the_next_flight(pair: Pair) -> None:
    pair.run(batch("stale"))
    mark = len(pair.backend.heard)
    assert state(pair.run(batch("stale"))) == "0A000"
    first = pair.backend.heard[mark : mark + 3]
    assert first == [Close("S", "s1"), Parse("s2", "stale"), Describe("S", "s2")]


def test_what_an_error_skipped_stays_cached(pair: Pair) -> None:
    pair.run(batch("select 1", "bad", "select 2"))
    mark = len(pair.backend.heard)
    pair.run(batch("select 1", "select 2"))
    heard = pair.backend.heard[mark:]
    assert [type(each) for each in heard] == [Close, Bind, Execute, Bind, Execute, Sync]
    assert heard[0] == Close("S", "s2")


def test_half_prepared_names_are_closed(pair: Pair) -> None:
    assert labels(pair.run(batch("select 1", "bad describe", "select 2"))) == [N, F, N]
    mark = len(pair.backend.heard)
    assert pair.run(batch("select 1", "select 2")).error is None
    closed = [each for each in pair.backend.heard[mark:] if isinstance(each, Close)]
    assert closed == [Close("S", "s2"), Close("S", "s3")]


def test_eviction_is_by_age_and_deferred_while_in_use() -> None:
    pair = Pair(SCRIPT, cache=2)
    pair.run(batch("select 1", "select 2", "select 3"))
    assert len(pair.engine.channel.statements) == 2
    mark = len(pair.backend.heard)
    pair.run(batch("select 3", "select 2"))
    assert [each for each in pair.backend.heard[mark:] if isinstance(each, Close)] == [Close("S", "s1")]
    pair.run(batch("select 1"))
    pair.run(batch("select 2"))
    assert [each for each in pair.backend.heard if isinstance(each, Close)][-1] == Close("S", "s3")


def test_no_cache_at_all() -> None:
    pair = Pair(SCRIPT, cache=0)
    pair.run(batch("select 1"))
    pair.run(batch("select 1"))
    assert len(pair.engine.channel.statements) == 0
    assert [each for each in pair.backend.heard if isinstance(each, Close)] == [Close("S", "s1")]


@pytest.mark.parametrize("forget", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_the_server_forgets_everything(pair: Pair, forget: str) -> None:
    pair.run(batch("select 1"))
    pair.run(batch(forget))
    assert len(pair.engine.channel.statements) == 0
    assert pair.run(batch("select 1")).error is None
    assert not [each for each in pair.backend.heard if isinstance(each, Close)]


def test_unnamed_mode_parses_each_time_in_the_same_segment() -> None:
    pair = Pair(SCRIPT, named=False)
    assert labels(pair.run(batch("select 1", "select 2"))) == [C, C]
    mark = len(pair.backend.heard)
    operation = pair.run(batch("select 2", "select 1"))
    assert [item.rows[0][0] for item in operation.items] == [2, 1]
    assert [type(each) for each in pair.backend.heard[mark:]] == [
        *(Parse, Describe, Bind, Execute),
        *(Parse, Describe, Bind, Execute, Sync),
    ]
    assert labels(pair.run(batch("stale"))) == [F]
    assert not [each for each in pair.backend.heard if isinstance(each, Close)]


def test_columns_that_only_execute_tells(pair: Pair) -> None:
    for _ in range(2):
        operation = pair.run(batch("fetch c"))
        assert operation.items[0].rows[0]["n"] == 7
        assert operation.items[0].columns == ("n",)
    assert [each.kind for each in pair.backend.heard if isinstance(each, Describe)] == ["S"] * 3


def test_a_prepared_statement_is_the_callers(pair: Pair) -> None:
    prepare = pair.run(Prepare(Statement("insert $1", "mine", kept=True)))
    assert prepare.error is None
    statement = prepare.statement
    queue = Batch()
    queue.queue(statement, 1)
    queue.queue(statement, 2)
    operation = pair.run(Execution(queue.take()))
    assert labels(operation) == [C, C]
    with pytest.raises(LocalProtocolError, match="sent before"):
        queue.take()
    pair.engine.forget(statement)
    closed = pair.run(Execution([QueuedQuery(statement.sql, (1,), statement)]))
    assert isinstance(closed.error, LocalProtocolError)
    assert closed.error.outcome is N
    failed = pair.run(Prepare(Statement("bad parse", "other", kept=True)))
    assert isinstance(failed.error, PostgresError)
    assert failed.error.outcome is F


def test_a_refusal_ahead_of_turn_is_asked_again_in_turn(pair: Pair) -> None:
    pair.backend.script["late"] = fails("42P01", "parse")
    first, second = batch("select 1"), batch("late")
    pair.engine.submit(first)
    pair.engine.submit(second)
    pair.send()
    pair.backend.script["late"] = rows_of(5)  # what runs meanwhile has created it
    pair.pump()
    assert second.error is None
    assert second.items[0].rows[0][0] == 5


def test_nothing_is_prepared_ahead_where_it_could_hurt(pair: Pair) -> None:
    pair.run(batch("begin"))
    first, second = batch("select 1"), batch("bad parse")
    pair.engine.submit(first)
    pair.engine.submit(second)
    pair.pump()
    assert first.error is None
    assert state(second) == "42601"


# ---- Being lost


def test_labels_when_the_session_dies_at_each_stage(pair: Pair) -> None:
    pair.run(batch("insert", "select 1"))
    pair.backend.silent = True
    sent, queued = batch("insert", "select 1"), batch("select 2")
    pair.engine.submit(sent)
    pair.send()
    pair.engine.submit(queued)
    pair.deliver(FATAL + POOLER_FATAL)
    pair.eof()
    assert labels(sent) == [F, S]
    assert labels(queued) == [N]
    assert sent.items[0].error is not None
    assert sent.items[0].error.__cause__ is pair.engine.cause


def test_labels_when_only_part_was_handed_over(pair: Pair) -> None:
    pair.run(batch("insert"))
    for count in (0, 1, 30, 40):
        fresh = Pair(SCRIPT)
        fresh.run(batch("insert"))
        operation = batch("insert", "insert")
        fresh.engine.submit(operation)
        size = len(fresh.engine.data_to_send())
        fresh.send(count) if count else None
        fresh.eof()
        expected = N if not count else Outcome.NOT_COMMITTED
        assert labels(operation) == [expected] * 2
        assert size == 2 * 25 + 5
    for count in (51, 55):
        fresh = Pair(SCRIPT)
        fresh.run(batch("insert"))
        operation = batch("insert", "insert")
        fresh.engine.submit(operation)
        fresh.send(count)
        fresh.backend.out.clear()
        fresh.eof()
        assert labels(operation) == [U, U]  # the Sync has begun to leave


def test_what_ran_in_a_transaction_died_with_it_unless_commit_was_sent(pair: Pair) -> None:
    for commit in (False, True):
        fresh = Pair(SCRIPT)
        fresh.run(batch("insert"))
        fresh.run(batch("commit"))
        fresh.run(batch("begin"))
        fresh.backend.silent = True
        insert = batch("insert")
        fresh.engine.submit(insert)
        if commit:
            fresh.engine.submit(batch("commit"))
        fresh.send()
        fresh.eof()
        assert labels(insert) == [U if commit else R]


def test_rows_of_an_abandoned_query_are_dropped(pair: Pair) -> None:
    operation = batch("select 1")
    pair.engine.submit(operation)
    pair.send()
    pair.deliver()
    pair.send()
    pair.engine.abandon(operation)
    pair.pump()
    assert operation.finished
    assert operation.items[0].rows == []


def test_a_batch_that_isolates_stops_when_its_time_is_over() -> None:
    pair = Pair({"insert $1": Answer("INSERT 0 1", types=[25])})
    pair.run(Execution([QueuedQuery("insert $1", ("x",))]))
    items = [QueuedQuery("insert $1", ("x" * 20_000,)) for _ in range(20)]
    operation = Execution(items, atomic=False)
    operation.deadline = pair.now + 1
    pair.engine.submit(operation)
    pair.send(20_100)
    pair.pass_time(1)
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.pump()
    assert isinstance(operation.error, QueryTimeout)
    outcomes = labels(operation)
    assert outcomes[0] is C
    assert outcomes[-1] is N
    assert set(outcomes) == {C, N}
    assert isinstance(items[-1].error, QueryTimeout)
    assert len(pair.backend.committed) - 1 == outcomes.count(C)
    assert pair.engine.reusable


def test_a_session_is_dirty_only_after_what_leaves_a_trace(pair: Pair) -> None:
    dirty = []
    for text in ("select 1", "vacuum"):
        pair.run(batch(text))
        dirty.append(pair.engine.dirty)
    assert dirty == [False, True]
    pair.deliver(ParameterStatus("x", "y").encode())
    assert pair.engine.reusable


def test_texts(pair: Pair) -> None:
    operation = pair.run(batch("insert"))
    assert repr(operation.items[0]) == "<QueuedQuery 'insert' COMMITTED 'INSERT 0 1'>"
    assert operation.items[0].rowcount == 1
    assert repr(QueuedQuery("x", ())) == "<QueuedQuery 'x' queued ''>"
    queue = Batch(atomic=False)
    assert len(queue) == 0
    assert repr(queue) == "<Batch of 0, not atomic>"
    assert repr(Batch()) == "<Batch of 0, atomic>"
    assert repr(Statement("x", "s1")) == "<Statement 's1' 'x'>"


def test_an_error_in_a_long_batch_does_not_take_the_statement_from_the_items_behind_it(pair: Pair) -> None:
    long = batch(*["bad"] * 3000, atomic=False)  # more than is written ahead
    pair.engine.submit(long)
    while pair.send(4096) or pair.deliver():
        pair.deliver()
    assert {getattr(item.error, "sqlstate", None) for item in long.items} == {"22012"}
    assert pair.run(batch("insert")).error is None
    assert pair.engine.channel.statements.take_closes() == []
    closed = [message for message in pair.backend.heard if isinstance(message, Close)]
    assert len(closed) == 1  # once the last one was done with it


def test_a_value_that_does_not_fit_does_not_take_the_statement_from_the_other_items(pair: Pair) -> None:
    items = [QueuedQuery("insert $1", (value,)) for value in (1, "x", 2)]
    mixed = pair.run(Execution(items, atomic=False))
    assert labels(mixed) == [C, N, C]
    assert isinstance(items[1].error, DataError)


@pytest.mark.slow
@pytest.mark.holds("L2")
@pytest.mark.parametrize("kind", ["batch", "isolated"])
def test_nobody_prepares_in_the_middle_of_a_batch(pair: Pair, kind: str) -> None:
    """The Sync of a Prepare would commit what is written of it."""
    pair.run(Execution([QueuedQuery("insert $1", (1,))]))
    big = Execution([QueuedQuery("insert $1", (number,)) for number in range(20000)])
    pair.engine.submit(big)
    pair.send(1000)
    other = batch("select 1", atomic=kind == "batch")
    pair.engine.submit(other)
    assert len(pair.backend.heard) < 10000
    pair.pump()
    syncs = [number for number, each in enumerate(pair.backend.heard) if isinstance(each, Sync)]
    assert not [number for number in syncs if 100 < number < 40000]
    assert labels(big) == [C] * 20000
    assert labels(other) == [C]
