"""Prepared statements that are out of date: prepared anew and run once more, or an error that says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, tzinfo

import pytest

from pgproto import Outcome, PostgresError, QueryTimeout, Retry
from pgproto.session import (
    GRACE,
    ExecuteMany,
    Execution,
    Operation,
    Prepare,
    QueuedQuery,
    Script,
    Statement,
    Stream,
    Transaction,
)
from pgproto.session.preparing import MAX_HEALS
from pgproto.session.sources import ExecutionBuffer
from pgproto.session.stale import is_stale
from pgproto.wire import Bind, Close, ErrorResponse, Execute, Message, Parse, Sync
from pgproto.wire.binding import Executes
from tests.support.backend import Answer, Backend, error_fields, fails, ok, rows_of
from tests.support.pair import Pair
from tests.support.queries import batch

SCRIPT = {
    "select 1": rows_of(1),
    "select 2": rows_of(2),
    "insert": ok(),
    "insert $1": ok(types=[23]),
    "bad": fails("22012"),
}
C, F, R, N, T = Outcome.COMMITTED, Outcome.FAILED, Outcome.ROLLED_BACK, Outcome.NOT_SENT, Outcome.OK_IN_TX
WAYS: dict[str, Callable[[Backend], None]] = {
    "0A000": Backend.change_tables,
    "26000": Backend.forget_statements,
}
ways = pytest.mark.parametrize("code", list(WAYS))


def labels(operation: Execution) -> list[Outcome | None]:
    return [item.outcome for item in operation.items]


def error_of(operation: Operation) -> PostgresError:
    assert isinstance(operation.error, PostgresError)
    return operation.error


def notes(error: BaseException) -> str:
    return "; ".join(getattr(error, "__notes__", []))


def kept(pair: Pair, text: str) -> Statement:
    prepare = pair.run(Prepare(pair.engine.prepare(text)))
    assert prepare.error is None
    return prepare.statement


@pytest.fixture
def pair() -> Pair:
    """A session that has prepared all that is not bad."""
    pair = Pair(SCRIPT)
    pair.run(batch("select 1", "select 2", "insert", "insert"))
    pair.backend.committed.clear()
    return pair


def outdate(pair: Pair, code: str) -> None:
    WAYS[code](pair.backend)


@ways
def test_healed_as_a_whole(pair: Pair, code: str) -> None:
    for texts in (["select 1"], ["insert", "select 2", "select 1", "insert"]):
        outdate(pair, code)
        operation = pair.run(batch(*texts))
        assert operation.error is None
        assert labels(operation) == [C] * len(texts)
    assert [item.rows[0][0] for item in operation.items if item.rows] == [2, 1]
    assert pair.backend.committed.count("insert") == 2
    assert pair.engine.idle
    mark = len(pair.backend.heard)
    pair.run(batch("select 1"))
    assert [type(each) for each in pair.backend.heard[mark:]] == [Bind, Execute, Sync]


@ways
def test_a_kept_statement_is_healed_and_stays_the_callers(pair: Pair, code: str) -> None:
    statement = kept(pair, "insert $1")
    first = statement.name
    outdate(pair, code)
    for _ in range(2):
        operation = pair.run(Execution([QueuedQuery(statement.sql, (n,), statement) for n in range(3)]))
        assert labels(operation) == [C] * 3
    assert statement.name != first
    assert pair.engine.channel.statements.kept == {statement.name: statement}
    pair.engine.forget(statement)
    closed = pair.run(Execution([QueuedQuery(statement.sql, (1,), statement)]))
    assert closed.error is not None


def test_a_kept_statement_that_cannot_be_prepared_now_can_be_later(pair: Pair) -> None:
    statement = kept(pair, "insert $1")
    pair.backend.change_tables()
    pair.backend.script["insert $1"] = fails("42P01", "parse")
    for _ in range(2):
        operation = pair.run(Execution([QueuedQuery(statement.sql, (1,), statement)]))
        assert error_of(operation).sqlstate == "42P01"
        assert labels(operation) == [F]
    pair.backend.script["insert $1"] = ok(types=[23])
    assert labels(pair.run(Execution([QueuedQuery(statement.sql, (1,), statement)]))) == [C]


@ways
def test_callers_of_one_kept_statement_at_once(pair: Pair, code: str) -> None:
    statement = kept(pair, "insert $1")
    outdate(pair, code)
    operations = [Execution([QueuedQuery(statement.sql, (n,), statement)]) for n in range(4)]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    # Those that were in flight with the old name have failed with it, each one for itself.
    assert all(labels(operation) == [C] for operation in operations)
    assert pair.backend.committed.count("insert $1") == 4


def test_what_was_encoded_for_it_is_encoded_again() -> None:
    """Its parameters may have other types now."""
    pair = Pair(SCRIPT, pipelining=False)
    statement = kept(pair, "insert $1")
    pair.backend.change_tables()
    first, second = (Execution([QueuedQuery(statement.sql, (n,), statement)]) for n in (1, 2))
    pair.engine.submit(first)
    pair.engine.submit(second)
    pair.backend.script["insert $1"] = ok(types=[20])
    pair.pump()
    assert labels(first) == labels(second) == [C]
    assert [len(each.parameters[0] or b"") for each in pair.backend.heard if isinstance(each, Bind)] == [
        4,
        8,
        8,
    ]


@ways
def test_pipelined_neighbours(pair: Pair, code: str) -> None:
    outdate(pair, code)
    operations = [batch("select 1"), batch("insert", "select 2"), batch("bad"), batch("select 1", "select 1")]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    assert [labels(operation) for operation in operations] == [[C], [C, C], [F], [C, C]]
    assert pair.engine.idle


def test_a_taken_name(pair: Pair) -> None:
    pair.backend.take_name("s4")
    assert labels(pair.run(batch("insert $1 again", "select 1"))) == [F, N]  # unknown to the script
    pair.backend.script["select 3"] = rows_of(3)
    counter = int(pair.engine.channel.statements.new_name()[1:])
    pair.backend.take_name(f"s{counter + 1}")
    operation = pair.run(batch("insert", "select 3"))
    assert labels(operation) == [C, C]
    pair.backend.take_name(f"s{counter + 4}")
    assert kept(pair, "insert").state == 2
    prepare = Prepare(Statement("insert", "s1", kept=True))
    pair.run(prepare)
    assert prepare.error is None
    assert prepare.statement.name != "s1"
    closed = [each.name for each in pair.backend.heard if isinstance(each, Close)]
    assert f"s{counter + 1}" not in closed


def test_a_taken_name_in_a_block(pair: Pair) -> None:
    pair.run(batch("begin"))
    prepare = pair.run(Prepare(Statement("insert", "s1", kept=True)))
    error = error_of(prepare)
    assert error.sqlstate == "42P05"
    assert error.stale_statement
    assert "transaction can be run again" in notes(error)


def test_names_that_are_always_taken() -> None:
    pair = Pair(SCRIPT)
    for number in range(50):
        pair.backend.take_name(f"s{number}")
    assert error_of(pair.run(batch("insert"))).sqlstate == "42P05"
    prepare = pair.run(Prepare(Statement("insert", "s1", kept=True)))
    assert error_of(prepare).sqlstate == "42P05"


@ways
def test_not_healed_in_a_block(pair: Pair, code: str) -> None:
    outdate(pair, code)
    block = Transaction(pair.engine)
    block.enter()
    operation = pair.run(batch("select 1"))
    error = error_of(operation)
    assert error.sqlstate == code
    assert error.stale_statement
    assert "transaction can be run again" in notes(error)
    assert Retry().should_retry(error, 1)
    for script in block.rollback():
        pair.run(script)
    # One repetition is enough: whatever else it uses was forgotten, too.
    block = Transaction(pair.engine)
    block.enter()
    assert labels(pair.run(batch("select 1", "select 2", "insert"))) == [T] * 3


@ways
def test_not_healed_where_its_parts_stand_alone(pair: Pair, code: str) -> None:
    outdate(pair, code)
    operation = pair.run(batch("insert", "select 1", atomic=False))
    assert labels(operation) == [F, F]
    for item in operation.items:
        assert isinstance(item.error, PostgresError)
        assert item.error.stale_statement
        assert "can be repeated" in notes(item.error)
    assert labels(pair.run(batch("insert", "select 1", atomic=False))) == [C, C]
    outdate(pair, code)  # beside one that was never prepared
    assert labels(pair.run(batch("select\0", "select 1", atomic=False))) == [N, F]


@ways
def test_not_healed_with_control_in_it(pair: Pair, code: str) -> None:
    pair.backend.script["vacuum"] = ok("VACUUM")
    pair.run(batch("vacuum"))
    outdate(pair, code)
    operation = pair.run(batch("vacuum", "select 1"))
    assert error_of(operation).stale_statement
    assert pair.run(batch("vacuum", "select 1")).error is None


def test_not_healed_for_ever(pair: Pair) -> None:
    class Stubborn(set[str]):
        def __contains__(self, name: object) -> bool:
            return True

    pair.backend.outdated = Stubborn()
    operation = pair.run(batch("insert"))
    assert labels(operation) == [F]
    assert error_of(operation).stale_statement
    assert operation.heals == MAX_HEALS
    binds = [each for each in pair.backend.heard if isinstance(each, Bind)]
    assert len(binds) == 4 + 1 + MAX_HEALS


def test_several_deallocations_in_one_pipeline() -> None:
    """Each makes those after it prepare anew; it is the session's own doing, and no pooler's."""
    pair = Pair({**SCRIPT, "deallocate all": ok("DEALLOCATE ALL")})
    texts = ["select 1", "deallocate all", "insert"] * 8
    for sql in SCRIPT:
        if sql != "bad" and "$" not in sql:
            pair.run(batch(sql))
    operations = [batch(sql) for sql in texts]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    assert [operation.error for operation in operations] == [None] * len(texts)
    assert [labels(operation) for operation in operations] == [[C]] * len(texts)
    assert sum(operation.heals for operation in operations) == 0


def test_a_deallocation_before_what_cannot_be_repeated() -> None:
    pair = Pair({**SCRIPT, "deallocate all": ok("DEALLOCATE ALL")})
    pair.run(batch("insert"))
    first, second = batch("deallocate all"), batch("insert", "select 1", atomic=False)
    pair.engine.submit(first)
    pair.engine.submit(second)
    pair.pump()
    assert first.error is None
    for item in second.items:
        assert isinstance(item.error, PostgresError)
        assert item.error.stale_statement
        assert "can be repeated" in notes(item.error)
        assert "pooler" not in notes(item.error)


def test_a_pooler_that_switches_servers(pair: Pair) -> None:
    class Nowhere(dict[str, str]):
        def __contains__(self, name: object) -> bool:
            return False

    pair.backend._statements = Nowhere()
    operation = pair.run(batch("insert"))
    assert error_of(operation).sqlstate == "26000"
    assert operation.heals == 1
    assert "statement_mode=cache_describe" in notes(error_of(operation))
    assert not error_of(operation).stale_statement


@ways
@pytest.mark.parametrize("end", ["deadline", "abandon", "lost"])
@pytest.mark.parametrize("when", ["preparing", "executing"])
def test_stopped_while_healing(pair: Pair, code: str, end: str, when: str) -> None:
    outdate(pair, code)
    operation = batch("insert")
    operation.deadline = pair.now + 1
    pair.engine.submit(operation)
    pair.send()
    pair.deliver()  # the refusal; now it prepares anew
    if when == "executing":
        pair.send()
        pair.deliver()
    pair.backend.silent = True
    pair.send()
    assert operation not in pair.ready
    if end == "lost":
        pair.eof()
    elif end == "abandon":
        pair.engine.abandon(operation)
    else:
        pair.pass_time(1)
        assert operation.stopped is not None
    pair.pass_time(GRACE)
    assert operation.finished
    sent = when == "executing"
    assert labels(operation) == [Outcome.UNKNOWN if sent else N]
    assert operation.error is not None
    assert getattr(operation.error, "outcome", None) is operation.items[0].outcome
    if end == "deadline":
        assert isinstance(operation.error, QueryTimeout)
    assert "insert" not in pair.backend.committed


@ways
def test_nobody_wants_it_any_more(pair: Pair, code: str) -> None:
    outdate(pair, code)
    operation = batch("insert")
    pair.engine.submit(operation)
    pair.send()
    pair.engine.abandon(operation)
    pair.deliver()
    assert labels(operation) == [F]
    assert operation.heals == 0


@ways
def test_not_into_somebodys_block(pair: Pair, code: str) -> None:
    """Behind it lies what opens a block: there it would be run inside."""
    outdate(pair, code)
    first, begin, last = batch("insert"), Script("begin"), Script("rollback")
    for operation in (first, begin, last):
        pair.engine.submit(operation)
    pair.pump()
    assert labels(first) == [F]
    assert error_of(first).stale_statement
    assert pair.run(batch("insert")).error is None


@ways
def test_a_block_that_opens_meanwhile(pair: Pair, code: str) -> None:
    outdate(pair, code)
    operation = batch("insert")
    pair.engine.submit(operation)
    pair.send()
    block = Transaction(pair.engine)
    block.enter()
    pair.pump()
    assert labels(operation) == [F]
    assert labels(pair.run(batch("insert"))) == [T]


@ways
def test_it_takes_its_turn_before_those_that_wait(code: str) -> None:
    pair = Pair(SCRIPT, pipelining=False)
    pair.run(batch("insert", "select 1"))
    outdate(pair, code)
    first, begin = batch("insert"), Script("begin")
    pair.engine.submit(first)
    pair.engine.submit(begin)
    pair.pump()
    assert labels(first) == [C]
    assert pair.engine.transaction_status == "T"


@pytest.mark.slow
@ways
def test_not_into_the_middle_of_a_batch(pair: Pair, code: str) -> None:
    pair.run(Execution([QueuedQuery("insert $1", (1,))]))
    outdate(pair, code)
    first, big = batch("select 1"), Execution([QueuedQuery("insert $1", (n,)) for n in range(20000)])
    pair.engine.submit(first)
    pair.send()
    pair.engine.submit(big)
    pair.deliver()
    pair.pump()
    assert labels(first) == [C]
    assert set(labels(big)) == {C}
    assert pair.backend.committed.count("insert $1") == 20001


@ways
def test_streams(pair: Pair, code: str) -> None:
    outdate(pair, code)
    stream = Stream(QueuedQuery("select 1", ()))
    pair.engine.submit(stream)
    pair.pump()
    assert [tuple(row) for row in stream.take()] == [(1,)]
    assert stream.error is None
    stream = Stream(QueuedQuery("select 1", ()))
    stream._given = True
    outdate(pair, code)
    assert error_of(pair.run(stream)).stale_statement


@ways
@pytest.mark.parametrize("keep", [True, False])
def test_executemany_is_not_repeated(pair: Pair, code: str, keep: bool) -> None:
    def run(statement: Statement | None) -> ExecuteMany:
        operation = ExecuteMany("insert $1", statement)
        pair.run(operation)
        if operation.finished:
            return operation
        buffer = ExecutionBuffer(operation)
        assert buffer.add((1,)) is None
        last = buffer.end()
        assert last is not None
        operation.feed(last)
        operation.end()
        pair.engine.resume()
        pair.pump()
        return operation

    statement = kept(pair, "insert $1") if keep else None
    assert run(statement).error is None
    outdate(pair, code)
    error = error_of(run(statement))
    assert error.stale_statement
    assert "can be repeated" in notes(error)
    assert run(statement).error is None
    assert pair.backend.committed.count("insert $1") == 2


def test_retry_repeats_what_was_stale() -> None:
    error = PostgresError.of({"C": "0A000", "M": "cached plan must not change result type"})
    error.outcome = F
    assert not Retry().should_retry(error, 1)
    error.stale_statement = True
    assert Retry().should_retry(error, 1)
    assert Retry().should_retry(error, 1, R)
    assert not Retry().should_retry(error, 1, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("fields", "name", "stale"),
    [
        ({"C": "0A000", "R": "RevalidateCachedQuery", "M": "\u00e4"}, "s1", True),
        ({"C": "0A000", "M": "cached plan must not change result type"}, "s1", True),
        ({"C": "0A000", "M": "cached plan must not change result type"}, "", False),
        ({"C": "0A000", "M": "not supported"}, "s1", False),
        ({"C": "26000", "M": 'prepared statement "s1" does not exist'}, "s1", True),
        ({"C": "26000", "M": "vorbereitete Anweisung \u00bbs1\u00ab existiert nicht"}, "s1", True),
        ({"C": "26000", "M": 'prepared statement "s12" does not exist'}, "s1", False),
        ({"C": "26000", "M": 'prepared statement "mys1" does not exist'}, "s1", False),
        ({"C": "26000", "M": 'prepared statement "mine" does not exist'}, "s1", False),
        ({"C": "26000", "M": 'prepared statement "" does not exist'}, "", False),
        ({"C": "22012", "M": "s1"}, "s1", False),
        ({"C": "0A000", "R": "exec_stmt_raise", "M": "cached plan must not change result type"}, "s1", False),
    ],
)
def test_what_is_stale(fields: dict[str, str], name: str, stale: bool) -> None:
    def event(request: Message | None, *, binding: bool = True) -> ErrorResponse:
        response = ErrorResponse(fields)
        response.request = request
        response.binding = binding
        return response

    error = PostgresError.of(fields)
    run = Executes(name, b"", 1)
    assert is_stale(error, event(run)) is stale
    assert not is_stale(error, event(run, binding=False))
    assert not is_stale(error, event(Sync()))
    assert not is_stale(error, event(None))


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("0A000", "cached plan must not change result type"),
        ("26000", 'prepared statement "s5" does not exist'),
    ],
)
def test_what_a_statement_raises_while_it_runs_is_its_own(pair: Pair, code: str, message: str) -> None:
    """It may have had effects that no rollback undoes, so it is not run again, and its error is told."""
    for atomic in (True, False):
        text = f"select raises({atomic})"
        pair.backend.script[text] = Answer(error=error_fields(code, message))
        operation = batch("insert", text, atomic=atomic)
        mark = len(pair.backend.heard)
        pair.run(operation)
        assert labels(operation) == [R if atomic else C, F]
        error = operation.items[1].error
        assert isinstance(error, PostgresError)
        assert error.message == message
        assert not error.stale_statement
        assert notes(error) == "in statement 2 of the batch (run)"
        executed = [each for each in pair.backend.heard[mark:] if isinstance(each, Execute)]
        assert len(executed) == 2
        assert operation.heals == 0


@ways
def test_not_healed_behind_what_may_have_left_a_trace(pair: Pair, code: str) -> None:
    """A lock of the session would be taken twice."""
    lock = "select pg_advisory_lock(1)"
    pair.backend.script[lock] = ok("SELECT 1")
    pair.run(batch(lock, "select 1"))
    pair.backend.committed.clear()
    names = {sql: name for name, sql in pair.backend._statements.items()}
    if code == "26000":
        del pair.backend._statements[names["insert"]]
    else:
        pair.backend.outdated = {names["insert"]}
    operation = pair.run(batch("select 1", lock, "insert"))
    assert labels(operation) == [R, R, F]
    assert error_of(operation).stale_statement
    assert pair.backend.committed == []
    assert labels(pair.run(batch("select 1", lock, "insert"))) == [C, C, C]


def test_parse_is_sent_with_a_new_name_each_time(pair: Pair) -> None:
    pair.backend.change_tables()
    pair.run(batch("select 1"))
    names = [each.name for each in pair.backend.heard if isinstance(each, Parse)]
    assert len(names) == len(set(names)) == 4


# ---- Parameters that have another type than when they were described


def changed(pair: Pair, types: list[int]) -> None:
    """The column was altered: what is parsed from now on has these parameters."""
    pair.backend.script["insert $1"] = ok(types=types)


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("atomic", [False, True])
@pytest.mark.parametrize("pipelining", [False, True])
def test_a_value_that_fits_the_parameters_type_of_today(keep: bool, atomic: bool, pipelining: bool) -> None:
    pair = Pair(SCRIPT, pipelining=pipelining)
    statement = kept(pair, "insert $1") if keep else None
    pair.run(Execution([QueuedQuery("insert $1", (1,), statement)]))
    pair.backend.committed.clear()
    changed(pair, [25])
    values = ["x", "y", "z"]
    operation = Execution([QueuedQuery("insert $1", (value,), statement) for value in values], atomic=atomic)
    neighbour = batch("select 1")
    pair.engine.submit(neighbour)
    pair.engine.submit(operation)
    pair.pump()
    assert labels(operation) == [C, C, C]
    assert labels(neighbour) == [C]
    binds = [each.parameters for each in pair.backend.heard if isinstance(each, Bind) and each.parameters]
    assert binds[1:] == [[b"x"], [b"y"], [b"z"]]
    mark = len(pair.backend.heard)
    assert labels(pair.run(Execution([QueuedQuery("insert $1", ("x",), statement)]))) == [C]
    names = [type(each).__name__ for each in pair.backend.heard[mark:]]
    assert [name for name in names if name != "Close"] == ["Bind", "Execute", "Sync"]
    assert pair.engine.idle


@pytest.mark.parametrize("atomic", [False, True])
def test_a_value_that_fits_neither_type(pair: Pair, atomic: bool) -> None:
    pair.run(Execution([QueuedQuery("insert $1", (1,))]))
    pair.backend.committed.clear()
    changed(pair, [25])
    operation = Execution([QueuedQuery("insert $1", (value,)) for value in ("x", 2.5)], atomic=atomic)
    pair.run(operation)
    assert labels(operation) == [N if atomic else C, N]
    assert "parameter $1 of type text" in str(operation.items[1].error)
    assert notes(operation.items[1].error or ValueError()) == "in statement 2 of the batch (encode)"
    assert pair.backend.committed == [] if atomic else ["insert $1"]


def test_a_statement_that_was_just_described_is_not_described_again(pair: Pair) -> None:
    mark = len(pair.backend.heard)
    operation = pair.run(Execution([QueuedQuery("insert $1", ("x",)) for _ in range(3)]))
    assert labels(operation) == [N] * 3
    assert len([each for each in pair.backend.heard[mark:] if isinstance(each, Parse)]) == 1


def test_the_items_of_other_statements_keep_their_ends(pair: Pair) -> None:
    """In a batch that isolates its errors: one was refused before, one asks anew, one is what it was."""
    pair.run(Execution([QueuedQuery("insert $1", (1,))]))
    changed(pair, [25])
    texts = [("a\0b", ()), ("insert $1", ("x",)), ("select 1", ()), ("bad parse", ())]
    pair.backend.script["bad parse"] = fails("42601", "parse")
    operation = pair.run(Execution([QueuedQuery(text, args) for text, args in texts], atomic=False))
    assert labels(operation) == [N, C, C, F]
    assert [type(item.error).__name__ for item in operation.items] == [
        "LocalProtocolError",
        "NoneType",
        "NoneType",
        "SQLSyntaxError",
    ]


@pytest.mark.parametrize("atomic", [False, True])
def test_what_cannot_be_described_anew_says_why(pair: Pair, atomic: bool) -> None:
    """Also of the values that had fitted, nothing is sent."""
    pair.run(Execution([QueuedQuery("insert $1", (1,))]))
    pair.backend.script["insert $1"] = fails("42P01", "parse")
    mark = len(pair.backend.heard)
    operation = pair.run(Execution([QueuedQuery("insert $1", (value,)) for value in (1, "x")], atomic=atomic))
    assert labels(operation) == [F, N if atomic else F]
    for item in operation.items[: 1 if atomic else 2]:
        assert isinstance(item.error, PostgresError)
        assert item.error.sqlstate == "42P01"
    assert not any(isinstance(each, Bind) for each in pair.backend.heard[mark:])
    assert pair.engine.idle


def test_an_interrupt_out_of_a_later_value_is_no_reason_to_ask(pair: Pair) -> None:
    class Interrupt(BaseException):
        pass

    class Bad(tzinfo):
        def utcoffset(self, when: datetime | None) -> timedelta:
            raise Interrupt

        dst = utcoffset

        def tzname(self, when: datetime | None) -> str:
            raise Interrupt

    pair.backend.script["insert time"] = ok(types=[1184])
    pair.run(Execution([QueuedQuery("insert $1", (1,)), QueuedQuery("insert time", (None,))]))
    mark = len(pair.backend.heard)
    operation = pair.run(
        Execution(
            [
                QueuedQuery("insert $1", ("x",)),
                QueuedQuery("insert time", (datetime(2020, 1, 1, tzinfo=Bad()),)),
            ]
        )
    )
    assert isinstance(operation.error, Interrupt)
    assert labels(operation) == [N, N]
    assert len(pair.backend.heard) == mark
