"""Statement modes on the wire: which messages each sends, what it keeps, and what becomes of the items."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pgproto import (
    ConnectionLost,
    DataError,
    LocalProtocolError,
    Outcome,
    PostgresError,
    QueryTimeout,
    RemoteProtocolError,
)
from pgproto.config import parse_config
from pgproto.config.config import STATEMENT_MODES
from pgproto.session import (
    CACHE_DESCRIBE,
    CACHE_STATEMENT,
    DESCRIBE_EXEC,
    EXEC,
    MODES,
    SIMPLE_PROTOCOL,
    Execution,
    Prepare,
    QueuedQuery,
    StatementMode,
    Transaction,
)
from pgproto.session.modes import chosen
from pgproto.testing.answers import catalog
from pgproto.types import TypeMap
from pgproto.types.catalog import LOOK_UP
from pgproto.wire import (
    Bind,
    CommandComplete,
    Message,
    ParameterStatus,
    Parse,
    Query,
    ReadyForQuery,
    RowDescription,
)
from tests.support.backend import INT4, Answer, error_fields, fails, ok, rows_of
from tests.support.flows import run_flow
from tests.support.pair import Pair, byte_by_byte, whole
from tests.support.queries import error_of, rows

MOOD, POINT = 70_001, 70_002
SCRIPT = {
    "select 1": rows_of(1),
    "select 2": rows_of(2),
    "select $1": Answer(types=[INT4], columns=[("n", INT4)], rows=[[b"\0\0\0\7"]], texts=[[b"7"]]),
    "select  7 ": rows_of(7),
    "insert": ok(),
    "bad": fails("22012"),
    "bad parse": fails("42601", "parse"),
    "fetch c": Answer("FETCH 1", columns=[("n", INT4)], rows=[[b"\0\0\0\7"]], texts=[[b"7"]], late=True),
    "": Answer(""),
    "hidden copy": Answer("COPY 1", copy="in"),
    "wrong": Answer("SELECT 1", columns=[("n", INT4)], rows=[[b"\0\0\0\7"]], texts=[[b"x"]]),
    "vacuum": ok("VACUUM"),
    "begin": ok("BEGIN"),
}
ALL = tuple(MODES.values())


@pytest.fixture(params=[whole, byte_by_byte], ids=["whole", "bytes"])
def pair(request: pytest.FixtureRequest) -> Pair:
    return standard(Pair(SCRIPT, chop=request.param))


def standard(pair: Pair, value: str = "on") -> Pair:
    pair.deliver(ParameterStatus("standard_conforming_strings", value).encode())
    return pair


def run(pair: Pair, mode: StatementMode, *texts: str, atomic: bool = True, args: object = ()) -> Execution:
    assert isinstance(args, tuple)
    items = [QueuedQuery(sql, args) for sql in texts]
    return pair.run(mode.execution(items, atomic=atomic))


def heard(pair: Pair, operation: Execution) -> str:
    """How many times it sends something, and the messages."""
    log, before = len(pair.log), len(pair.backend.heard)
    assert pair.run(operation).error is None
    names = [type(each).__name__ for each in pair.backend.heard[before:]]
    return f"{len([side for side, _ in pair.log[log:] if side == 'F'])}: {' '.join(names)}"


DESCRIBED = "2: Parse Describe Sync Parse Describe Bind Execute Sync"
ONCE = "1: Parse Describe Bind Execute Sync"


@pytest.mark.parametrize(
    ("mode", "first", "second"),
    [
        (CACHE_STATEMENT, "2: Parse Describe Sync Bind Execute Sync", "1: Bind Execute Sync"),
        (CACHE_DESCRIBE, DESCRIBED, ONCE),
        (DESCRIBE_EXEC, DESCRIBED, DESCRIBED),
        (EXEC, ONCE, ONCE),
        (SIMPLE_PROTOCOL, "1: Query", "1: Query"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("named", [True, False])
def test_the_messages_of_each_mode(mode: StatementMode, first: str, second: str, named: bool) -> None:
    pair = standard(Pair(SCRIPT, named=named))
    for expected in (first, second, second):
        assert heard(pair, mode.execution([QueuedQuery("select $1", (7,))])) == expected
    names = [each.name for each in pair.backend.heard if isinstance(each, Parse)]
    assert [bool(name) for name in names] == [mode is CACHE_STATEMENT] * len(names)
    if mode not in (CACHE_STATEMENT, CACHE_DESCRIBE):
        assert len(pair.engine.channel.statements) == 0


@pytest.mark.parametrize("mode", ALL, ids=repr)
@pytest.mark.parametrize("atomic", [True, False])
def test_the_same_rows_and_outcomes(pair: Pair, mode: StatementMode, atomic: bool) -> None:
    operation = run(pair, mode, "select 1", "insert", "select 2", "select 1", atomic=atomic)
    assert operation.error is None
    assert rows(operation) == [[(1,)], [], [(2,)], [(1,)]]
    assert [item.tag for item in operation.items] == ["SELECT 1", "INSERT 0 1", "SELECT 1", "SELECT 1"]
    assert [item.columns for item in operation.items] == [("n",), (), ("n",), ("n",)]
    assert {item.outcome for item in operation.items} == {Outcome.COMMITTED}
    assert rows(run(pair, mode, "fetch c")) == [[(7,)]]
    assert run(pair, mode, "").items[0].outcome is Outcome.COMMITTED
    assert pair.engine.reusable


@pytest.mark.parametrize("mode", ALL, ids=repr)
def test_the_same_errors(pair: Pair, mode: StatementMode) -> None:
    C, F, S, R = Outcome.COMMITTED, Outcome.FAILED, Outcome.SKIPPED, Outcome.ROLLED_BACK
    operation = run(pair, mode, "insert", "bad", "insert")
    assert [item.outcome for item in operation.items] == [R, F, S]
    operation = run(pair, mode, "insert", "bad", "insert", atomic=False)
    assert [item.outcome for item in operation.items] == [C, F, C]
    assert operation.error is None
    error = error_of(run(pair, mode, "bad parse"))
    assert isinstance(error, PostgresError)
    assert (error.outcome, error.query) == (F, "bad parse")
    error = error_of(run(pair, mode, "copy t from stdin"))
    assert isinstance(error, LocalProtocolError)
    assert error.outcome is Outcome.NOT_SENT
    assert isinstance(error_of(run(pair, mode, "hidden copy")), PostgresError)
    assert pair.engine.reusable
    assert rows(run(pair, mode, "select 1")) == [[(1,)]]


@pytest.mark.parametrize("mode", ALL, ids=repr)
@pytest.mark.parametrize("args", [(), (1, 2)])
def test_a_wrong_number_of_values(pair: Pair, mode: StatementMode, args: tuple[object, ...]) -> None:
    error = error_of(run(pair, mode, "select $1", args=args))
    assert isinstance(error, DataError)
    assert str(error) == f"the statement takes 1 parameter ($1), but {len(args)} were given"
    assert error.outcome is Outcome.NOT_SENT
    assert not [each for each in pair.backend.heard if isinstance(each, Bind | Query)]


@pytest.mark.parametrize("mode", [EXEC, SIMPLE_PROTOCOL], ids=repr)
def test_a_value_of_which_nothing_says_the_type(pair: Pair, mode: StatementMode) -> None:
    error = error_of(run(pair, mode, "select $1", args=(object(),)))
    assert isinstance(error, DataError)
    assert "nothing says the SQL type of such a value" in str(error)
    assert error.outcome is Outcome.NOT_SENT


@pytest.mark.parametrize("mode", ALL, ids=repr)
@pytest.mark.parametrize("savepoint", [False, True])
def test_in_a_transaction(pair: Pair, mode: StatementMode, savepoint: bool) -> None:
    block = Transaction(pair.engine)
    block.enter()
    if savepoint:
        assert rows(run(pair, mode, "select 1")) == [[(1,)]]
        inner = Transaction(pair.engine)
        inner.enter()
    operation = run(pair, mode, "insert", "select 2")
    assert [item.outcome for item in operation.items] == [Outcome.OK_IN_TX] * 2
    if savepoint:
        run_flow(pair, inner.commit())
    run_flow(pair, block.commit())
    assert pair.backend.committed.count("insert") == 1


@pytest.mark.parametrize("mode", [EXEC, SIMPLE_PROTOCOL], ids=repr)
def test_the_begin_fails(pair: Pair, mode: StatementMode) -> None:
    pair.backend.script["BEGIN"] = fails("57014")
    block = Transaction(pair.engine)
    block.enter()
    operation = run(pair, mode, "insert", "select 2")
    assert [item.outcome for item in operation.items] == [Outcome.SKIPPED] * 2
    assert isinstance(operation.error, PostgresError)
    assert pair.backend.committed == []


@pytest.mark.parametrize("mode", [EXEC, SIMPLE_PROTOCOL], ids=repr)
def test_rows_that_cannot_be_decoded(pair: Pair, mode: StatementMode) -> None:
    operation = run(pair, mode, "select 1", "wrong")
    assert isinstance(operation.error, DataError)
    assert operation.items[1].outcome is Outcome.COMMITTED
    assert operation.items[1].error is not None


# ---- Types that the session does not know

MOODS = Answer("SELECT 2", columns=[("m", MOOD), ("p", POINT)], texts=[[b"sad", b"(1,2)"], [b"ok", b"(3,4)"]])
MOOD_ROWS = [("sad", (1, 2)), ("ok", (3, 4))]
KNOWN = catalog((MOOD, "mood", "e", 0, 0, {}), (POINT, "point2", "c", 0, 0, {"x": INT4, "y": INT4}))


def curious(chop: Callable[[bytes], list[bytes]] = whole, answer: Answer = KNOWN) -> Pair:
    """A session that knows neither type."""
    return standard(Pair({**SCRIPT, LOOK_UP: answer, "moods": MOODS}, chop=chop, types=TypeMap()))


BLIND = pytest.mark.parametrize("mode", [EXEC, SIMPLE_PROTOCOL], ids=repr)


def asked(pair: Pair) -> int:
    return sum(isinstance(each, Parse) and each.query == LOOK_UP for each in pair.backend.heard)


def ran(pair: Pair) -> int:
    return sum(getattr(each, "query", "").startswith("moods") for each in pair.backend.heard)


@BLIND
@pytest.mark.parametrize("chop", [whole, byte_by_byte])
@pytest.mark.parametrize("atomic", [True, False])
def test_types_are_looked_up_after_the_run(
    mode: StatementMode, chop: Callable[[bytes], list[bytes]], atomic: bool
) -> None:
    pair = curious(chop)
    operation = run(pair, mode, "select 1", "moods", "select 2", "moods", atomic=atomic)
    assert operation.error is None
    assert rows(operation) == [[(1,)], MOOD_ROWS, [(2,)], MOOD_ROWS]
    assert {item.outcome for item in operation.items} == {Outcome.COMMITTED}
    assert asked(pair) == 1
    assert rows(run(pair, mode, "moods")) == [MOOD_ROWS]
    assert asked(pair) == 1
    assert pair.engine.reusable


@BLIND
def test_types_that_nobody_knows_are_text(mode: StatementMode) -> None:
    pair = curious(answer=fails("42501"))
    assert rows(run(pair, mode, "moods")) == [[("sad", "(1,2)"), ("ok", "(3,4)")]]


@BLIND
def test_types_are_not_looked_up_in_a_transaction_that_has_failed(mode: StatementMode) -> None:
    pair = curious()
    run(pair, mode, "begin")
    items = [QueuedQuery("moods", ()), QueuedQuery("bad", ())]
    operation = pair.run(mode.execution(items, atomic=False))
    assert [item.error is None for item in items] == [True, False]
    assert [tuple(row) for row in items[0].rows] == [("sad", "(1,2)"), ("ok", "(3,4)")]
    assert operation.finished


def held(pair: Pair, mode: StatementMode) -> Execution:
    """An operation whose rows are here, and whose types are being looked up."""
    operation = mode.execution([QueuedQuery("moods", ())])
    pair.engine.submit(operation)
    while not asked(pair):
        pair.send()
        if not asked(pair):
            assert pair.deliver()
    assert operation.items[0].outcome is Outcome.COMMITTED
    assert not operation.finished
    return operation


@BLIND
def test_the_session_is_lost_while_rows_wait(mode: StatementMode) -> None:
    pair = curious()
    operation = held(pair, mode)
    pair.eof()
    pair.pass_time(10)
    error = error_of(operation)
    assert isinstance(error, ConnectionLost)
    assert error.outcome is Outcome.COMMITTED
    assert operation.items[0].outcome is Outcome.COMMITTED
    assert ran(pair) == 1


@BLIND
def test_the_time_is_over_while_rows_wait(mode: StatementMode) -> None:
    pair = curious()
    operation = held(pair, mode)
    pair.engine.set_deadline(operation, pair.now + 1)
    pair.pass_time(1.1)
    error = error_of(operation)
    assert isinstance(error, QueryTimeout)
    assert error.outcome is Outcome.COMMITTED
    pair.pump()
    assert pair.engine.reusable
    assert rows(run(pair, mode, "select 1")) == [[(1,)]]


@BLIND
def test_nobody_waits_while_rows_wait(mode: StatementMode) -> None:
    pair = curious()
    operation = held(pair, mode)
    pair.engine.abandon(operation)
    pair.pump()
    assert operation.finished
    assert rows(run(pair, mode, "moods")) == [MOOD_ROWS]


@BLIND
def test_rows_that_waited_in_vain(mode: StatementMode) -> None:
    pair = curious()
    pair.backend.script["moods"] = Answer("SELECT 1", columns=[("p", POINT)], texts=[[b"nonsense"]])
    operation = run(pair, mode, "moods", "select 1")
    assert isinstance(operation.error, DataError)
    assert [item.outcome for item in operation.items] == [Outcome.COMMITTED] * 2
    assert operation.items[0].error is operation.error


# ---- The simple protocol


@pytest.mark.parametrize(
    ("sql", "args", "sent"),
    [
        ("select $1", (7,), "select  7 "),
        ("select -$1", (-7,), "select - (-7) "),
        ("select 1-$1", (-(2**40),), f"select 1- (-{2**40}) "),
        ("select $1+$2+$1", (1, 2), "select  1 + 2 + 1 "),
        ("select $1and", (2**70,), f"select  ('{2**70}'::pg_catalog.numeric) and"),
        ("select $1", (None,), "select  NULL "),
        ("select $1", ("it's",), "select  'it''s' "),
        ("select $1", ("a\\'",), "select   E'a\\\\''' "),
        ("select $1", (True,), "select  ('t'::pg_catalog.bool) "),
        ("select $1", (b"\x01'",), "select  ( E'\\\\x0127'::pg_catalog.bytea) "),
        ("select $1", ([1, -2],), "select  ('{1,-2}'::pg_catalog.int4[]) "),
        ("select $1", ([],), "select  ('{}'::pg_catalog.text[]) "),
        ("select $1", (["a'b"],), "select  '{a''b}' "),
        ("select '$1', \"$1\", $$ $1 $$, $a$ $1 $a$, a$1, $1", (7,), None),
        ("select $1 /* $1 /* */ ' */ */ -- $1 '", (7,), "select  7  /* $1 /* */ ' */ */ -- $1 '\n"),
        ("select e'\\' $1', $1", (7,), "select e'\\' $1',  7 "),
        ('select $1 "alias"', (7,), 'select  7  "alias"'),
        ("select $1;", (7,), "select  7 ;"),
    ],
)
def test_the_text_with_its_values(sql: str, args: tuple[object, ...], sent: str | None) -> None:
    pair = standard(Pair(SCRIPT))
    run(pair, SIMPLE_PROTOCOL, sql, args=args)
    last = [each for each in pair.backend.heard if isinstance(each, Query)][-1]
    assert last.query == (sql[:-2] + " 7 " if sent is None else sent)


@pytest.mark.parametrize(
    ("sql", "args", "problem"),
    [
        ("select 'a'\n$1", ("b",), "beside a string"),
        ("select e'a'\n$1", ("b",), "beside a string"),
        ("select $1\n-- c\n'a'", ("b",), "beside a string"),
        ("select $1 $2", ("b", "c"), "beside a string"),
        ("select 'a", (), "does not end"),
        ('select "a', (), "does not end"),
        ("select $1 /* /* */", (1,), "does not end"),
        ("select $a$ $b$", (), "does not end"),
        ("select $$", (), "does not end"),
        ("select 1; select 2", (), "one statement"),
        ("select $1", ("a\0b",), "NUL"),
        ("select $1", ("\ud800",), "surrogate"),
    ],
)
def test_what_is_refused(sql: str, args: tuple[object, ...], problem: str) -> None:
    pair = standard(Pair(SCRIPT))
    operation = run(pair, SIMPLE_PROTOCOL, sql, args=args)
    error = error_of(operation)
    assert isinstance(error, DataError | LocalProtocolError)
    assert problem in str(error)
    assert error.outcome is operation.items[0].outcome is Outcome.NOT_SENT
    assert not [each for each in pair.backend.heard if isinstance(each, Query)]


@pytest.mark.parametrize("sql", ["", "-- nothing", "create rule r as on insert to t do (select 1; select 2)"])
def test_what_is_refused_in_a_batch(sql: str) -> None:
    pair = standard(Pair({**SCRIPT, sql: ok("CREATE RULE")}))
    operation = run(pair, SIMPLE_PROTOCOL, "select 1", sql)
    assert "send it by itself" in str(error_of(operation))
    assert {item.outcome for item in operation.items} == {Outcome.NOT_SENT}


def test_a_backslash_after_what_may_change_its_meaning() -> None:
    pair = standard(Pair(SCRIPT))
    operation = run(pair, SIMPLE_PROTOCOL, "select 1", "select '\\'", atomic=False)
    assert [item.outcome for item in operation.items] == [Outcome.COMMITTED, Outcome.NOT_SENT]
    assert "no backslash" in str(operation.items[1].error)


def test_a_mode_is_an_object() -> None:
    assert chosen(EXEC) is EXEC.execution
    wrong: Any = "exec"
    with pytest.raises(TypeError, match=r"such as pgproto\.EXEC, not str"):
        chosen(wrong)
    assert repr(EXEC) == "<StatementMode exec>"
    assert tuple(MODES) == STATEMENT_MODES
    assert parse_config("", statement_mode=EXEC, environ={}, os_user=lambda: "u").statement_mode == "exec"


def test_a_comment_at_the_end_ends_before_the_next_statement() -> None:
    pair = standard(Pair({"select 1 -- one\n": rows_of(1), "select 2": rows_of(2)}))
    assert rows(run(pair, SIMPLE_PROTOCOL, "select 1 -- one", "select 2")) == [[(1,)], [(2,)]]
    sql = "create rule r as on insert to t do (select 1;select 2)"
    pair.backend.script[sql] = ok("CREATE RULE")
    assert run(pair, SIMPLE_PROTOCOL, sql).items[0].tag == "CREATE RULE"


@pytest.mark.parametrize(
    ("name", "value"), [("standard_conforming_strings", "off"), ("client_encoding", "SQL_ASCII")]
)
def test_a_session_that_reads_strings_differently(name: str, value: str) -> None:
    pair = standard(Pair(SCRIPT))
    parameters = pair.engine.connection.parameters
    parameters[name] = value
    operation = run(pair, SIMPLE_PROTOCOL, "select $1", args=(1,))
    assert f"while {name} is {value}" in str(error_of(operation))
    assert operation.items[0].outcome is Outcome.NOT_SENT
    del parameters[name]
    assert f"while {name} is None" in str(error_of(run(pair, SIMPLE_PROTOCOL, "select 1")))
    assert pair.engine.reusable


def test_a_change_of_that_in_flight_is_awaited() -> None:
    pair = standard(Pair({**SCRIPT, "set": ok("SET")}))
    run(pair, CACHE_DESCRIBE, "set")
    pair.engine.submit(CACHE_DESCRIBE.execution([QueuedQuery("set", ())]))
    second = SIMPLE_PROTOCOL.execution([QueuedQuery("select 1", ())])
    pair.engine.submit(second)
    pair.send()
    answer = bytes(pair.backend.out)
    pair.backend.out.clear()
    pair.deliver(ParameterStatus("standard_conforming_strings", "off").encode() + answer)
    pair.pump()
    assert "while standard_conforming_strings is off" in str(error_of(second))
    assert not [each for each in pair.backend.heard if isinstance(each, Query)]


@pytest.mark.parametrize("named", [True, False])
def test_prepared_statements_are_run_as_they_are(named: bool) -> None:
    pair = standard(Pair(SCRIPT, named=named))
    kept = pair.run(Prepare(pair.engine.prepare("select 1"))).statement
    operation = pair.run(SIMPLE_PROTOCOL.execution([QueuedQuery("select 1", (), kept)]))
    assert "cannot run a prepared statement" in str(error_of(operation))
    assert operation.items[0].outcome is Outcome.NOT_SENT
    late = pair.run(Prepare(pair.engine.prepare("fetch c"))).statement
    for mode in (CACHE_STATEMENT, CACHE_DESCRIBE, DESCRIBE_EXEC, EXEC):
        operation = mode.execution([QueuedQuery("select 1", (), kept), QueuedQuery("fetch c", (), late)])
        assert rows(pair.run(operation)) == [[(1,)], [(7,)]]


def answered(*messages: Message) -> Execution:
    pair = standard(Pair(SCRIPT))
    operation = SIMPLE_PROTOCOL.execution([QueuedQuery("select 1", ()), QueuedQuery("select 2", ())])
    pair.engine.submit(operation)
    pair.send()
    pair.backend.out.clear()
    pair.deliver(b"".join([each.encode() for each in messages]))
    return operation


DONE = CommandComplete("INSERT 0 1")


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ([DONE, ReadyForQuery("I")], "fewer"),
        ([DONE, DONE, DONE, ReadyForQuery("I")], "more"),
        ([DONE, DONE, RowDescription([]), DONE, ReadyForQuery("I")], "more"),
    ],
)
def test_other_results_than_statements_end_the_session(messages: list[Message], problem: str) -> None:
    error = error_of(answered(*messages))
    assert isinstance(error, RemoteProtocolError)
    assert f"has {problem} results than statements" in str(error)
    assert error.outcome is Outcome.UNKNOWN


def test_a_place_in_a_text_with_values_is_not_shown() -> None:
    wrong = Answer("", error=error_fields("42601") | {"P": "3"}, fails="parse")
    pair = standard(Pair({"sel": wrong}))
    error = error_of(run(pair, SIMPLE_PROTOCOL, "sel"))
    assert isinstance(error, PostgresError)
    assert error.position is None


def test_vacuum_is_not_plain() -> None:
    pair = standard(Pair(SCRIPT))
    operation = SIMPLE_PROTOCOL.execution([QueuedQuery("vacuum", ())])
    pair.engine.submit(operation)
    pair.send()
    pair.eof()
    pair.pass_time(10)
    assert operation.items[0].outcome is Outcome.UNKNOWN


def test_types_are_declared_for_each_run() -> None:
    pair = standard(Pair(SCRIPT))
    items = [QueuedQuery("select $1", (value,)) for value in (7, 2**40, "x", None)]
    operation = pair.run(EXEC.execution(items))
    assert operation.error is None
    types = [tuple(each.parameter_types) for each in pair.backend.heard if isinstance(each, Parse)]
    assert types == [(23,), (20,), (0,), (0,)]
    binds = [each for each in pair.backend.heard if isinstance(each, Bind)]
    assert [list(each.parameters) for each in binds] == [[b"7"], [str(2**40).encode()], [b"x"], [None]]


@BLIND
def test_a_value_that_does_not_fit_concerns_its_item_alone(mode: StatementMode) -> None:
    pair = standard(Pair({**SCRIPT, "BEGIN": fails("57014")}))
    items = [QueuedQuery("select $1", (object(),)), QueuedQuery("insert", ()), QueuedQuery("select 1", ())]
    operation = pair.run(mode.execution(items, atomic=False))
    assert [item.outcome for item in items] == [Outcome.NOT_SENT, Outcome.COMMITTED, Outcome.COMMITTED]
    assert isinstance(items[0].error, DataError)
    Transaction(pair.engine).enter()
    items = [QueuedQuery("select $1", (object(),)), QueuedQuery("insert", ())]
    operation = pair.run(mode.execution(items, atomic=False))
    assert [item.outcome for item in items] == [Outcome.NOT_SENT, Outcome.SKIPPED]
    assert operation.finished


@BLIND
def test_rows_that_waited_for_a_statement_that_fails(mode: StatementMode) -> None:
    pair = curious()
    pair.backend.script["late"] = Answer(
        "SELECT 2", columns=MOODS.columns, texts=MOODS.texts, error=error_fields("23503"), fails="sync"
    )
    operation = run(pair, mode, "late")
    assert isinstance(operation.error, PostgresError)
    assert operation.items[0].outcome is Outcome.FAILED
    assert pair.engine.reusable
    operation = run(pair, mode, "moods", "bad")
    assert [item.outcome for item in operation.items] == [Outcome.ROLLED_BACK, Outcome.FAILED]
    assert rows(run(pair, mode, "moods")) == [MOOD_ROWS]


@BLIND
def test_the_session_is_lost_before_all_is_answered(mode: StatementMode) -> None:
    pair = curious()
    operation = mode.execution([QueuedQuery("moods", ()), QueuedQuery("moods", ())])
    pair.backend.die_after(6)
    pair.engine.submit(operation)
    pair.pump()
    pair.eof()
    pair.pass_time(10)
    assert {item.outcome for item in operation.items} == {Outcome.UNKNOWN}


def test_a_type_that_is_gone_is_described_again() -> None:
    gone = error_fields("XX000", "cache lookup failed for type 70001")
    pair = curious()
    pair.backend.script["select gone"] = Answer("SELECT 0", error=gone, fails="bind")
    pair.backend.script["select moods"] = MOODS
    operation = run(pair, EXEC, "select moods", "select gone")
    assert isinstance(operation.error, PostgresError)
    assert operation.items[0].outcome is Outcome.ROLLED_BACK
    assert sum(isinstance(each, Parse) and each.query == "select moods" for each in pair.backend.heard) == 2
