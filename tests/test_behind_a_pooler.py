"""Sessions behind a possible pooler, which may silently prepare statements again.

So the server is asked who it is.  Where a pooler is, a name is given with the parameters' types, and every
run asks for its columns.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pgproto import DataError, Outcome, PostgresError, RemoteProtocolError
from pgproto.session import GRACE, Execution, Prepare, QueuedQuery, Script, Statement, Stream
from pgproto.session.whereabouts import PROCESS
from pgproto.wire import CopyBothResponse, CopyInResponse, Describe, Message, Parse, Query
from tests.support.backend import INT4, KEY, TEXT, Answer, Backend, fails, int4, ok, rows_of
from tests.support.many import execute_many
from tests.support.pair import Pair
from tests.support.queries import batch, error_of, query, rows

pytestmark = pytest.mark.holds("L1", "L12")

TSVECTOR = 3614  # travels as text
OURS = Answer("SELECT 1", columns=[("pg_backend_pid", INT4)], rows=[[str(KEY.process_id).encode()]])
OTHER = Answer("SELECT 1", columns=[("pg_backend_pid", INT4)], rows=[[b"4712"]])
SCRIPT = {
    "q": rows_of(7),
    "two": rows_of(8),
    "insert $1": ok(types=[INT4]),
    "bad": fails("22012"),
    "select": Answer("SELECT 0"),
}
CHANGED = Answer(columns=[("a", TEXT)], rows=[[b"abcd"]])


LEARNED = ('Parse  "" "q" 0', 'Describe  S ""', "Sync")
RUN = ('Bind  "" "s1" 0 0 1 1', 'Execute  "" 0', "Sync")


def doubtful(answer: Answer = OTHER, *, pipelining: bool = True) -> Pair:
    """A session that nobody knows yet; the server answers so when it is asked who it is."""
    pair = Pair({**SCRIPT, PROCESS: answer}, pipelining=pipelining)
    pair.engine.channel.statements.doubt()
    return pair


@pytest.fixture
def pair() -> Pair:
    """Behind a pooler, with a statement that was run twice."""
    pair = doubtful()
    for _ in range(2):
        assert rows(pair.run(query("q"))) == [[(7,)]]
    assert not pair.engine.channel.statements.direct
    return pair


def sent(pair: Pair) -> list[str]:
    """What the client has sent since the start, without the lengths."""
    lines = [line.split("\t") for line in pair.trace()]
    return [" ".join(line[2:]).rstrip() for line in lines if line[0] == "F"]


def names(pair: Pair) -> list[str]:
    """Those that were parsed."""
    return [each.name for each in pair.backend.heard if isinstance(each, Parse)]


def test_golden_the_server_itself() -> None:
    """Learned without a name, named in the first run, and from then on as ever."""
    pair = doubtful(OURS)
    for _ in range(2):
        pair.run(query("q"))
    assert pair.engine.channel.statements.direct
    assert sent(pair) == [
        f'Query  "{PROCESS}"',
        *LEARNED,
        *('Parse  "s1" "q" 0', *RUN),
        *RUN,
    ]


def test_golden_a_pooler(pair: Pair) -> None:
    assert sent(pair) == [
        f'Query  "{PROCESS}"',
        *LEARNED,
        *('Parse  "s1" "q" 0', 'Describe  S "s1"', *RUN),
        *('Describe  S "s1"', *RUN),
    ]


@pytest.mark.parametrize("pipelining", [True, False])
def test_the_question_is_asked_once(pipelining: bool) -> None:
    pair = doubtful(OURS, pipelining=pipelining)
    operations = [query("q"), batch("two", "q"), query("two")]
    for operation in operations:
        pair.engine.submit(operation)
    pair.pump()
    assert [rows(operation) for operation in operations] == [[[(7,)]], [[(8,)], [(7,)]], [[(8,)]]]
    assert [each.query for each in pair.backend.heard if isinstance(each, Query)] == [PROCESS]
    assert pair.engine.reusable


@pytest.mark.parametrize("answer", [CopyInResponse(0, ()), CopyBothResponse(0, ())])
def test_an_answer_that_waits_for_data_ends_the_session(answer: Message) -> None:
    """The question has no data: both sides would wait."""
    pair = doubtful(pipelining=False)
    pair.backend.silent = True
    operation = pair.run(query("q"))
    pair.deliver(answer.encode())
    assert isinstance(operation.items[0].error, RemoteProtocolError)
    assert operation.items[0].outcome is Outcome.NOT_SENT
    assert pair.engine.closed


@pytest.mark.parametrize("answer", [fails("42883"), Answer("SELECT 0"), ok("SELECT 1")])
def test_no_answer_is_a_pooler(answer: Answer) -> None:
    pair = doubtful(answer)
    assert rows(pair.run(query("q"))) == [[(7,)]]
    assert not pair.engine.channel.statements.direct
    pair.backend.script["q"] = CHANGED
    assert rows(pair.run(query("q"))) == [[("abcd",)]]


def test_who_was_told_no_number_cannot_compare() -> None:
    pair = doubtful(OURS)
    pair.engine.connection.backend_key = None
    pair.run(query("q"))
    assert not pair.engine.channel.statements.direct


def test_not_in_front_of_what_needs_no_statements_and_not_in_a_block() -> None:
    pair = doubtful(OURS)
    pair.run(Script("BEGIN"))
    assert rows(pair.run(query("q"))) == [[(7,)]]
    pair.run(Script("COMMIT"))
    assert [each.query for each in pair.backend.heard if isinstance(each, Query)] == ["BEGIN", "COMMIT"]
    pair.run(query("q"))
    assert pair.engine.channel.statements.direct


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_server_that_does_not_answer(pipelining: bool) -> None:
    """Its question keeps no session alive, nor a statement from being cancelled."""
    pair = doubtful(pipelining=pipelining)
    pair.backend.silent = True
    operation = query("q")
    operation.deadline = pair.now + 5
    pair.engine.submit(operation)
    pair.send()
    pair.pass_time(5)
    assert pair.engine.take_cancel() is not None
    pair.engine.cancel_done()
    pair.pass_time(2 * GRACE)
    assert operation.items[0].outcome is Outcome.NOT_SENT
    assert pair.engine.finished


def test_without_names_there_is_nothing_to_ask() -> None:
    pair = Pair(SCRIPT, named=False)
    pair.engine.channel.statements.doubt()
    pair.run(query("q"))
    assert not [each for each in pair.backend.heard if isinstance(each, Query)]


def test_other_columns_are_decoded_as_what_they_are(pair: Pair) -> None:
    pair.backend.script["q"] = CHANGED
    for _ in range(2):
        assert rows(pair.run(batch("q", "two", "q"))) == [[("abcd",)], [(8,)], [("abcd",)]]
    assert names(pair)[-1] == "", "the pooler would take the text for the one that it has"
    assert pair.engine.reusable


def test_columns_that_cannot_be_read_are_an_error_once(pair: Pair) -> None:
    pair.backend.script["q"] = Answer(columns=[("a", TSVECTOR)], rows=[[b"abcd"]])
    error = error_of(pair.run(query("q")))
    assert isinstance(error, DataError)
    assert error.outcome is Outcome.COMMITTED
    assert rows(pair.run(query("q"))) == [[("abcd",)]]


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("named", [False, True])
def test_a_bind_that_does_not_fit_the_columns_is_run_again(named: bool, kept: bool) -> None:
    """Two formats for three columns, say: the server refuses, and nothing was executed."""
    pair = doubtful() if named else Pair(SCRIPT, named=False)
    pair.backend.script["q"] = Answer(columns=[("a", INT4), ("b", TSVECTOR)], rows=[[int4(1), b"'b'"]])
    name = pair.engine.channel.statements.new_name()
    statement = pair.run(Prepare(Statement("q", name, kept=True))).statement if kept else None
    assert rows(pair.run(Execution([QueuedQuery("q", (), statement)]))) == [[(1, "'b'")]]
    three = [("a", INT4), ("b", INT4), ("c", INT4)]
    pair.backend.script["q"] = Answer(columns=three, rows=[[int4(1), int4(2), int4(3)]])
    assert rows(pair.run(Execution([QueuedQuery("q", (), statement)]))) == [[(1, 2, 3)]]


@pytest.mark.parametrize("end", [Backend.change_tables, Backend.forget_statements])
@pytest.mark.parametrize("kept", [False, True])
def test_a_name_that_means_nothing_any_more_is_the_last_one(
    pair: Pair, end: Callable[[Backend], None], kept: bool
) -> None:
    name = pair.engine.channel.statements.new_name()
    statement = pair.run(Prepare(Statement("two", name, kept=True))).statement if kept else None
    pair.run(Execution([QueuedQuery("two", (), statement)]))
    end(pair.backend)
    mark = len(names(pair))
    for sql in ("q", "two", "q"):
        own = statement if sql == "two" else None
        assert rows(pair.run(Execution([QueuedQuery(sql, (), own)]))) == [[(7 if sql == "q" else 8,)]]
    assert set(names(pair)[mark:]) == {""}


def test_in_a_block_the_error_says_so(pair: Pair) -> None:
    pair.run(Script("BEGIN"))
    pair.backend.change_tables()
    error = error_of(pair.run(query("q")))
    assert isinstance(error, PostgresError)
    assert error.stale_statement
    pair.run(Script("ROLLBACK"))
    mark = len(names(pair))
    assert rows(pair.run(query("q"))) == [[(7,)]]
    assert set(names(pair)[mark:]) == {""}


@pytest.mark.parametrize("atomic", [True, False])
def test_a_parse_that_was_skipped_is_made_up_for(atomic: bool) -> None:
    pair = doubtful()
    pair.run(batch("bad", "two", "q", atomic=atomic))
    for _ in range(2):
        assert rows(pair.run(batch("two", "q"))) == [[(8,)], [(7,)]]
    assert "" not in names(pair)[-2:], "it is no sign of a migration"


def test_a_stream_is_described_too(pair: Pair) -> None:
    pair.backend.script["q"] = CHANGED
    stream = Stream(QueuedQuery("q", ()))
    pair.engine.submit(stream)
    pair.pump()
    assert [tuple(row) for row in stream.take()] == [("abcd",)]


def test_records_are_declared_with_their_types() -> None:
    pair = doubtful()
    for _ in range(2):
        operation = execute_many(pair, "insert $1", [(1,), (2,)])
        assert operation.error is None
        assert operation.rowcount == 2
    parsed = [each for each in pair.backend.heard if isinstance(each, Parse)]
    assert [(each.name, list(each.parameter_types)) for each in parsed] == [("", []), ("s1", [INT4])]
    described = [each for each in pair.backend.heard if isinstance(each, Describe)]
    assert len(described) == 1, "what they return is dropped"


def test_records_that_fail() -> None:
    pair = doubtful()
    pair.backend.script["insert $1"] = Answer(types=[INT4], error={"S": "ERROR", "C": "23505", "M": "no"})
    assert isinstance(execute_many(pair, "insert $1", [(1,)]).error, PostgresError)
    pair.backend.script["insert $1"] = ok(types=[INT4])
    assert execute_many(pair, "insert $1", [(1,)]).error is None
